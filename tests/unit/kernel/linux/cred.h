/* SPDX-License-Identifier: BSD-2-Clause */
/* Processes and users: the caller is one of each. */
#ifndef _MOCK_CRED_H_
#define _MOCK_CRED_H_

#include <linux/types.h>

typedef struct { u32 val; } kuid_t;
typedef struct { u32 val; } kgid_t;

struct cred {
	int refs;
	kuid_t euid;
	kgid_t egid;
};

struct pid { bool ended; };

extern struct cred mock_cred;

#define current_euid()		(mock_cred.euid)
#define current_egid()		(mock_cred.egid)
#define uid_eq(a, b)		((a).val == (b).val)
#define gid_eq(a, b)		((a).val == (b).val)

static inline const struct cred *get_current_cred(void)
{
	mock_cred.refs++;
	return &mock_cred;
}

static inline void put_cred(const struct cred *cred)
{
	if (cred)
		mock_cred.refs--;
}

enum { PIDTYPE_TGID };
#define pid_has_task(pid, type)	(!(pid)->ended)

#endif
