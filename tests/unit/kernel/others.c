// SPDX-License-Identifier: BSD-2-Clause
/* Stands in for the sources a test does not link; whatever a test defines itself wins. */
#include "deferred.h"
#include "extmem.h"
#include "nic.h"
#include "port.h"
#include "stack.h"
#include "trace.h"

#define weak __attribute__((weak))

weak void mock_trace_pst_buf(const struct pst_bufs *bufs, u32 idx, u8 from, u8 to) { }

weak void netif_receive_skb(struct sk_buff *skb) { kfree_skb(skb); }
weak void netif_receive_skb_list(struct list_head *skbs) { }
weak void napi_gro_receive(struct napi_struct *napi, struct sk_buff *skb) { kfree_skb(skb); }

weak int remap_pfn_range(struct vm_area_struct *vma, unsigned long addr, unsigned long pfn,
			 unsigned long size, unsigned long prot) { return 0; }
weak int vm_insert_pages(struct vm_area_struct *vma, unsigned long addr, struct page **page,
			 unsigned long *n) { *n = 0; return 0; }

weak struct pst_extmem *pst_extmem_pin(u64 addr, u64 size) { return ERR_PTR(-EFAULT); }
weak void pst_extmem_unpin(struct pst_extmem *ext) { }
weak u32 pst_extmem_find(const struct pst_extmem *ext, const struct page *page) { return U32_MAX; }
weak void pst_extmem_set_bufs(struct pst_extmem *ext, u32 first) { }
weak bool pst_extmem_idle(struct pst_extmem *ext, struct page *page) { return true; }
weak bool pst_extmem_idle_new(struct pst_extmem *ext, struct page *page) { return true; }
weak bool pst_extmem_in_use(struct pst_extmem *ext, u32 n) { return false; }

weak int pst_extmem_in_mm(struct pst_extmem *ext, int (*fn)(void *arg), void *arg) { return fn(arg); }

weak int pst_nic_attach(struct pst_port *port, const char *ifname, const struct pst_queues *want) { return 0; }
weak int pst_nic_detach(struct pst_port *port, const char *ifname) { return 0; }
weak bool pst_nic_is_attached(struct pst_port *port, const char *ifname) { return false; }
weak void pst_nic_detach_all(struct pst_port *port) { }
weak void pst_nic_sweep(struct pst_port *port) { }
weak void pst_deferred_free(void) { }
weak void pst_nic_poll(struct pst_ring *ring, bool busy_poll) { }
weak bool pst_nic_due(struct pst_ring *ring) { return false; }

weak int pst_stack_register(struct pst_port *port, const struct pst_rings *among, int fd) { return 0; }
weak void pst_stack_unregister_all(struct pst_port *port) { }
weak void pst_fdmap_destroy(struct pst_fdmap *map) { }
weak void pst_stack_sweep(struct pst_port *port) { }
weak void pst_listeners_unregister_all(struct pst_port *port) { }
weak void pst_listeners_sweep(struct pst_port *port) { }
weak void pst_sock_put(struct pst_sock *ps) { ps->ref.n--; }
weak void pst_udp_pull(struct pst_ring *ring) { }
weak void pst_stack_resume(struct pst_ring *ring) { }
weak void pst_stack_send(struct pst_ring *ring) { ring->tx.sent = ring->tx.head; }
weak void pst_txq_push_all(struct pst_ring *ring) { }
