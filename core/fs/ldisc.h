/*
 * The line discipline of a pty: what is between the bytes that the master writes and those that the slave reads, and
 * the other way. Pure: no locks, no waiting, no signals of its own; the pty has its lock.
 */
#ifndef TG_FS_LDISC_H
#define TG_FS_LDISC_H

#include "fs/tty.h"

#define LDISC_IN	4096
#define LDISC_OUT	8192

struct ldisc {
	struct tty_termios modes;
	u8 in[LDISC_IN], mark[LDISC_IN];/* typed and not yet read; a mark ends a line */
	u32 head, lines, tail;		/* free-running: written to, end of the last complete line, read from */
	u8 out[LDISC_OUT];		/* written by the slave, and echo; for the master to read */
	u32 out_head, out_tail;
	u32 column, line_column;	/* of the cursor, and where the line being typed began */
	bool stopped;			/* by the STOP character */
	bool literal;			/* the character after LNEXT */
};

void ldisc_init(struct ldisc *l);
void ldisc_set_modes(struct ldisc *l, const struct tty_termios *modes);

/* Bytes from the master. Returns how many were used up, and in *signals (1 << n) the signals that they mean. */
u64 ldisc_input(struct ldisc *l, const u8 *src, u64 n, u64 *signals);
u64 ldisc_output(struct ldisc *l, const u8 *src, u64 n);	/* bytes from the slave; returns how many were taken */
u64 ldisc_drain(struct ldisc *l, u8 *dst, u64 n);		/* what the master reads */

bool ldisc_readable(const struct ldisc *l);
/* What the slave reads, only if ldisc_readable(): bytes, or 0 at an end of file. `line_done`: no more of this line. */
u64 ldisc_read(struct ldisc *l, u8 *dst, u64 n, bool *line_done);
u32 ldisc_typed(const struct ldisc *l);		/* bytes that a read could get */
static inline u32 ldisc_written(const struct ldisc *l) { return l->out_head - l->out_tail; }
bool ldisc_input_room(const struct ldisc *l);
bool ldisc_output_room(const struct ldisc *l);

void ldisc_flush_input(struct ldisc *l);
void ldisc_flush_output(struct ldisc *l);

#endif
