/* `trapgate calls`: the page CALLS.md, from the table of calls and their notes. */
#ifndef TG_CALLS_CMD_H
#define TG_CALLS_CMD_H

int calls_print(void);		/* to stdout; 0, or 1 if a note is about a call that the table does not have, or the other way round */

#endif
