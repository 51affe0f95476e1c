/* Names of unix sockets, and the table of abstract ones. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "net/socket.h"
#include "net/unix_name.h"

static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static struct unix_name *table[256];

struct unix_name *unix_name_new(const struct sockaddr_un *addr, u32 len)
{
	struct unix_name *n = calloc(1, sizeof(*n));

	if (!n)
		return NULL;
	atomic_init(&n->refs, 1);
	n->len = len;
	memcpy(&n->addr, addr, len);
	return n;
}

struct unix_name *unix_name_get(struct unix_name *n)
{
	if (n)
		atomic_fetch_add(&n->refs, 1);
	return n;
}

void unix_name_put(struct unix_name *n)
{
	if (n && atomic_fetch_sub(&n->refs, 1) == 1)
		free(n);
}

static struct unix_name **bucket(const struct sockaddr_un *addr, u32 len)
{
	const u8 *p = (const u8 *)addr;
	u32 h = 2166136261u;

	for (u32 i = 0; i < len; i++)
		h = (h ^ p[i]) * 16777619u;
	return &table[(h ^ h >> 8) % ARRAY_SIZE(table)];
}

static struct unix_name *find(const struct sockaddr_un *addr, u32 len)
{
	struct unix_name *n = *bucket(addr, len);

	while (n && (n->len != len || memcmp(&n->addr, addr, len)))
		n = n->next;
	return n;
}

int unix_name_bind(struct unix_name *n, struct socket *s)
{
	struct unix_name **b = bucket(&n->addr, n->len);
	int err = 0;

	pthread_mutex_lock(&table_lock);
	if (find(&n->addr, n->len)) {
		err = -EADDRINUSE;
	} else {
		n->socket = s;
		n->next = *b;
		*b = n;
	}
	pthread_mutex_unlock(&table_lock);
	return err;
}

void unix_name_unbind(struct unix_name *n)
{
	struct unix_name **at = bucket(&n->addr, n->len);

	pthread_mutex_lock(&table_lock);
	while (*at && *at != n)
		at = &(*at)->next;
	if (*at)
		*at = n->next;
	n->socket = NULL;
	pthread_mutex_unlock(&table_lock);
}

struct socket *unix_name_find(const struct sockaddr_un *addr, u32 len)
{
	struct unix_name *n;
	struct socket *s = NULL;

	pthread_mutex_lock(&table_lock);
	n = find(addr, len);
	if (n && n->socket && socket_get_live(n->socket))
		s = n->socket;
	pthread_mutex_unlock(&table_lock);
	return s;
}
