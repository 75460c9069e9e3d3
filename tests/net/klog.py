"""klog.py - what in the guest's kernel log fails a test."""

import re

# In the kernel's log these are reports of a bug, whoever made it.
REPORTS = re.compile(
    r"cut here|WARNING: |BUG: |BUG at|Oops|Kernel panic|general protection|soft lockup|INFO: task|rcu: INFO|KASAN|UBSAN|"
    r"possible (circular|recursive) locking|possible deadlock|inconsistent lock|suspicious RCU|held lock|scheduling while atomic|"
    r"trying to register non-static|kmemleak: .*(disabled|empty)|"
    r"refcount_t|unregister_netdevice: waiting|list_(add|del) corruption|Bad page|page allocation failure|memory leak|"
    r"bad: scheduling|sleeping function called|Call Trace")
# What the module says of itself that is no complaint.
ORDINARY = re.compile(r"paste: (attached to|detached|no AF_XDP zero copy|loading out-of-tree|module verification)")
# Begins the lines of tests/run in that log.
MARK = "paste-test"


def complaints(text, announced=()):
    """Lines of the kernel's log that fail a test."""
    lines = [line for line in text.splitlines() if MARK not in line and "traps: " not in line and
             (REPORTS.search(line) or re.search(r"paste: |\[paste\]", line) and not ORDINARY.search(line))]
    return [line for line in lines if not any(re.search(pattern, line) for pattern in announced)]
