/*
 * Progress on standard error: a bar with the time left on a terminal, elsewhere a plain line a block. No colour.
 */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bench.h"

static double began, last_drawn;
static bool terminal;

static void clear_line(void)
{
	if (terminal)
		fputs("\r\033[K", stderr);
}

void progress_begin(const struct plan *plan)
{
	terminal = isatty(STDERR_FILENO);
	began = clock_seconds();
	fprintf(stderr, "run    %s: suite %s, %zu cells, 1 warm-up + %u launches each, seed %llu%s\n", plan->run_id,
		plan->suite->name, plan->ncells, plan->trials, (unsigned long long)plan->seed,
		plan->subset ? " (subset)" : "");
}

static int columns(void)
{
	struct winsize ws;

	return !ioctl(STDERR_FILENO, TIOCGWINSZ, &ws) && ws.ws_col > 20 ? ws.ws_col : 80;
}

static void draw(const struct plan *plan, const struct cell *cell, unsigned int block, unsigned int position)
{
	double elapsed = clock_seconds() - began, left = plan_estimate(plan, block, position);
	int percent = elapsed + left > 0 ? (int)(100 * elapsed / (elapsed + left)) : 0;
	char bar[21], line[512];
	int i;

	for (i = 0; i < 20; i++)
		bar[i] = i * 5 < percent ? '#' : '.';
	bar[20] = 0;
	snprintf(line, sizeof(line), 
		 "[%s %3d%%] block %u/%u  %s / %s  elapsed %d:%02d  left %d:%02d  ^C is safe: --resume",
		 bar, percent, block, plan->trials, cell->workload->name, cell->variant->platform, (int)elapsed / 60,
		 (int)elapsed % 60, (int)left / 60, (int)left % 60);
	fprintf(stderr, "\r\033[K%.*s", columns() - 1, line);
	fflush(stderr);
}

/* At most five times a second: the terminal must not take the CPU from what is measured. */
void progress_cell(const struct plan *plan, const struct cell *cell, unsigned int block, unsigned int position)
{
	double now = clock_seconds();

	if (!terminal || now - last_drawn < 0.2)
		return;
	last_drawn = now;
	draw(plan, cell, block, position);
}

void progress_block(const struct plan *plan, unsigned int block)
{
	double elapsed = clock_seconds() - began, left = plan_estimate(plan, block + 1, 0);

	if (!terminal)
		fprintf(stderr, "block  %u/%u done, elapsed %d:%02d, left %d:%02d\n", block, plan->trials,
			(int)elapsed / 60, (int)elapsed % 60, (int)left / 60, (int)left % 60);
}

void progress_end(const struct plan *plan)
{
	clear_line();
	if (!plan->complete)
		fprintf(stderr, "incomplete: finished cells are kept; go on with --resume %s\n", plan->dir);
}
