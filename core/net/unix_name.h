/* Names of unix sockets: immutable once made, shared by the socket, its children and messages on their way. */
#ifndef TG_NET_UNIX_NAME_H
#define TG_NET_UNIX_NAME_H

#include <stdatomic.h>
#include <sys/un.h>

#include "lib/types.h"

struct socket;

struct unix_name {
	atomic_int refs;
	u32 len;			/* of the whole address, as getsockname gives it */
	struct sockaddr_un addr;
	char pad;			/* a path may fill sun_path and want a NUL behind it */
	struct socket *socket;		/* abstract: who is bound; locked by the table's lock */
	struct unix_name *next;
};

struct unix_name *unix_name_new(const struct sockaddr_un *addr, u32 len);
struct unix_name *unix_name_get(struct unix_name *n);	/* NULL is fine, here and in put */
void unix_name_put(struct unix_name *n);

/* Abstract names. */
int unix_name_bind(struct unix_name *n, struct socket *s);	/* -EADDRINUSE */
void unix_name_unbind(struct unix_name *n);			/* fine if it is not bound */
struct socket *unix_name_find(const struct sockaddr_un *addr, u32 len);	/* with a reference, or NULL */

#endif
