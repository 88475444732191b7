/*
 * state.c
 *	  What outlives the instance: files in pg_ha.state_directory.
 *
 * A file is read strictly: what is there but makes no sense is an error, never
 * a default, because a lost term could be used twice.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dcs/json.h"
#include "dcs/state.h"

#define BOOT_ID_FILE "/proc/sys/kernel/random/boot_id"
#define STATE_FILE_MAX 16384	/* bytes; ours have a few hundred */
#define CONNINFO_MAX 4096

/*
 * Files
 */

static bool
why_file(char *why, const char *what, const char *path)
{
	return pgha_why(why, "could not %s \"%.120s\": %s", what, path,
					strerror(errno));
}

/* fsync the directory that holds `path`, so that a rename survives a crash. */
static bool
sync_directory_of(const char *path, char *why)
{
	char		dir[PATH_MAX];
	char	   *slash;
	int			fd;
	bool		ok;

	snprintf(dir, sizeof(dir), "%s", path);
	slash = strrchr(dir, '/');
	if (slash == NULL)
		strcpy(dir, ".");
	else
		slash[slash == dir ? 1 : 0] = '\0';
	fd = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	if (fd < 0)
		return why_file(why, "open directory", dir);
	ok = fsync(fd) == 0 || why_file(why, "fsync directory", dir);
	close(fd);
	return ok;
}

static bool
write_all(int fd, const char *data, size_t len)
{
	while (len > 0)
	{
		ssize_t		n = write(fd, data, len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		data += n;
		len -= (size_t) n;
	}
	return true;
}

/* Create `path` anew with this content, on disk when it returns. */
static bool
write_new_file(const char *path, const char *data, size_t len, char *why)
{
	int			fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_NOFOLLOW |
						  O_CLOEXEC, 0600);
	bool		ok;

	if (fd < 0)
		return why_file(why, "create", path);
	ok = fchmod(fd, 0600) == 0 && write_all(fd, data, len) && fsync(fd) == 0;
	if (!ok)
		why_file(why, "write", path);
	close(fd);
	return ok;
}

bool
pgha_file_replace(const char *path, const char *data, size_t len, char *why)
{
	char		temporary[PATH_MAX];
	int			n;

	why[0] = '\0';
	n = snprintf(temporary, sizeof(temporary), "%s.tmp.%d", path,
				 (int) getpid());
	if (n < 0 || (size_t) n >= sizeof(temporary))
		return pgha_why(why, "the path of a file is too long");
	if (!write_new_file(temporary, data, len, why))
	{
		unlink(temporary);
		return false;
	}
	if (rename(temporary, path) < 0)
	{
		why_file(why, "replace", path);
		unlink(temporary);
		return false;
	}
	return sync_directory_of(path, why);
}

/* Read up to max + 1 bytes; the one more tells that there are too many. */
static char *
read_fd(int fd, size_t max, size_t *len)
{
	size_t		size = 4096;
	char	   *data = malloc(size);

	*len = 0;
	while (data != NULL)
	{
		ssize_t		n = read(fd, data + *len, size - 1 - *len);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
			break;
		*len += (size_t) n;
		data[*len] = '\0';
		if (n == 0 || *len > max)
			return data;
		if (*len == size - 1)
		{
			char	   *larger = realloc(data, size * 2);

			if (larger == NULL)
				break;
			data = larger;
			size *= 2;
		}
	}
	free(data);
	return NULL;
}

char *
pgha_file_read(const char *path, size_t max, size_t *len, bool *missing,
			   char *why)
{
	int			fd = open(path, O_RDONLY | O_CLOEXEC);
	char	   *data;

	why[0] = '\0';
	*len = 0;
	*missing = fd < 0 && errno == ENOENT;
	if (fd < 0)
	{
		why_file(why, "open", path);
		return NULL;
	}
	data = read_fd(fd, max, len);
	if (data == NULL)
		why_file(why, "read", path);
	close(fd);
	if (data != NULL && *len > max)
	{
		pgha_why(why, "\"%.120s\" is larger than %zu bytes", path, max);
		free(data);
		data = NULL;
		*len = 0;
	}
	return data;
}

/*
 * JSON files in the state directory
 */

static bool
state_path(char *path, const char *dir, const char *name, char *why)
{
	int			n = snprintf(path, PATH_MAX, "%s/%s", dir, name);

	why[0] = '\0';
	if (n < 0 || n >= PATH_MAX)
		return pgha_why(why, "the path of the state directory is too long");
	return true;
}

/*
 * True with *document NULL if the file is absent.  The caller frees.
 */
static bool
read_document(const char *dir, const char *name, json_t **document, char *why)
{
	char		path[PATH_MAX];
	char		reason[HA_WHY_MAX];
	char	   *text;
	size_t		len;
	bool		missing;

	*document = NULL;
	if (!state_path(path, dir, name, why))
		return false;
	text = pgha_file_read(path, STATE_FILE_MAX, &len, &missing, why);
	if (text == NULL)
		return missing;
	*document = pgha_json_load(text, len, reason);
	free(text);
	if (json_is_object(*document))
		return true;
	pgha_why(why, "\"%.120s\" %.60s", path,
			 *document ? "is not an object" : reason);
	json_decref(*document);
	*document = NULL;
	return false;
}

/* Takes the reference. */
static bool
write_document(const char *dir, const char *name, json_t *document, char *why)
{
	char		path[PATH_MAX];
	char	   *text = document ? json_dumps(document, JSON_COMPACT) : NULL;
	bool		ok;

	json_decref(document);
	if (text == NULL)
		return pgha_why(why, "could not print %s: no memory, or not UTF-8",
						name);
	ok = state_path(path, dir, name, why) &&
		pgha_file_replace(path, text, strlen(text), why);
	free(text);
	return ok;
}

static bool
have_number(const json_t *document, const char *field, uint64_t *number)
{
	return pgha_json_number(json_object_get(document, field), number);
}

static bool
have_text(const json_t *document, const char *field, char *text, size_t size)
{
	return json_is_string(json_object_get(document, field)) &&
		pgha_json_get_name(document, field, text, size);
}

/*
 * lease.json
 */

static bool
read_boot_id(char *boot, char *why)
{
	size_t		len;
	bool		missing;
	char	   *text = pgha_file_read(BOOT_ID_FILE, HA_BOOT_ID_MAX, &len,
									  &missing, why);

	if (text == NULL)
		return false;
	text[strcspn(text, "\n")] = '\0';
	snprintf(boot, HA_BOOT_ID_MAX + 1, "%s", text);
	free(text);
	if (boot[0] == '\0')
		return pgha_why(why, "%s is empty", BOOT_ID_FILE);
	return true;
}

bool
pgha_state_read_term(const char *dir, HaTermFile *file, char *why)
{
	char		boot[HA_BOOT_ID_MAX + 1];
	char		boot_now[HA_BOOT_ID_MAX + 1];
	json_t	   *document;
	bool		ok;

	memset(file, 0, sizeof(*file));
	if (!read_document(dir, "lease.json", &document, why))
		return false;
	if (document == NULL)
		return true;
	ok = have_number(document, "term", &file->term) &&
		have_number(document, "highest_term", &file->highest_term) &&
		have_number(document, "index", &file->index) &&
		have_number(document, "seq_reserved", &file->seq_reserved) &&
		have_number(document, "claimed_timeline", &file->claimed) &&
		have_number(document, "ttl_ms", &file->ttl_ms) &&
		have_text(document, "session", file->session, sizeof(file->session)) &&
		have_text(document, "boot", boot, sizeof(boot));
	json_decref(document);
	if (!ok)
		pgha_why(why, "lease.json lacks a valid field");
	else
		ok = read_boot_id(boot_now, why);
	if (!ok)
	{
		memset(file, 0, sizeof(*file));
		return false;
	}
	file->present = true;
	file->same_boot = strcmp(boot, boot_now) == 0;
	return true;
}

bool
pgha_state_write_term(const char *dir, const HaTermFile *file, char *why)
{
	char		boot[HA_BOOT_ID_MAX + 1];

	if (!read_boot_id(boot, why))
		return false;
	if (file->term > INT64_MAX || file->highest_term > INT64_MAX ||
		file->index > INT64_MAX || file->seq_reserved > INT64_MAX ||
		file->claimed > UINT32_MAX || file->ttl_ms > INT32_MAX)
		return pgha_why(why, "a number for lease.json is out of range");
	return write_document(dir, "lease.json",
						  json_pack("{s:I, s:I, s:I, s:s, s:s, s:I, s:I, s:I}",
									"term", (json_int_t) file->term,
									"highest_term",
									(json_int_t) file->highest_term,
									"index", (json_int_t) file->index,
									"session", file->session,
									"boot", boot, "seq_reserved",
									(json_int_t) file->seq_reserved,
									"claimed_timeline",
									(json_int_t) file->claimed,
									"ttl_ms", (json_int_t) file->ttl_ms), why);
}

static uint64_t
greater(uint64_t a, uint64_t b)
{
	return a > b ? a : b;
}

static void
merge_term(HaTermFile *file, const HaTermFile *disk, HaTermWish wish)
{
	if (disk->same_boot)
		file->term = greater(file->term, disk->term);
	file->highest_term = greater(file->highest_term, disk->highest_term);
	file->highest_term = greater(file->highest_term, disk->term);
	file->highest_term = greater(file->highest_term, file->term);
	file->seq_reserved = greater(file->seq_reserved, disk->seq_reserved);
	file->claimed = greater(file->claimed, disk->claimed);
	if (wish & HA_TERM_CLAIM)
		file->term = ++file->highest_term;
	if (wish & HA_TERM_RESERVE)
		file->seq_reserved += HA_SEQ_BLOCK;
	file->present = true;
	file->same_boot = true;
}

bool
pgha_state_merge_term(const char *dir, HaTermFile *file, HaTermWish wish,
					  char *why)
{
	HaTermFile	disk;
	HaTermFile	merged = *file;
	int			lock = open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	bool		ok;

	if (lock < 0 || flock(lock, LOCK_EX) < 0)
		ok = why_file(why, "lock", dir);
	else if ((ok = pgha_state_read_term(dir, &disk, why)))
	{
		merge_term(&merged, &disk, wish);
		ok = pgha_state_write_term(dir, &merged, why);
	}
	if (lock >= 0)
		close(lock);
	if (ok)
		*file = merged;
	return ok;
}

/*
 * node.json
 */

/* All 64 bits are in use from 2038 on: more than a JSON integer has. */
static bool
have_sysid(const json_t *document, uint64_t *sysid)
{
	const char *text = json_string_value(json_object_get(document, "sysid"));
	char	   *end;

	if (text == NULL || text[0] < '0' || text[0] > '9')
		return false;
	errno = 0;
	*sysid = strtoull(text, &end, 10);
	return errno == 0 && *end == '\0';
}

bool
pgha_state_read_node(const char *dir, HaNodeFile *file, char *why)
{
	json_t	   *document;
	uint64_t	timeline = 0;
	bool		ok;

	memset(file, 0, sizeof(*file));
	if (!read_document(dir, "node.json", &document, why))
		return false;
	if (document == NULL)
		return true;
	ok = have_text(document, "half_done", file->half_done,
				   sizeof(file->half_done)) &&
		have_text(document, "leader", file->leader, sizeof(file->leader)) &&
		have_number(document, "timeline", &timeline) &&
		timeline <= UINT32_MAX &&
		have_number(document, "flush_lsn", &file->flush_lsn) &&
		have_sysid(document, &file->sysid);
	file->fresh = json_is_true(json_object_get(document, "fresh"));
	json_decref(document);
	if (!ok)
	{
		memset(file, 0, sizeof(*file));
		return pgha_why(why, "node.json lacks a valid field");
	}
	file->timeline = (uint32_t) timeline;
	file->present = true;
	return true;
}

bool
pgha_state_write_node(const char *dir, const HaNodeFile *file, char *why)
{
	char		sysid[24];

	if (file->flush_lsn > INT64_MAX)
		return pgha_why(why, "a position for node.json is out of range");
	snprintf(sysid, sizeof(sysid), "%llu", (unsigned long long) file->sysid);
	return write_document(dir, "node.json",
						  json_pack("{s:s, s:b, s:s, s:I, s:I, s:s}",
									"half_done", file->half_done,
									"fresh", file->fresh,
									"leader", file->leader, "timeline",
									(json_int_t) file->timeline, "flush_lsn",
									(json_int_t) file->flush_lsn,
									"sysid", sysid), why);
}

/*
 * follow.conf
 */

/* name = 'value' as postgresql.conf quotes it; false: it can't hold it */
static bool
add_setting(char *to, size_t size, const char *name, const char *value)
{
	size_t		used = strlen(to);
	int			n = snprintf(to + used, size - used, "%s = '", name);

	if (n < 0 || used + (size_t) n >= size)
		return false;
	used += (size_t) n;
	for (; *value != '\0'; value++)
	{
		if ((unsigned char) *value < 0x20 || used + 5 >= size)
			return false;
		if (*value == '\'' || *value == '\\')
			to[used++] = *value;
		to[used++] = *value;
	}
	to[used] = '\0';
	if (used + 3 > size)
		return false;
	strcpy(to + used, "'\n");
	return true;
}

bool
pgha_state_write_follow(const char *dir, const char *conninfo,
						const char *slot, char *why)
{
	char		path[PATH_MAX];
	char		text[CONNINFO_MAX] = "";

	if (!state_path(path, dir, "follow.conf", why))
		return false;
	if (!add_setting(text, sizeof(text), "primary_conninfo",
					 conninfo ? conninfo : "") ||
		!add_setting(text, sizeof(text), "primary_slot_name",
					 slot ? slot : ""))
		return pgha_why(why, "primary_conninfo is too long or has a control "
						"character");
	return pgha_file_replace(path, text, strlen(text), why);
}
