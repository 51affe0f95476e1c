/*
 * Messages in a socket's queue, and what can travel with them: descriptors and credentials.
 *
 * Freeing a message can close a socket whose queue holds messages with descriptors, and so on, as deep as a guest
 * likes. scm_free() therefore never nests: it puts off what comes up while it runs.
 */
#ifndef TG_NET_SKB_H
#define TG_NET_SKB_H

#include <sys/socket.h>

#include "fs/fs.h"

#define SCM_FILES_MAX	253		/* of one message, as in Linux */

struct scm_files {
	struct scm_files *next;		/* of those waiting to be freed */
	int n;
	struct file *file[];
};

struct scm {
	struct scm_files *files;	/* NULL: none; a reference each */
	struct ucred cred;
	u16 ttl, tos;			/* inet datagrams: hop limit and traffic class, plus 1; 0: none said */
};

struct unix_name;

struct skb {
	TAILQ_ENTRY(skb) link;
	u32 len, off;			/* bytes; how many were read already (streams) */
	struct scm scm;
	struct unix_name *from;		/* unix datagrams: a reference; NULL: unnamed */
	struct sockaddr_storage addr;	/* inet datagrams */
	u32 addr_len;
	u8 data[];
};
TAILQ_HEAD(skb_list, skb);

#define SKB_OVERHEAD	256		/* charged for each, so that empty messages fill a queue too */

struct skb *skb_new(u32 len);
void skb_free(struct skb *skb);
static inline u64 skb_cost(const struct skb *skb) { return skb->len + SKB_OVERHEAD; }

struct scm_files *scm_files_new(int n);		/* counts them as in flight; NULL: too many */
void scm_free(struct scm *scm);
int scm_dup(const struct scm *from, struct scm *to);	/* MSG_PEEK: more references. -ENOMEM */

#endif
