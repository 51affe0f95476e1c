/* The line discipline: editing, echo, signals and output processing as termios(3) describes them for Linux's N_TTY. */
#include "fs/ldisc.h"

#include <asm/termbits.h>
#include <signal.h>
#include <string.h>

enum { MARK_NONE, MARK_LINE, MARK_EOF };

#define TAB_WIDTH	8
#define OUT_SPARE	TAB_WIDTH	/* the most that one byte can become */
#define OUT_WAKE	256		/* room at which a writer is told to go on */

void ldisc_init(struct ldisc *l)
{
	static const u8 cc[] = {
		[VINTR] = 3, [VQUIT] = 034, [VERASE] = 0177, [VKILL] = 025, [VEOF] = 4, [VMIN] = 1, [VSTART] = 021,
		[VSTOP] = 023, [VSUSP] = 032, [VREPRINT] = 022, [VDISCARD] = 017, [VWERASE] = 027, [VLNEXT] = 026,
	};

	memset(l, 0, sizeof(*l));
	l->modes.iflag = ICRNL | IXON;
	l->modes.oflag = OPOST | ONLCR;
	l->modes.cflag = B38400 | CS8 | CREAD;
	l->modes.lflag = ISIG | ICANON | ECHO | ECHOE | ECHOK | ECHOCTL | ECHOKE | IEXTEN;
	l->modes.ispeed = l->modes.ospeed = 38400;
	memcpy(l->modes.cc, cc, sizeof(cc));
}

static bool lflag(const struct ldisc *l, u32 flag)
{
	return l->modes.lflag & flag;
}

static bool iflag(const struct ldisc *l, u32 flag)
{
	return l->modes.iflag & flag;
}

static bool oflag(const struct ldisc *l, u32 flag)
{
	return l->modes.oflag & flag;
}

/* A control character that is set to 0 is switched off. */
static bool is_cc(const struct ldisc *l, u8 c, int which)
{
	return c && c == l->modes.cc[which];
}

static bool is_control(u8 c)
{
	return c < 0x20 || c == 0x7f;
}

static bool is_continuation(const struct ldisc *l, u8 c)
{
	return iflag(l, IUTF8) && (c & 0xc0) == 0x80;
}

void ldisc_set_modes(struct ldisc *l, const struct tty_termios *modes)
{
	bool was = lflag(l, ICANON);

	l->modes = *modes;
	/* What was typed before becomes a line of its own, so that it can be read. */
	if (!was && lflag(l, ICANON) && l->head != l->tail) {
		l->mark[(l->head - 1) % LDISC_IN] = MARK_LINE;
		l->lines = l->head;
	}
	if (was && !lflag(l, ICANON))
		l->lines = l->tail;
	if (!iflag(l, IXON))
		l->stopped = false;
}

/* ---- towards the master ---- */

static u32 out_space(const struct ldisc *l)
{
	return LDISC_OUT - ldisc_written(l);
}

static void put_out(struct ldisc *l, u8 c)
{
	if (out_space(l))
		l->out[l->out_head++ % LDISC_OUT] = c;
}

static void out_tab(struct ldisc *l)
{
	u32 n = TAB_WIDTH - l->column % TAB_WIDTH;

	l->column += n;
	if ((l->modes.oflag & TABDLY) != TAB3) {
		put_out(l, '\t');
		return;
	}
	while (n--)
		put_out(l, ' ');
}

static void out_newline(struct ldisc *l)
{
	if (oflag(l, ONLCR))
		put_out(l, '\r');
	if (oflag(l, ONLCR | ONLRET))
		l->column = l->line_column = 0;
	put_out(l, '\n');
}

static void out_return(struct ldisc *l)
{
	if (oflag(l, ONOCR) && !l->column)
		return;
	if (oflag(l, OCRNL)) {
		put_out(l, '\n');
		if (oflag(l, ONLRET))
			l->column = l->line_column = 0;
		return;
	}
	l->column = l->line_column = 0;
	put_out(l, '\r');
}

/* One byte with output processing. */
static void out_char(struct ldisc *l, u8 c)
{
	if (!oflag(l, OPOST)) {
		put_out(l, c);
		return;
	}
	switch (c) {
	case '\n':
		out_newline(l);
		return;
	case '\r':
		out_return(l);
		return;
	case '\t':
		out_tab(l);
		return;
	case '\b':
		if (l->column)
			l->column--;
		break;
	default:
		if (oflag(l, OLCUC) && c >= 'a' && c <= 'z')
			c -= 'a' - 'A';
		if (!is_control(c) && !is_continuation(l, c))
			l->column++;
		break;
	}
	put_out(l, c);
}

u64 ldisc_output(struct ldisc *l, const u8 *src, u64 n)
{
	u64 done;

	if (l->stopped)
		return 0;
	for (done = 0; done < n && out_space(l) >= OUT_SPARE; done++)
		out_char(l, src[done]);
	return done;
}

u64 ldisc_drain(struct ldisc *l, u8 *dst, u64 n)
{
	u64 done;

	for (done = 0; done < n && ldisc_written(l); done++)
		dst[done] = l->out[l->out_tail++ % LDISC_OUT];
	return done;
}

bool ldisc_output_room(const struct ldisc *l)
{
	return !l->stopped && out_space(l) >= OUT_WAKE;
}

void ldisc_flush_output(struct ldisc *l)
{
	l->out_tail = l->out_head;
}

/* ---- echo and editing ---- */

/* As typed: control characters as ^X, but for the tab. */
static void echo(struct ldisc *l, u8 c)
{
	if (lflag(l, ECHOCTL) && is_control(c) && c != '\t') {
		out_char(l, '^');
		out_char(l, c ^ 0x40);
	} else {
		out_char(l, c);
	}
}

static u32 width(const struct ldisc *l, u8 c, u32 column)
{
	if (c == '\t')
		return TAB_WIDTH - column % TAB_WIDTH;
	if (is_control(c))
		return lflag(l, ECHOCTL) ? 2 : 0;
	return is_continuation(l, c) ? 0 : 1;
}

/* Where the cursor is after what has been typed of the line. */
static u32 typed_column(const struct ldisc *l)
{
	u32 column = l->line_column;

	for (u32 i = l->lines; i != l->head; i++)
		column += width(l, l->in[i % LDISC_IN], column);
	return column;
}

static u8 last_typed(const struct ldisc *l)
{
	return l->in[(l->head - 1) % LDISC_IN];
}

/* Take back one character, all its bytes. */
static void erase_one(struct ldisc *l)
{
	u32 before = typed_column(l), after;
	u8 c;

	do {
		c = last_typed(l);
		l->head--;
	} while (is_continuation(l, c) && l->head != l->lines);
	if (!lflag(l, ECHO))
		return;
	if (!lflag(l, ECHOE)) {
		echo(l, l->modes.cc[VERASE]);
		return;
	}
	after = typed_column(l);
	for (; before > after; before--) {
		out_char(l, '\b');
		if (c != '\t') {
			out_char(l, ' ');
			out_char(l, '\b');
		}
	}
}

static bool is_word(u8 c)
{
	return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || c >= 0x80;
}

static void erase_word(struct ldisc *l)
{
	while (l->head != l->lines && !is_word(last_typed(l)))
		erase_one(l);
	while (l->head != l->lines && is_word(last_typed(l)))
		erase_one(l);
}

static void kill_line(struct ldisc *l)
{
	if (!lflag(l, ECHO)) {
		l->head = l->lines;
	} else if (lflag(l, ECHOK) && lflag(l, ECHOKE) && lflag(l, ECHOE)) {
		while (l->head != l->lines)
			erase_one(l);
	} else {
		l->head = l->lines;
		echo(l, l->modes.cc[VKILL]);
		if (lflag(l, ECHOK))
			out_char(l, '\n');
	}
}

static void reprint(struct ldisc *l)
{
	echo(l, l->modes.cc[VREPRINT]);
	out_char(l, '\n');
	for (u32 i = l->lines; i != l->head; i++)
		echo(l, l->in[i % LDISC_IN]);
}

/* ---- from the master ---- */

static u32 in_space(const struct ldisc *l)
{
	return LDISC_IN - (l->head - l->tail);
}

static void put_in(struct ldisc *l, u8 c, u8 mark)
{
	l->in[l->head % LDISC_IN] = c;
	l->mark[l->head % LDISC_IN] = mark;
	l->head++;
	if (mark)
		l->lines = l->head;
}

/* One place stays free for the end of the line; what does not fit is lost, as on a real terminal. */
static void put_typed(struct ldisc *l, u8 c)
{
	if (in_space(l) < 2)
		return;
	if (lflag(l, ECHO)) {
		if (l->head == l->lines)
			l->line_column = l->column;
		if (c == '\n')
			out_char(l, c);
		else
			echo(l, c);
	}
	put_in(l, c, MARK_NONE);
}

static bool input_flow(struct ldisc *l, u8 c)
{
	if (!iflag(l, IXON))
		return false;
	if (is_cc(l, c, VSTART)) {
		l->stopped = false;
		return true;
	}
	if (is_cc(l, c, VSTOP)) {
		l->stopped = true;
		return true;
	}
	return false;
}

static bool input_signal(struct ldisc *l, u8 c, u64 *signals)
{
	int signo;

	if (!lflag(l, ISIG))
		return false;
	if (is_cc(l, c, VINTR))
		signo = SIGINT;
	else if (is_cc(l, c, VQUIT))
		signo = SIGQUIT;
	else if (is_cc(l, c, VSUSP))
		signo = SIGTSTP;
	else
		return false;
	*signals |= 1ull << signo;
	l->stopped = false;
	if (!lflag(l, NOFLSH)) {
		ldisc_flush_input(l);
		ldisc_flush_output(l);
	}
	if (lflag(l, ECHO))
		echo(l, c);
	return true;
}

static bool input_edit(struct ldisc *l, u8 c)
{
	bool extended = lflag(l, IEXTEN);

	if (is_cc(l, c, VERASE)) {
		if (l->head != l->lines)
			erase_one(l);
	} else if (is_cc(l, c, VKILL)) {
		kill_line(l);
	} else if (extended && is_cc(l, c, VWERASE)) {
		erase_word(l);
	} else if (extended && is_cc(l, c, VLNEXT)) {
		l->literal = true;
		if (lflag(l, ECHO) && lflag(l, ECHOCTL)) {
			out_char(l, '^');
			out_char(l, '\b');
		}
	} else if (extended && lflag(l, ECHO) && is_cc(l, c, VREPRINT)) {
		reprint(l);
	} else {
		return false;
	}
	return true;
}

static bool input_line_end(struct ldisc *l, u8 c)
{
	if (is_cc(l, c, VEOF)) {
		put_in(l, 0, MARK_EOF);
		return true;
	}
	if (c != '\n' && !is_cc(l, c, VEOL) && !(lflag(l, IEXTEN) && is_cc(l, c, VEOL2)))
		return false;
	if (lflag(l, ECHO) || (c == '\n' && lflag(l, ECHONL))) {
		if (c == '\n')
			out_char(l, c);
		else
			echo(l, c);
	}
	put_in(l, c, MARK_LINE);
	return true;
}

static void input_char(struct ldisc *l, u8 c, u64 *signals)
{
	if (iflag(l, ISTRIP))
		c &= 0x7f;
	if (l->literal) {
		l->literal = false;
		put_typed(l, c);
		return;
	}
	if (input_flow(l, c) || input_signal(l, c, signals))
		return;
	if (l->stopped && iflag(l, IXANY))
		l->stopped = false;
	if (c == '\r') {
		if (iflag(l, IGNCR))
			return;
		if (iflag(l, ICRNL))
			c = '\n';
	} else if (c == '\n' && iflag(l, INLCR)) {
		c = '\r';
	}
	if (lflag(l, ICANON) && (input_edit(l, c) || input_line_end(l, c)))
		return;
	put_typed(l, c);
}

/* A full buffer with no line to read in it takes more (and loses it): else the reader could never go on. */
bool ldisc_input_room(const struct ldisc *l)
{
	return in_space(l) > 1 || (lflag(l, ICANON) && l->lines == l->tail && in_space(l));
}

u64 ldisc_input(struct ldisc *l, const u8 *src, u64 n, u64 *signals)
{
	u64 done;

	for (done = 0; done < n && ldisc_input_room(l); done++)
		input_char(l, src[done], signals);
	return done;
}

void ldisc_flush_input(struct ldisc *l)
{
	l->tail = l->lines = l->head;
	l->literal = false;
}

/* ---- to the slave ---- */

u32 ldisc_typed(const struct ldisc *l)
{
	return (lflag(l, ICANON) ? l->lines : l->head) - l->tail;
}

bool ldisc_readable(const struct ldisc *l)
{
	u32 least = 1;

	if (!lflag(l, ICANON) && !l->modes.cc[VTIME] && l->modes.cc[VMIN])
		least = l->modes.cc[VMIN];
	return ldisc_typed(l) >= least;
}

u64 ldisc_read(struct ldisc *l, u8 *dst, u64 n, bool *line_done)
{
	bool lines = lflag(l, ICANON);
	u64 done = 0;

	*line_done = false;
	while (ldisc_typed(l) && !*line_done) {
		u8 mark = l->mark[l->tail % LDISC_IN];

		/* An end of file right behind the last byte asked for is part of this read, or the next one would see it. */
		if (done == n && !(lines && mark == MARK_EOF))
			break;
		if (!lines || mark != MARK_EOF)
			dst[done++] = l->in[l->tail % LDISC_IN];
		l->tail++;
		*line_done = lines && mark;
	}
	if (!lines)
		l->lines = l->tail;
	return done;
}
