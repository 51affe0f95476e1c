/* A hash table of names: see name_table.h. */
#include <errno.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "fs/name_table.h"

static u64 seed;
static pthread_once_t seeded = PTHREAD_ONCE_INIT;

static void make_seed(void)
{
	if (getrandom(&seed, sizeof(seed), GRND_NONBLOCK) != sizeof(seed))
		seed = (u64)(uintptr_t)&seed * 0x9e3779b97f4a7c15ull;
}

u32 name_hash(const char *name, size_t len)
{
	u64 h, word;

	pthread_once(&seeded, make_seed);
	h = seed ^ len;
	for (; len >= 8; name += 8, len -= 8) {
		memcpy(&word, name, 8);
		h = (h ^ word) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 29;
	}
	word = 0;
	memcpy(&word, name, len);
	h = (h ^ word) * 0xbf58476d1ce4e5b9ull;
	return (u32)(h ^ h >> 32);
}

struct name_node *name_table_find(const struct name_table *t, const char *name, size_t len)
{
	u32 hash;

	if (!t->count)
		return NULL;
	hash = name_hash(name, len);
	for (struct name_node *n = t->bucket[hash & (t->size - 1)]; n; n = n->next)
		if (n->hash == hash && n->len == len && !memcmp(n->name, name, len))
			return n;
	return NULL;
}

static int grow(struct name_table *t)
{
	u32 size = t->size ? t->size * 2 : 4;
	struct name_node **bucket = calloc(size, sizeof(*bucket));

	if (!bucket)
		return -ENOMEM;
	for (u32 i = 0; i < t->size; i++) {
		struct name_node *n, *next;

		for (n = t->bucket[i]; n; n = next) {
			next = n->next;
			n->next = bucket[n->hash & (size - 1)];
			bucket[n->hash & (size - 1)] = n;
		}
	}
	free(t->bucket);
	t->bucket = bucket;
	t->size = size;
	return 0;
}

int name_table_add(struct name_table *t, struct name_node *n)
{
	struct name_node **head;

	/* A full table still works, so only the first growth may fail the caller. */
	if (t->count >= t->size && grow(t) && !t->size)
		return -ENOMEM;
	n->hash = name_hash(n->name, n->len);
	head = &t->bucket[n->hash & (t->size - 1)];
	n->next = *head;
	*head = n;
	t->count++;
	return 0;
}

void name_table_del(struct name_table *t, struct name_node *n)
{
	struct name_node **p = &t->bucket[n->hash & (t->size - 1)];

	while (*p != n)
		p = &(*p)->next;
	*p = n->next;
	n->next = NULL;
	t->count--;
}

void name_table_free(struct name_table *t)
{
	free(t->bucket);
	t->bucket = NULL;
	t->size = t->count = 0;
}
