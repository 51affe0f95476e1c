/* Messages and their descriptors in flight. */
#include <errno.h>
#include <stdlib.h>

#include "net/skb.h"
#include "net/unix_name.h"

/*
 * Sockets can be sent over themselves: a guest can build circles that no close ever frees. There is no collector;
 * the number in flight is bounded instead, over the whole sandbox.
 */
#define FILES_IN_FLIGHT_MAX	16384

/* All queues of all sockets together; past it senders get -ENOBUFS. */
#define SKB_BYTES_MAX		(256ull << 20)

static _Atomic u64 skb_bytes;
static atomic_int in_flight;
static _Thread_local struct scm_files *put_off;
static _Thread_local bool freeing;

struct skb *skb_new(u32 len)
{
	u64 size = sizeof(struct skb) + len;
	struct skb *skb = NULL;

	if (atomic_fetch_add(&skb_bytes, size) + size <= SKB_BYTES_MAX)
		skb = malloc(size);
	if (skb)
		*skb = (struct skb){ .len = len };
	else
		atomic_fetch_sub(&skb_bytes, size);
	return skb;
}

void skb_free(struct skb *skb)
{
	scm_free(&skb->scm);
	unix_name_put(skb->from);
	atomic_fetch_sub(&skb_bytes, sizeof(*skb) + skb->len);
	free(skb);
}

struct scm_files *scm_files_new(int n)
{
	struct scm_files *f = NULL;

	if (atomic_fetch_add(&in_flight, n) + n <= FILES_IN_FLIGHT_MAX)
		f = calloc(1, sizeof(*f) + n * sizeof(f->file[0]));
	if (!f) {
		atomic_fetch_sub(&in_flight, n);
		return NULL;
	}
	f->n = n;
	return f;
}

static void files_free(struct scm_files *f)
{
	for (int i = 0; i < f->n; i++)
		if (f->file[i])
			file_put(f->file[i]);
	atomic_fetch_sub(&in_flight, f->n);
	free(f);
}

void scm_free(struct scm *scm)
{
	struct scm_files *f = scm->files;

	scm->files = NULL;
	if (!f)
		return;
	f->next = put_off;
	put_off = f;
	if (freeing)
		return;
	freeing = true;
	while ((f = put_off)) {
		put_off = f->next;
		files_free(f);
	}
	freeing = false;
}

int scm_dup(const struct scm *from, struct scm *to)
{
	*to = (struct scm){ .cred = from->cred, .ttl = from->ttl, .tos = from->tos };
	if (!from->files)
		return 0;
	to->files = scm_files_new(from->files->n);
	if (!to->files)
		return -ENOMEM;
	for (int i = 0; i < from->files->n; i++) {
		to->files->file[i] = from->files->file[i];
		file_get(to->files->file[i]);
	}
	return 0;
}
