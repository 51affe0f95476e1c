/*
 * The tables of a run. raw.csv: one row a launch and metric, columns as in results/raw.schema.json, no quoting.
 *
 * A block's rows go out in one write and one fsync. If that write fails half-way (a full disk), the file is cut back,
 * so that whatever happens at most one block is lost. After a crash csv_done() mends a torn last line.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "bench.h"

#define CELL_COLUMNS	"schema,run_id,host,platform,knobs,workload,params,placement,block,"

static const struct { const char *file, *header; } files[TABLES] = {
	[TABLE_RAW] = { "raw.csv", CELL_COLUMNS "position,launch,metric,unit,value,n_inner,status,reason\n" },
	[TABLE_HIST] = { "hist.csv", CELL_COLUMNS "launch,low_ns,high_ns,count\n" },
	[TABLE_PHASES] = { "phases.csv", CELL_COLUMNS "launch,phase,ns,p90_ns,n\n" },
};

#define BLOCK_COLUMN	8

__attribute__((format(printf, 2, 3)))
static void rows_print(struct rows *rows, const char *fmt, ...)
{
	char line[2048], *text;
	va_list ap;
	int n;

	va_start(ap, fmt);
	n = vsnprintf(line, sizeof(line), fmt, ap);
	va_end(ap);
	if (n < 0 || n >= (int)sizeof(line)) {
		rows->failed = true;
		return;
	}
	if (rows->len + n + 1 > rows->size) {
		text = realloc(rows->text, (rows->size + n + 1) * 2);
		if (!text) {
			rows->failed = true;
			return;
		}
		rows->text = text;
		rows->size = (rows->size + n + 1) * 2;
	}
	memcpy(rows->text + rows->len, line, n);
	rows->len += n;
}

/* A comma, quote or line break in a message would shift the columns of its row. */
static void plain(char *to, size_t size, const char *from)
{
	size_t i;

	for (i = 0; i + 1 < size && from[i]; i++)
		to[i] = from[i] == ',' ? ';' : from[i] == '"' ? '\'' : (unsigned char)from[i] < ' ' ? ' ' : from[i];
	to[i] = 0;
}

void rows_add(struct rows *rows, const struct plan *plan, const struct cell *cell, unsigned int block,
	      unsigned int position, const struct value *value, const char *status, const char *reason)
{
	char text[TEXT_LEN], number[40] = "";

	plain(text, sizeof(text), reason);
	if (!value->missing)
		snprintf(number, sizeof(number), "%.6g", value->number);
	/* %.6g turns large counts into powers of ten; counts are whole. */
	if (!value->missing && value->number >= 1e5)
		snprintf(number, sizeof(number), "%.0f", value->number);
	rows_print(rows, "%d,%s,%s,%s,%s,%s,%s,%s,%u,%u,%u,%s,%s,%s,%llu,%s,%s\n", SCHEMA_VERSION, plan->run_id,
		   plan->host, cell->variant->platform, cell->variant->knobs, cell->workload->name, cell->params,
		   cell->placement->name, block, position, block, value->metric, value->unit, number,
		   (unsigned long long)cell->inner, status, text);
}

void hist_add(struct rows *rows, const struct plan *plan, const struct cell *cell, unsigned int block, double low_ns,
	      double high_ns, unsigned int count)
{
	rows_print(rows, "%d,%s,%s,%s,%s,%s,%s,%s,%u,%u,%.6g,%.6g,%u\n", SCHEMA_VERSION, plan->run_id, plan->host,
		   cell->variant->platform, cell->variant->knobs, cell->workload->name, cell->params, cell->placement->name,
		   block, block, low_ns, high_ns, count);
}

void phase_add(struct rows *rows, const struct plan *plan, const struct cell *cell, unsigned int block, const char *phase,
	       double ns, double p90_ns, unsigned int n)
{
	rows_print(rows, "%d,%s,%s,%s,%s,%s,%s,%s,%u,%u,%s,%.6g,%.6g,%u\n", SCHEMA_VERSION, plan->run_id, plan->host,
		   cell->variant->platform, cell->variant->knobs, cell->workload->name, cell->params, cell->placement->name,
		   block, block, phase, ns, p90_ns, n);
}

static int write_all(int fd, const char *text, size_t len)
{
	while (len) {
		ssize_t n = write(fd, text, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			return -errno;
		text += n;
		len -= n;
	}
	return 0;
}

static int csv_open(const struct plan *plan, enum table which, int flags)
{
	char path[PATH_LEN + 32];

	snprintf(path, sizeof(path), "%s/%s", plan->dir, files[which].file);
	return open(path, flags | O_CLOEXEC, 0644);
}

static int append_one(const struct plan *plan, enum table which, struct rows *rows)
{
	int fd = csv_open(plan, which, O_WRONLY | O_CREAT | O_APPEND), err = rows->failed ? -ENOMEM : 0;
	struct stat st = { 0 };

	if (fd < 0)
		return -errno;
	fstat(fd, &st);
	if (!err && !st.st_size)
		err = write_all(fd, files[which].header, strlen(files[which].header));
	if (!err)
		err = write_all(fd, rows->text, rows->len);
	if (!err && fsync(fd))
		err = -errno;
	if (err && ftruncate(fd, st.st_size))
		complain("%s could not be cut back: %s", files[which].file, strerror(errno));
	close(fd);
	return err;
}

/* raw.csv goes first: it alone says what is done. What it has and the others lost is a histogram less, not a wrong one. */
int csv_append(const struct plan *plan, struct rows *tables)
{
	int which, err = 0;

	for (which = 0; which < TABLES && !err; which++)
		if (which == TABLE_RAW || tables[which].len || tables[which].failed)
			err = append_one(plan, which, &tables[which]);
	for (which = 0; which < TABLES; which++)
		tables[which].len = 0;
	return err;
}

static char *csv_read(int fd, size_t *len)
{
	struct stat st;
	char *text;
	ssize_t n;

	if (fstat(fd, &st))
		return NULL;
	text = malloc(st.st_size + 1);
	if (!text)
		return NULL;
	n = pread(fd, text, st.st_size, 0);
	*len = n < 0 ? 0 : n;
	text[*len] = 0;
	return text;
}

static bool place_of(const char *line, unsigned int *block, unsigned int *position)
{
	int i;

	for (i = 0; i < BLOCK_COLUMN && line; i++) {
		line = strchr(line, ',');
		line = line ? line + 1 : NULL;
	}
	return line && sscanf(line, "%u,%u,", block, position) == 2;
}

/* Start of the rows of the last launch in the file: what a torn write leaves in doubt. */
static size_t last_launch(const char *text, size_t len)
{
	unsigned int block, position, b, p;
	size_t start = len, line = len;
	bool first = true;

	while (line > strlen(files[TABLE_RAW].header)) {
		for (line--; line && text[line - 1] != '\n'; line--)
			;
		if (!place_of(text + line, &b, &p))
			return line;
		if (!first && (b != block || p != position))
			break;
		block = b;
		position = p;
		first = false;
		start = line;
	}
	return start;
}

static size_t mend(int fd, char *text, size_t len)
{
	size_t whole = len;

	if (!len || text[len - 1] == '\n')
		return len;
	while (whole && text[whole - 1] != '\n')
		whole--;
	whole = last_launch(text, whole);
	if (ftruncate(fd, whole))
		complain("raw.csv could not be mended: %s", strerror(errno));
	text[whole] = 0;
	return whole;
}

/* The other tables: a last line without its end goes. */
static int mend_other(const struct plan *plan, enum table which)
{
	int fd = csv_open(plan, which, O_RDWR), err = 0;
	size_t len = 0, whole;
	char *text;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	text = csv_read(fd, &len);
	for (whole = len; text && whole && text[whole - 1] != '\n'; whole--)
		;
	if (!text)
		err = -ENOMEM;
	else if (whole != len && ftruncate(fd, whole))
		err = -errno;
	free(text);
	close(fd);
	return err;
}

/* done[block][position] for each launch that has rows. */
static int raw_done(const struct plan *plan, bool **done)
{
	int fd = csv_open(plan, TABLE_RAW, O_RDWR);
	unsigned int block, position;
	char *text, *line;
	size_t len;

	if (fd < 0)
		return errno == ENOENT ? 0 : -errno;
	text = csv_read(fd, &len);
	if (!text) {
		close(fd);
		return -ENOMEM;
	}
	mend(fd, text, len);
	for (line = strchr(text, '\n'); line && line[1]; line = strchr(line + 1, '\n'))
		if (place_of(line + 1, &block, &position) && block <= plan->trials && position < plan->ncells)
			done[block][position] = true;
	free(text);
	close(fd);
	return 0;
}

int csv_done(const struct plan *plan, bool **done)
{
	int err = raw_done(plan, done);

	if (!err)
		err = mend_other(plan, TABLE_HIST);
	return err ? err : mend_other(plan, TABLE_PHASES);
}
