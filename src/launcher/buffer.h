/*
 * buffer.h
 *	  Text that grows.
 *
 * All zero is an empty buffer.  Running out of memory is remembered, so that
 * only the end of a long text needs a check.
 */
#ifndef PGHA_BUFFER_H
#define PGHA_BUFFER_H

#include <stdbool.h>
#include <stddef.h>

typedef struct HaBuffer
{
	char	   *data;			/* NUL-terminated once something was added */
	size_t		len;
	size_t		size;
	int			lines;			/* newlines in it */
	bool		failed;			/* no memory: the text is incomplete */
} HaBuffer;

extern void pgha_buffer_add(HaBuffer *buffer, const char *text);
extern void pgha_buffer_add_bytes(HaBuffer *buffer, const char *data,
								  size_t len);
extern void pgha_buffer_printf(HaBuffer *buffer, const char *format,...)
			__attribute__((format(printf, 2, 3)));
extern void pgha_buffer_release(HaBuffer *buffer);

#endif							/* PGHA_BUFFER_H */
