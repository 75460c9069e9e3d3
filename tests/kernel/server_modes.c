// SPDX-License-Identifier: BSD-2-Clause
/* What the server does with received slots, see server.c. */
#include "server.h"

#define IN_RING_MAX	64	/* slots of one connection in the TX ring, so that it leaves room */

static uint32_t crc_table[256];

void crc_init(void)
{
	for (uint32_t i = 0; i < 256; i++) {
		uint32_t c = i;

		for (int k = 0; k < 8; k++)
			c = c & 1 ? 0xedb88320 ^ (c >> 1) : c >> 1;
		crc_table[i] = c;
	}
}

/* As zlib's: start with 0. */
static uint32_t crc_add(uint32_t crc, const void *data, size_t n)
{
	const uint8_t *p = data;

	crc = ~crc;
	while (n--)
		crc = crc_table[(crc ^ *p++) & 255] ^ (crc >> 8);
	return ~crc;
}

static uint32_t random_below(struct worker *w, uint32_t n)
{
	w->random ^= w->random << 13;
	w->random ^= w->random >> 17;
	w->random ^= w->random << 5;
	return w->random % n;
}

/*
 * Should more be sent to this connection now?  Without spare buffers to put aside
 * what it sends there is no choice: RX slots must be released, or the news that it
 * is no longer congested finds no room.
 */
static bool may_send(const struct worker *w, const struct conn *c)
{
	return (!c->congested && c->in_ring < IN_RING_MAX) || (!w->nspare && !c->left && !c->owed);
}

/* What a slot of its needs: a datagram goes to where the address before its payload says. */
static uint16_t to_flag(const struct conn *c)
{
	return c->datagrams ? NS_PST_TO : 0;
}

/* Sends a buffer of ours; what was in the slot is spare now. */
static bool send_buffer(struct worker *w, int fd, uint32_t buf, uint16_t offset, uint16_t len)
{
	struct netmap_slot *slot = tx_slot(w);

	if (!slot)
		return false;
	w->spare[w->nspare++] = slot->buf_idx;
	push(w, fd, buf, offset, len, NS_BUF_CHANGED | to_flag(&conns[fd]));
	return true;
}

/* Keeps the buffer of an RX slot, while there are spare ones; 0 if not. */
static uint32_t take_buffer(struct worker *w, struct netmap_slot *slot)
{
	struct note n = {
		.fd = slot->fd, .offset = slot->offset, .len = (uint16_t)slot_len(slot),
	};
	uint32_t buf;

	if (!w->nspare)
		return 0;
	n.crc = crc_add(0, slot_data(w->p.rx, slot), n.len);
	buf = paste_rx_keep(slot, w->spare[--w->nspare]);
	notes[buf] = n;
	return buf;
}

static bool on_slot_hold(struct worker *w, struct netmap_slot *slot)
{
	struct conn *c = &conns[slot->fd];
	uint32_t buf = take_buffer(w, slot);

	if (!buf)
		return false;
	if (c->held_first)
		notes[c->held_last].next = buf;
	else
		c->held_first = buf;
	c->held_last = buf;
	w->held++;
	w->owing = true;
	return true;
}

static bool on_slot_echo(struct worker *w, struct netmap_slot *slot)
{
	struct conn *c = &conns[slot->fd];
	struct netmap_slot *out;
	uint32_t buf;

	if (c->held_first || !may_send(w, c))
		return on_slot_hold(w, slot);
	out = tx_slot(w);
	if (!out)
		return false;
	buf = out->buf_idx;
	push(w, slot->fd, slot->buf_idx, slot->offset, (uint16_t)slot_len(slot),
	     NS_BUF_CHANGED | to_flag(c));
	slot->buf_idx = buf;
	slot->flags = NS_BUF_CHANGED;
	return true;
}

/* With the address before its payload. */
static bool copy_datagram(struct worker *w, const struct netmap_slot *slot)
{
	size_t head = sizeof(struct nm_pst_addr), n = slot_len(slot);
	struct netmap_slot *out = tx_slot(w);
	uint16_t at;

	if (!out)
		return false;
	at = (uint16_t)(head + random_below(w, (uint32_t)(w->p.tx->nr_buf_size - n - head + 1)));
	memcpy(NETMAP_BUF(w->p.tx, out->buf_idx) + at - head, slot_data(w->p.rx, slot) - head, n + head);
	push(w, slot->fd, out->buf_idx, at, (uint16_t)n, NS_PST_TO);
	return true;
}

/* Advances slot->offset by what has been taken, so a later call goes on from there. */
static bool on_slot_copy(struct worker *w, struct netmap_slot *slot)
{
	while (slot_len(slot)) {
		struct netmap_slot *out = tx_slot(w);
		uint16_t n = (uint16_t)(1 + random_below(w, random_below(w, 4) ? 3000 : 30)), at;

		if (!out)
			return false;
		if (n > slot_len(slot))
			n = (uint16_t)slot_len(slot);
		at = (uint16_t)random_below(w, w->p.tx->nr_buf_size - n + 1);
		memcpy(NETMAP_BUF(w->p.tx, out->buf_idx) + at, slot_data(w->p.rx, slot), n);
		push(w, slot->fd, out->buf_idx, at, n, 0);
		slot->offset += n;
	}
	return true;
}

static void check_note(struct worker *w, uint32_t buf)
{
	const struct note *n = &notes[buf];

	if (crc_add(0, NETMAP_BUF(w->p.rx, buf) + n->offset, n->len) != n->crc)
		w->st.corrupt++;
}

void drop_oldest_kept(struct worker *w)
{
	uint32_t buf = w->kept[w->kept_first];

	check_note(w, buf);
	lent[buf] = false;
	w->spare[w->nspare++] = buf;
	w->kept_first = (w->kept_first + 1) % KEEP_MAX;
	w->kept_n--;
}

static bool on_slot_keep(struct worker *w, struct netmap_slot *slot)
{
	int fd = slot->fd;
	uint32_t buf;

	if (w->kept_n == KEEP_MAX) {
		if (nm_tx_pending(w->p.tx))	/* ours until its slot is back */
			return false;
		drop_oldest_kept(w);
	}
	if (!tx_slot(w))
		return false;
	buf = take_buffer(w, slot);
	if (!buf)
		return false;
	lent[buf] = true;
	w->kept[(w->kept_first + w->kept_n++) % KEEP_MAX] = buf;
	push(w, fd, buf, notes[buf].offset, notes[buf].len, NS_PST_KEEP | to_flag(&conns[fd]));
	return true;
}

static void on_slot_source(struct worker *w, struct netmap_slot *slot)
{
	struct conn *c = &conns[slot->fd];
	const char *p = slot_data(w->p.rx, slot);

	for (size_t i = 0; i < slot_len(slot); i++) {
		if (p[i] != '\n') {
			if (c->line_len < sizeof(c->line) - 1)
				c->line[c->line_len++] = p[i];
			continue;
		}
		c->line[c->line_len] = '\0';
		c->line_len = 0;
		if (sscanf(c->line, "GET %lu", &c->left) == 1)
			c->out_crc = 0;
	}
	w->owing = true;
}

/* One slot of a source's answer; false when there is no room. */
static bool source_slot(struct worker *w, int fd)
{
	struct netmap_slot *slot = tx_slot(w);
	struct conn *c = &conns[fd];
	uint64_t *data;
	uint32_t n = w->p.tx->nr_buf_size;

	if (!slot)
		return false;
	data = (void *)NETMAP_BUF(w->p.tx, slot->buf_idx);
	if (c->left <= 4) {
		memcpy(data, &c->out_crc, 4);
		push(w, fd, slot->buf_idx, 0, (uint16_t)c->left, 0);
		c->left = 0;
		return true;
	}
	if (n > c->left - 4)
		n = (uint32_t)(c->left - 4);
	for (uint32_t i = 0; i * 8 < n; i++) {
		c->random ^= c->random << 13;
		c->random ^= c->random >> 7;
		c->random ^= c->random << 17;
		data[i] = c->random;
	}
	c->out_crc = crc_add(c->out_crc, data, n);
	c->left -= n;
	push(w, fd, slot->buf_idx, 0, (uint16_t)n, 0);
	return true;
}

/* What hold has kept, one buffer. */
static bool held_slot(struct worker *w, int fd)
{
	struct conn *c = &conns[fd];
	uint32_t buf = c->held_first;

	check_note(w, buf);
	if (!send_buffer(w, fd, buf, notes[buf].offset, notes[buf].len))
		return false;
	unhold(w, c);
	return true;
}

/* What connections are owed, a slot each in turn.  False: no room in the ring. */
bool send_owed(struct worker *w, enum mode m)
{
	bool more = true, later = false;

	while (w->owing && more) {
		more = later = false;
		for (int fd = 0; fd <= w->max_fd; fd++) {
			struct conn *c = &conns[fd];
			bool held = c->held_first && m != HOLD;

			if (!c->open || c->worker != w->id || (!c->left && !c->owed && !held))
				continue;
			if (!may_send(w, c)) {
				later = true;
				continue;
			}
			if (held && !held_slot(w, fd))
				return false;
			if (c->left && !source_slot(w, fd))
				return false;
			if (c->owed) {
				if (!tx_slot(w))
					return false;
				push(w, fd, w->value, 0, VALUE_SIZE, NS_PST_KEEP);
				c->owed--;
			}
			more |= c->left || c->owed || (held && c->held_first);
		}
	}
	w->owing = later || (m == HOLD && w->held);
	return true;
}

bool on_slot(struct worker *w, struct netmap_slot *slot, enum mode m)
{
	struct conn *c = &conns[slot->fd];
	uint32_t n = (uint32_t)slot_len(slot);
	const char *data = slot_data(w->p.rx, slot);
	bool done = true;
	uint32_t crc;

	if (c->datagrams && (m == LEND || m == SINK || m == SOURCE))
		m = ECHO_;
	crc = m == SINK ? crc_add(c->crc, data, n) : 0;
	switch (m) {
	case COPY:	/* what another mode has left goes first */
		done = c->held_first ? on_slot_hold(w, slot) :
		       c->datagrams  ? copy_datagram(w, slot) : on_slot_copy(w, slot);
		break;
	case KEEP:
		done = c->held_first ? on_slot_hold(w, slot) : on_slot_keep(w, slot);
		break;
	case LEND:
		c->owed += n;
		w->owing = true;
		break;
	case SINK:
		c->crc = crc;
		c->rx += n;
		break;
	case SOURCE:
		on_slot_source(w, slot);
		break;
	case HOLD:
		done = on_slot_hold(w, slot);
		break;
	case HOARD:
		slot->buf_idx = 0;
		slot->flags = NS_BUF_CHANGED;
		break;
	case SLOW:
		usleep(1000);
		/* fallthrough */
	default:
		done = on_slot_echo(w, slot);
	}
	if (done)
		w->st.rx_bytes += n;
	return done;
}
