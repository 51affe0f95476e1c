/* "Did you mean": edit distance to each name that would have been right. */
#include <string.h>

#include "bench.h"

#define WORD_MAX	48

static size_t smallest(size_t a, size_t b, size_t c)
{
	size_t least = a < b ? a : b;

	return least < c ? least : c;
}

static size_t distance(const char *a, const char *b)
{
	size_t row[WORD_MAX + 1], la = strnlen(a, WORD_MAX), lb = strnlen(b, WORD_MAX), i, j;

	for (j = 0; j <= lb; j++)
		row[j] = j;
	for (i = 1; i <= la; i++) {
		size_t diagonal = row[0];

		row[0] = i;
		for (j = 1; j <= lb; j++) {
			size_t above = row[j];

			row[j] = smallest(above + 1, row[j - 1] + 1, diagonal + (a[i - 1] != b[j - 1]));
			diagonal = above;
		}
	}
	return row[lb];
}

const char *suggest(const char *typed, const char *const *candidates, size_t count)
{
	size_t best = strlen(typed) / 2 + 1, d, i;
	const char *found = NULL;

	for (i = 0; i < count; i++) {
		d = distance(typed, candidates[i]);
		if (d < best) {
			best = d;
			found = candidates[i];
		}
	}
	return found;
}
