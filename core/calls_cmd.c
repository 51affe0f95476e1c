/*
 * The list of calls: a row a number, from table.def (what dispatch itself uses) and notes.def.
 *
 * A note must fit its call: one that is refused by the common handlers must say so, an absent one must be absent.
 */
#include "calls_cmd.h"

#include <stdio.h>
#include <string.h>

#include "lib/log.h"
#include "syscall/syscall.h"

enum note_kind { NOTE_PARTLY, NOTE_REFUSED, NOTE_ABSENT };

static const struct note {
	enum note_kind kind;
	int nr;				/* ABSENT only */
	const char *name, *err, *text;
} notes[] = {
#define PARTLY(name, text)		{ NOTE_PARTLY, -1, #name, NULL, text },
#define REFUSED(name, err, text)	{ NOTE_REFUSED, -1, #name, err, text },
#define ABSENT(nr, name, text)		{ NOTE_ABSENT, nr, #name, "ENOSYS", text },
#include "syscall/notes.def"
};

static const struct note *note_of(int nr)
{
	const char *name = syscall_table[nr].name;

	for (size_t i = 0; i < ARRAY_SIZE(notes); i++)
		if (notes[i].kind == NOTE_ABSENT ? notes[i].nr == nr : name && !strcmp(notes[i].name, name))
			return &notes[i];
	return NULL;
}

static bool in_table(const char *name)
{
	for (int nr = 0; nr < SYSCALL_MAX; nr++)
		if (syscall_table[nr].name && !strcmp(syscall_table[nr].name, name))
			return true;
	return false;
}

/* Does what is said fit what is there? */
static bool check(void)
{
	bool ok = true;

	for (size_t i = 0; i < ARRAY_SIZE(notes); i++) {
		bool absent = notes[i].kind == NOTE_ABSENT;

		if (in_table(notes[i].name) == absent || (absent && syscall_table[notes[i].nr].name)) {
			log_error("the note on %s does not fit the table", notes[i].name);
			ok = false;
		}
	}
	for (int nr = 0; nr < SYSCALL_MAX; nr++) {
		const struct syscall_entry *e = &syscall_table[nr];
		const struct note *n = note_of(nr);

		if ((e->handler == sys_refused || e->handler == sys_absent) && (!n || n->kind != NOTE_REFUSED)) {
			log_error("%s is refused, and no note says why", e->name);
			ok = false;
		}
	}
	return ok;
}

static void print_row(int nr)
{
	const struct note *n = note_of(nr);
	const char *name = syscall_table[nr].name;

	if (!n && name)
		printf("| %d | %s | yes | |\n", nr, name);
	else if (n && n->kind == NOTE_PARTLY)
		printf("| %d | %s | partly | %s |\n", nr, n->name, n->text);
	else if (n && n->kind == NOTE_REFUSED)
		printf("| %d | %s | refused: %s | %s |\n", nr, n->name, n->err, n->text);
	else if (n)
		printf("| %d | %s | absent: %s | %s |\n", nr, n->name, n->err, n->text);
}

static void print_totals(void)
{
	int all = 0, kinds[3] = { 0 };

	for (int nr = 0; nr < SYSCALL_MAX; nr++) {
		const struct note *n = note_of(nr);

		all += syscall_table[nr].name || n;
		if (n)
			kinds[n->kind]++;
	}
	printf("Of %d calls, %d are implemented, %d partly, %d refused on purpose, %d absent.\n\n", all,
	       all - kinds[0] - kinds[1] - kinds[2], kinds[0], kinds[1], kinds[2]);
}

int calls_print(void)
{
	if (!check())
		return 1;
	puts("# System calls of x86-64\n\n"
	     "Made by `trapgate calls` from the table that dispatches them (`table_*.def`) and from `notes.def`; a test holds\n"
	     "this page to it. A number that is not listed is ENOSYS, as in Linux.\n");
	print_totals();
	puts("| number | call | implemented | what is not, or why |\n| ---: | --- | --- | --- |");
	for (int nr = 0; nr < SYSCALL_MAX; nr++)
		print_row(nr);
	return 0;
}
