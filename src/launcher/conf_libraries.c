/*
 * conf_libraries.c
 *	  Lists of libraries, as in shared_preload_libraries.
 *
 * pg_ha stands last: some libraries insist on being first.
 *
 * Source: PostgreSQL's SplitDirectoriesString.
 */
#ifndef _GNU_SOURCE
#endif

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "launcher/conf.h"

#define LIBRARY "pg_ha"

/* One element, as written. */
typedef struct LibraryItem
{
	const char *start;
	size_t		len;
	bool		quoted;
} LibraryItem;

static const char *
skip_space(const char *at)
{
	while (isspace((unsigned char) *at))
		at++;
	return at;
}

/* The element at *at, which moves behind its comma.  False: malformed. */
static bool
next_item(const char **at, LibraryItem *item)
{
	const char *end;

	item->start = skip_space(*at);
	item->quoted = *item->start == '"';
	end = item->start + item->quoted;
	if (item->quoted)
	{
		while (*end && (*end != '"' || end[1] == '"'))
			end += *end == '"' ? 2 : 1;
		if (*end++ != '"')
			return false;
		item->len = (size_t) (end - item->start);
		end = skip_space(end);
	}
	else
	{
		end += strcspn(end, ",");
		item->len = (size_t) (end - item->start);
		while (item->len > 0 &&
			   isspace((unsigned char) item->start[item->len - 1]))
			item->len--;
	}
	if (item->len == 0 || (*end != ',' && *end != '\0'))
		return false;
	*at = *end == ',' ? end + 1 : end;
	/* a comma at the end promises another element */
	return *end == '\0' || *skip_space(*at) != '\0';
}

/* pg_ha, $libdir/pg_ha, /some/where/pg_ha.so */
static bool
item_is_ours(const LibraryItem *item)
{
	const char *start = item->start + item->quoted;
	size_t		len = item->len - 2 * item->quoted;
	const char *slash = memrchr(start, '/', len);

	if (slash)
	{
		len -= (size_t) (slash + 1 - start);
		start = slash + 1;
	}
	if (len > 3 && memcmp(start + len - 3, ".so", 3) == 0)
		len -= 3;
	return len == strlen(LIBRARY) && memcmp(start, LIBRARY, len) == 0;
}

static void
add_item(HaBuffer *buffer, const char *start, size_t len)
{
	if (buffer->len > 0)
		pgha_buffer_add(buffer, ", ");
	pgha_buffer_add_bytes(buffer, start, len);
}

/* The elements but ours; the first one of ours as it is written. */
static bool
split_list(const char *list, HaBuffer *others, LibraryItem *ours)
{
	LibraryItem item;
	const char *at = skip_space(list);

	pgha_buffer_add(others, "");
	while (*at)
	{
		if (!next_item(&at, &item))
			return false;
		if (!item_is_ours(&item))
			add_item(others, item.start, item.len);
		else if (!ours->start)
			*ours = item;
	}
	return true;
}

static char *
take_text(HaBuffer *buffer)
{
	if (!buffer->failed)
		return buffer->data;
	pgha_buffer_release(buffer);
	return NULL;
}

char *
pgha_conf_libraries_with(const char *list, bool *bad)
{
	HaBuffer	others = {0};
	LibraryItem ours = {0};

	*bad = !split_list(list, &others, &ours);
	if (!*bad && ours.start)
	{
		pgha_buffer_release(&others);
		return strdup(list);
	}
	if (*bad)
	{
		pgha_buffer_release(&others);
		return strdup(LIBRARY);
	}
	add_item(&others, LIBRARY, strlen(LIBRARY));
	return take_text(&others);
}

char *
pgha_conf_libraries_without(const char *list, bool *found)
{
	HaBuffer	others = {0};
	LibraryItem ours = {0};

	*found = split_list(list, &others, &ours) && ours.start != NULL;
	if (*found)
		return take_text(&others);
	pgha_buffer_release(&others);
	return strdup(list);
}
