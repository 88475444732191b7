/*
 * buffer.c
 *	  Text that grows.
 */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/buffer.h"

#define BUFFER_SIZE_MIN 1024

static bool
buffer_reserve(HaBuffer *buffer, size_t len)
{
	size_t		size = buffer->size ? buffer->size : BUFFER_SIZE_MIN;
	char	   *data;

	if (buffer->failed)
		return false;
	while (size - buffer->len <= len)
		size *= 2;
	if (size == buffer->size)
		return true;
	data = realloc(buffer->data, size);
	if (!data)
	{
		buffer->failed = true;
		return false;
	}
	buffer->data = data;
	buffer->size = size;
	return true;
}

void
pgha_buffer_add_bytes(HaBuffer *buffer, const char *data, size_t len)
{
	if (!buffer_reserve(buffer, len))
		return;
	if (len > 0)
		memcpy(buffer->data + buffer->len, data, len);
	for (size_t i = 0; i < len; i++)
		buffer->lines += data[i] == '\n';
	buffer->len += len;
	buffer->data[buffer->len] = '\0';
}

void
pgha_buffer_add(HaBuffer *buffer, const char *text)
{
	pgha_buffer_add_bytes(buffer, text, strlen(text));
}

void
pgha_buffer_printf(HaBuffer *buffer, const char *format,...)
{
	va_list		args;
	char	   *text = NULL;
	int			len;

	va_start(args, format);
	len = vsnprintf(NULL, 0, format, args);
	va_end(args);
	if (len >= 0)
		text = malloc((size_t) len + 1);
	if (!text)
	{
		buffer->failed = true;
		return;
	}
	va_start(args, format);
	vsnprintf(text, (size_t) len + 1, format, args);
	va_end(args);
	pgha_buffer_add_bytes(buffer, text, (size_t) len);
	free(text);
}

void
pgha_buffer_release(HaBuffer *buffer)
{
	free(buffer->data);
	memset(buffer, 0, sizeof(*buffer));
}
