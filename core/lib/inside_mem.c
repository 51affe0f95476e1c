/* What the compiler and code that runs inside call memcpy and memset; the build renames the calls. */
#include "lib/inside.h"

void *inside_memcpy(void *dst, const void *src, size_t n);
void *inside_memset(void *dst, int c, size_t n);

void *inside_memcpy(void *dst, const void *src, size_t n)
{
	void *to = dst;

	__asm__ volatile("rep movsb" : "+D"(to), "+S"(src), "+c"(n) : : "memory");
	return dst;
}

void *inside_memset(void *dst, int c, size_t n)
{
	void *to = dst;

	__asm__ volatile("rep stosb" : "+D"(to), "+c"(n) : "a"(c) : "memory");
	return dst;
}
