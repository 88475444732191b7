/*
 * capture.h
 *	  Run a short program to its end and keep what it says.
 *
 * Blocks, bounded: for --check and for a start, never for the loop.
 */
#ifndef PGHA_CAPTURE_H
#define PGHA_CAPTURE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct HaCapture
{
	int			status;			/* as of waitpid */
	size_t		len;
	char		output[8192];	/* stdout and stderr, cut off */
} HaCapture;

/* Messages in C.  False with why: not started, or killed after timeout_ms. */
extern bool pgha_capture(const char *const *argv, int timeout_ms,
						 HaCapture *capture, char *why);

#endif							/* PGHA_CAPTURE_H */
