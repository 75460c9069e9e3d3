// SPDX-License-Identifier: BSD-2-Clause
/*
 * http.c - requests from pieces, answers into room
 *
 * The parser is llhttp, fed piece by piece where the pieces lie. It calls back with spans that end
 * where a piece ends, so each callback here must take half a word. Names and the target are
 * looked at in place; if a piece ends in the middle of a head they move to bounded arrays.
 * Bodies are passed on in place.
 *
 * Parsing and answering alternate strictly: the answer to a request is produced in the parser's
 * callback for the end of the message, straight into the back end's output, before the next
 * pipelined request is looked at. When the output is congested the parser is paused there and
 * http_input() returns early. Hence answers are in order without a queue of requests.
 *
 * Errors come in two kinds. If the request's end is known (wrong method, no such target), it is
 * read to its end, answered, and the connection goes on. If the framing cannot be trusted or the
 * request is too large, it is answered at once and the connection lingers, then closes.
 *
 * RFC 9112 and 9110, as far as implemented: keep-alive and pipelining; HTTP/1.0 with and without
 * "Connection: keep-alive"; content-length and chunked bodies, chunk extensions and trailers being
 * ignored; Host required once in 1.1; Expect: 100-continue; HEAD; origin and absolute form of the
 * target; Date. Transfer-Encoding other than "chunked" is 501, in HTTP/1.0 it is 400; together
 * with Content-Length the parser refuses it. An Upgrade is ignored.
 */
#include <string.h>
#include <strings.h>

#include "http.h"

#define SERVER		"phttpd"
#define STATUS_200	"HTTP/1.1 200 OK\r\n"
#define BEFORE_DATE	"Server: " SERVER "\r\nDate: "
#define DATE_AT		(sizeof(STATUS_200 BEFORE_DATE) - 1)
#define POST_REPLY_SIZE	64	/* bytes of body in the answer to POST */

#define conn_of(parser) \
	((struct http_conn *)((char *)(parser) - offsetof(struct http_conn, parser)))

static const struct {
	int code;
	const char *text;
} statuses[] = {
	{ 200, "OK" },
	{ 201, "Created" },
	{ 204, "No Content" },
	{ 400, "Bad Request" },
	{ 404, "Not Found" },
	{ 405, "Method Not Allowed" },
	{ 413, "Content Too Large" },
	{ 414, "URI Too Long" },
	{ 417, "Expectation Failed" },
	{ 431, "Request Header Fields Too Large" },
	{ 500, "Stored Value Is Damaged" },	/* there is no other reason for one */
	{ 501, "Not Implemented" },
	{ 503, "Service Unavailable" },
	{ 505, "HTTP Version Not Supported" },
	{ 507, "Insufficient Storage" },
};

static const char *status_text(int code)
{
	for (size_t i = 0; i < sizeof(statuses) / sizeof(statuses[0]); i++) {
		if (statuses[i].code == code)
			return statuses[i].text;
	}
	return "Error";
}

static const char *persist_line(enum http_persist persist)
{
	switch (persist) {
	case HTTP_PERSIST_10:
		return "Connection: keep-alive\r\n";
	case HTTP_NO_PERSIST:
		return "Connection: close\r\n";
	default:
		return "";
	}
}

/*
 * Composing. No printf: a head is built for each answer that is not canned.
 */

static char *put(char *to, const char *text)
{
	return stpcpy(to, text);
}

static char *put_number(char *to, uint64_t n)
{
	char digits[20];
	int i = sizeof(digits);

	do {
		digits[--i] = (char)('0' + n % 10);
		n /= 10;
	} while (n);
	memcpy(to, digits + i, sizeof(digits) - i);
	return to + sizeof(digits) - i;
}

/* At most 330 bytes, so it fits into HTTP_ROOM with the body of an error. */
static char *put_head(char *to, const struct http *h, int status, const char *type,
		      enum http_persist persist, uint64_t body_len)
{
	to = put(to, "HTTP/1.1 ");
	to = put_number(to, status);
	to = put(to, " ");
	to = put(to, status_text(status));
	to = put(to, "\r\n" BEFORE_DATE);
	to = put(to, h->date);
	to = put(to, "\r\n");
	to = put(to, persist_line(persist));
	if (type) {
		to = put(to, "Content-Type: ");
		to = put(to, type);
		to = put(to, "\r\n");
	}
	if (status == 405)
		to = put(to, h->cfg->store == STORE_BTREE ?
			     "Allow: GET, HEAD, POST, PUT, DELETE\r\n" :
			     "Allow: GET, HEAD, POST\r\n");
	if (status == 204)	/* RFC 9110, 8.6: has no length */
		return put(to, "\r\n");
	to = put(to, "Content-Length: ");
	to = put_number(to, body_len);
	return put(to, "\r\n\r\n");
}

void http_reply(struct http_conn *c, int status, const char *type, uint64_t body_len)
{
	size_t avail;
	char *start = http_room(c, &avail);
	char *end = put_head(start, c->http, status, type, c->persist, body_len);

	http_commit(c, end - start);
}

void http_reply_canned(struct http_conn *c, const struct http_canned *r)
{
	size_t len = http_is_head(c) ? r->head_len : r->len;
	size_t avail;

	memcpy(http_room(c, &avail), r->text, len);
	http_commit(c, len);
}

void http_reply_error(struct http_conn *c, int status)
{
	const char *text = status_text(status);
	size_t avail;
	char *start = http_room(c, &avail);
	char *end = put_head(start, c->http, status, "text/plain", c->persist,
			     strlen(text) + 1);

	if (!http_is_head(c)) {
		end = put(end, text);
		end = put(end, "\n");
	}
	c->http->stats.errors++;
	http_commit(c, end - start);
}

/*
 * The end of a request.
 */

/* Ready for the next head. */
static void reset(struct http_conn *c)
{
	c->seen = 0;
	c->body_len = 0;
	c->status = 0;
	c->in_head = false;
	c->in_body = false;
	c->in_name = false;
	c->header = HTTP_H_OTHER;
	c->hosts = 0;
	c->encodings = 0;
	c->expect = false;
	c->target_len = 0;
}

/* The answer is complete. */
static void finish(struct http_conn *c)
{
	c->replying = false;
	app_end(c);
	if (c->persist == HTTP_NO_PERSIST) {
		c->end = c->unread ? HTTP_LINGER : HTTP_CLOSE;
		c->stalled = false;
	}
}

/* Answer with an error now, wherever the request's end may be, and end the connection. */
static void refuse(struct http_conn *c, int status)
{
	if (!c->target_len)	/* the method is that of the request before */
		c->parser.method = HTTP_GET;
	app_end(c);
	reset(c);
	c->status = status;
	c->persist = HTTP_NO_PERSIST;
	c->http->stats.requests++;
	http_reply_error(c, status);
	c->end = HTTP_LINGER;
	c->stalled = false;
}

/*
 * Header lines.
 */

/* Append to a short array that has @have bytes; what does not fit only counts. */
static void gather(char *to, size_t size, size_t have, const char *at, size_t len)
{
	if (have < size)
		memcpy(to + have, at, len < size - have ? len : size - have);
}

#define IS(what, len, word) \
	((len) == sizeof(word) - 1 && !strncasecmp(what, word, sizeof(word) - 1))

/* Every request has it, so it is worth a faster comparison; in names only [A-Z] lack this bit. */
static bool is_host(const char *name, size_t len)
{
	static const uint32_t lower = 0x20202020;
	uint32_t word, host;

	if (len != 4)
		return false;
	memcpy(&word, name, 4);
	memcpy(&host, "host", 4);
	return (word | lower) == host;
}

/* The name is complete: which header is it? */
static void name_done(struct http_conn *c)
{
	c->in_name = false;
	c->value_seen = 0;
	c->value_len = 0;
	c->header = HTTP_H_OTHER;
	if (is_host(c->name, c->name_len)) {
		c->header = HTTP_H_HOST;
		if (c->hosts < UINT8_MAX)
			c->hosts++;
	} else if (IS(c->name, c->name_len, "expect")) {
		c->header = HTTP_H_EXPECT;
	} else if (IS(c->name, c->name_len, "transfer-encoding")) {
		c->header = HTTP_H_TRANSFER_ENCODING;
		if (c->encodings < UINT8_MAX)
			c->encodings++;
	}
}

/* A part of a value that matters. Blanks are of it only if something else follows. */
static void gather_value(struct http_conn *c, const char *at, size_t len)
{
	size_t total = c->value_seen + len, text = len;

	gather(c->value_copy, sizeof(c->value_copy), c->value_seen, at, len);
	while (text && (at[text - 1] == ' ' || at[text - 1] == '\t'))
		text--;
	if (text) {
		text += c->value_seen;
		c->value_len = text < UINT8_MAX ? text : UINT8_MAX;
	}
	c->value_seen = total < UINT8_MAX ? total : UINT8_MAX;
}

/* The line is complete: what does it say? */
static inline void value_done(struct http_conn *c)
{
	if (c->header <= HTTP_H_HOST)
		return;
	if (c->header == HTTP_H_EXPECT) {
		if (IS(c->value_copy, c->value_len, "100-continue"))
			c->expect = true;
		else if (!c->status)
			c->status = 417;
	} else if (!IS(c->value_copy, c->value_len, "chunked")) {
		c->status = 501;
	}
	c->header = HTTP_H_OTHER;
}

/* The piece ends within a head: keep what is needed of it. */
static void save_head(struct http_conn *c)
{
	if (c->target != c->target_copy) {
		memcpy(c->target_copy, c->target, c->target_len);
		c->target = c->target_copy;
	}
	if (c->in_name && c->name != c->name_copy) {
		gather(c->name_copy, sizeof(c->name_copy), 0, c->name, c->name_len);
		c->name = c->name_copy;
	}
}

/* Is the head too long, if it reaches @end? */
static int check_head(struct http_conn *c, const char *end)
{
	if ((uintptr_t)end - c->mark <= HTTP_HEAD_MAX)
		return 0;
	c->status = 431;
	return HPE_USER;
}

/*
 * The parser's callbacks. Nonzero stops it; http_input() then looks at @status.
 */

static int on_url(llhttp_t *parser, const char *at, size_t len)
{
	struct http_conn *c = conn_of(parser);

	if (len > HTTP_TARGET_MAX - (size_t)c->target_len) {
		c->status = 414;
		return HPE_USER;
	}
	if (!c->in_head) {
		c->in_head = true;
		c->mark = (uintptr_t)at;
		c->target = at;
	} else {
		memcpy(c->target_copy + c->target_len, at, len);
	}
	c->target_len += len;
	return 0;
}

static int on_header_field(llhttp_t *parser, const char *at, size_t len)
{
	struct http_conn *c = conn_of(parser);

	if (c->in_body)		/* a trailer */
		return 0;
	if (!c->in_name) {
		value_done(c);
		c->in_name = true;
		c->name = at;
		c->name_len = len;
	} else {
		gather(c->name_copy, sizeof(c->name_copy), c->name_len, at, len);
		c->name_len += len;
	}
	return check_head(c, at + len);
}

static int on_header_value(llhttp_t *parser, const char *at, size_t len)
{
	struct http_conn *c = conn_of(parser);

	if (c->in_body)
		return 0;
	if (c->in_name)
		name_done(c);
	if (c->header > HTTP_H_HOST)
		gather_value(c, at, len);
	return check_head(c, at + len);
}

/* The status that makes this head unacceptable, whatever its body; 0: none. */
static int judge_head(const struct http_conn *c)
{
	const llhttp_t *parser = &c->parser;

	if (parser->http_major != 1)
		return parser->http_major ? 505 : 400;
	if (c->hosts > 1 || (c->hosts == 0 && parser->http_minor))
		return 400;
	if (c->encodings > 1 || (c->encodings && !parser->http_minor))
		return 400;
	if (c->status == 501)
		return 501;
	if ((parser->flags & F_CONTENT_LENGTH) &&
	    parser->content_length > c->http->cfg->max_body)
		return 413;
	if (parser->method == HTTP_CONNECT)
		return 405;
	return 0;
}

static bool body_follows(const llhttp_t *parser)
{
	return (parser->flags & F_CHUNKED) ||
	       ((parser->flags & F_CONTENT_LENGTH) && parser->content_length);
}

static int on_headers_complete(llhttp_t *parser)
{
	struct http_conn *c = conn_of(parser);
	int status;

	value_done(c);
	c->in_head = false;
	c->in_body = true;
	c->progress = true;
	parser->upgrade = 0;

	status = judge_head(c);
	if (status) {
		c->status = status;
		return HPE_USER;
	}
	if (c->encodings)	/* it is "chunked", which the parser misses if a tab follows */
		parser->flags |= F_CHUNKED;
	if (!c->status)
		c->status = app_begin(c);
	if (c->expect && parser->http_minor && body_follows(parser)) {
		static const char go_on[] = "HTTP/1.1 100 Continue\r\n\r\n";
		size_t avail;

		if (c->status)		/* the client may never send the body */
			return HPE_USER;
		memcpy(http_room(c, &avail), go_on, sizeof(go_on) - 1);
		http_commit(c, sizeof(go_on) - 1);
		if (c->stalled)
			return HPE_PAUSED;
	}
	return 0;
}

static int on_body(llhttp_t *parser, const char *at, size_t len)
{
	struct http_conn *c = conn_of(parser);
	int status;

	if (!len)
		return 0;
	c->mark = (uintptr_t)at + len;
	c->progress = true;
	c->body_len += len;
	if (c->body_len > c->http->cfg->max_body) {
		c->status = 413;
		return HPE_USER;
	}
	if (!c->status) {
		struct piece part = {
			.data = c->piece->data + (at - c->piece->data),
			.len = len,
			.buf = c->piece->buf,
		};

		status = app_body(c, &part);
		if (status) {
			c->status = status;
			return HPE_USER;
		}
	}
	return 0;
}

static int on_message_complete(llhttp_t *parser)
{
	struct http_conn *c = conn_of(parser);
	bool done = true;

	if (!llhttp_should_keep_alive(parser))
		c->persist = HTTP_NO_PERSIST;
	else
		c->persist = parser->http_minor ? HTTP_PERSIST : HTTP_PERSIST_10;
	c->http->stats.requests++;
	if (c->status)
		http_reply_error(c, c->status);
	else
		done = app_reply(c);
	reset(c);
	c->replying = !done;
	if (done && !c->stalled && c->persist != HTTP_NO_PERSIST) {
		app_end(c);
		return 0;
	}
	return HPE_PAUSED;	/* http_input() does the rest: it knows what is left unread */
}

static const llhttp_settings_t settings = {
	.on_url = on_url,
	.on_header_field = on_header_field,
	.on_header_value = on_header_value,
	.on_headers_complete = on_headers_complete,
	.on_body = on_body,
	.on_message_complete = on_message_complete,
};

/* The parser gave up by itself: what is the client told? */
static int parse_error(enum llhttp_errno err, const char *at)
{
	switch (err) {
	case HPE_INVALID_METHOD:	/* a method nobody knows, or not HTTP at all */
		return *at >= 'A' && *at <= 'Z' ? 501 : 400;
	case HPE_INVALID_VERSION:
	case HPE_PAUSED_H2_UPGRADE:
		return 505;
	default:
		return 400;
	}
}

/*
 * What the back end calls.
 */

size_t http_input(struct http_conn *c, const struct piece *p)
{
	enum llhttp_errno err;
	size_t used = p->len;

	if (c->end != HTTP_OPEN) {
		c->http->stats.bytes_in += used;
		c->end = HTTP_LINGER;
		return used;
	}
	if (c->stalled)
		return 0;

	c->piece = p;
	c->mark = (uintptr_t)p->data - c->seen;
	if (c->paused) {
		llhttp_resume(&c->parser);
		c->paused = false;
	}
	err = llhttp_execute(&c->parser, p->data, p->len);
	c->piece = NULL;

	if (err == HPE_PAUSED) {
		used = llhttp_get_error_pos(&c->parser) - p->data;
		c->paused = true;
		c->unread = used < p->len;
		if (!c->in_body && !c->replying)
			finish(c);
	} else if (err != HPE_OK) {
		if (err != HPE_USER && err != HPE_CB_HEADERS_COMPLETE)
			c->status = parse_error(err, llhttp_get_error_pos(&c->parser));
		refuse(c, c->status);
	}
	if (c->end != HTTP_OPEN)
		used = p->len;

	if (c->in_head)
		save_head(c);
	if (c->in_head || c->in_body) {
		c->seen = (uintptr_t)p->data + used - c->mark;
		if (c->seen > (c->in_head ? HTTP_HEAD_MAX : 2 * HTTP_HEAD_MAX))
			refuse(c, 431);
	}
	c->http->stats.bytes_in += used;
	return used;
}

void http_resume(struct http_conn *c)
{
	c->stalled = false;
	if (c->replying && app_more(c))
		finish(c);
}

void http_eof(struct http_conn *c)
{
	c->end = HTTP_CLOSE;
}

void http_open(struct http_conn *c, struct http *h)
{
	memset(c, 0, offsetof(struct http_conn, target_copy));
	c->http = h;
	llhttp_init(&c->parser, HTTP_REQUEST, &settings);
	h->stats.connections++;
}

void http_close(struct http_conn *c)
{
	app_end(c);
}

void http_batch(struct http *h)
{
	if (h->stats.requests != h->batch_mark) {
		h->stats.batches++;
		h->batch_mark = h->stats.requests;
		app_batch(h);
	}
}

static void can(struct http_canned *r, const struct http *h, enum http_persist persist,
		uint64_t body_len)
{
	char *end = put_head(r->text, h, 200, NULL, persist, body_len);

	r->head_len = end - r->text;
	r->body_len = body_len;
	r->len = r->head_len;
	if (body_len <= sizeof(r->text) - r->head_len) {
		memset(end, 'x', body_len);
		r->len += body_len;
	}
}

void http_init(struct http *h, const struct http_config *cfg, const struct backend *be,
	       struct store *store)
{
	memset(h, 0, sizeof(*h));
	h->cfg = cfg;
	h->be = be;
	h->store = store;
	memset(h->date, ' ', HTTP_DATE_LEN);
	for (int i = 0; i < HTTP_PERSIST_KINDS; i++) {
		can(&h->get[i], h, i, cfg->reply_size);
		can(&h->post[i], h, i, POST_REPLY_SIZE);
	}
}

void http_exit(struct http *h)
{
	app_exit(h);
}

void http_tick(struct http *h, time_t now)
{
	struct tm tm;

	gmtime_r(&now, &tm);
	strftime(h->date, sizeof(h->date), "%a, %d %b %Y %H:%M:%S GMT", &tm);
	for (int i = 0; i < HTTP_PERSIST_KINDS; i++) {
		memcpy(h->get[i].text + DATE_AT, h->date, HTTP_DATE_LEN);
		memcpy(h->post[i].text + DATE_AT, h->date, HTTP_DATE_LEN);
	}
}
