/*
 * Progress on standard error: a bar with the time left on a terminal, elsewhere a plain line a block. No colour.
 */
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "bench.h"

static double began, last_drawn, last_floor;
static bool terminal;

static void clear_line(void)
{
	if (terminal)
		fputs("\r\033[K", stderr);
}

static int first_cpu(const cpu_set_t *set)
{
	int cpu;

	for (cpu = 0; cpu < CPU_SETSIZE && !CPU_ISSET(cpu, set); cpu++)
		;
	return cpu;
}

/* "floor now +-1.9 %", or nothing yet. */
static const char *floor_text(double floor)
{
	static char text[48];

	text[0] = 0;
	if (floor > 0)
		snprintf(text, sizeof(text), "  floor now +-%.1f %%", 100 * (floor - 1));
	return text;
}

void progress_begin(const struct plan *plan)
{
	terminal = isatty(STDERR_FILENO);
	began = clock_seconds();
	fprintf(stderr, "run    %s: suite %s%s, %zu cells, 1 warm-up + %u launches each, a fresh process each\n", plan->run_id,
		plan->suite->name, plan->subset ? " (subset)" : "", plan->ncells, plan->trials);
	fprintf(stderr, "       order: Williams, seed %llu     same-cpu: CPU %d", (unsigned long long)plan->seed,
		first_cpu(&plan->placements[0].cpus));
	if (plan->budget_s)
		fprintf(stderr, "     budget %ld:%02ld", plan->budget_s / 60, plan->budget_s % 60);
	fputc('\n', stderr);
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
		 "[%s %3d%%] block %u/%u  %s / %s  elapsed %d:%02d  left %d:%02d%s  ^C is safe",
		 bar, percent, block, plan->trials, cell->workload->name, cell->variant->platform, (int)elapsed / 60,
		 (int)elapsed % 60, (int)left / 60, (int)left % 60, floor_text(last_floor));
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

void progress_block(const struct plan *plan, unsigned int block, double floor)
{
	double elapsed = clock_seconds() - began, left = plan_estimate(plan, block + 1, 0);

	last_floor = floor;
	if (!terminal)
		fprintf(stderr, "block  %u/%u done, elapsed %d:%02d, left %d:%02d%s\n", block, plan->trials, (int)elapsed / 60,
			(int)elapsed % 60, (int)left / 60, (int)left % 60, floor_text(floor));
}

void progress_end(const struct plan *plan)
{
	clear_line();
}
