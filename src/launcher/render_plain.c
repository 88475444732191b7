/*
 * render_plain.c
 *	  Changes to files that are the user's: the marked lines of the
 *	  postgresql.conf a plain start reads, and postgresql.auto.conf.
 *
 * Both files keep their mode and owner, and are replaced whole.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/owned.h"
#include "dcs/json.h"
#include "dcs/state.h"
#include "launcher/render_private.h"

#define LIBRARIES "shared_preload_libraries"

static const char mark_comment[] =
"# This instance is a member of a cluster that pg_ha manages.  Started without\n"
"# pg_ha_launcher it refuses to write, because another member may be the\n"
"# primary.  \"pg_ha_launcher --config FILE --detach\" takes these lines out and\n"
"# leaves a plain PostgreSQL.\n";

static bool
fail_errno(char *why, const char *what, const char *path)
{
	return pgha_why(why, "could not %s \"%.120s\": %s", what, path,
					strerror(errno));
}

/* On disk, with the mode and owner of the file it will replace. */
static bool
write_like(int fd, const struct stat *like, const HaBuffer *text)
{
	size_t		done = 0;
	struct stat st;

	while (done < text->len)
	{
		ssize_t		n = write(fd, text->data + done, text->len - done);

		if (n < 0 && errno == EINTR)
			continue;
		if (n <= 0)
			return false;
		done += (size_t) n;
	}
	if (fstat(fd, &st) < 0)
		return false;
	if ((st.st_uid != like->st_uid || st.st_gid != like->st_gid) &&
		fchown(fd, like->st_uid, like->st_gid) < 0)
		return false;
	return fchmod(fd, like->st_mode & 07777) == 0 && fsync(fd) == 0;
}

static bool
sync_directory_of(const char *path, char *why)
{
	char		directory[PATH_MAX];
	int			fd;
	bool		ok;

	snprintf(directory, sizeof(directory), "%s", path);
	*strrchr(directory, '/') = '\0';
	fd = open(*directory ? directory : "/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	ok = fd >= 0 && fsync(fd) == 0;
	if (!ok)
		fail_errno(why, "fsync directory", directory);
	if (fd >= 0)
		close(fd);
	return ok;
}

/* As pgha_file_replace, for an existing file (or what a link points to). */
static bool
replace_user_file(const char *path, const HaBuffer *text, char *why)
{
	char		real[PATH_MAX];
	char		temporary[PATH_MAX + 16];
	struct stat st;
	int			fd;
	bool		ok;

	if (text->failed)
		return pgha_why(why, "out of memory");
	if (!realpath(path, real) || stat(real, &st) < 0)
		return fail_errno(why, "look at", path);
	snprintf(temporary, sizeof(temporary), "%s.pg_ha.tmp", real);
	unlink(temporary);
	fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC,
			  0600);
	if (fd < 0)
		return fail_errno(why, "create", temporary);
	ok = write_like(fd, &st, text);
	if (!ok)
		fail_errno(why, "write", temporary);
	close(fd);
	if (ok && rename(temporary, real) < 0)
		ok = fail_errno(why, "replace", real);
	if (!ok)
		unlink(temporary);
	return ok && sync_directory_of(real, why);
}

static bool
replace_if_changed(const char *path, const char *old, size_t len,
				   const HaBuffer *text, char *why)
{
	if (!text->failed && text->len == len &&
		memcmp(text->data, old, len) == 0)
		return true;
	return replace_user_file(path, text, why);
}

/*
 * The marked lines
 */

/* What a plain start would preload; malloc'd with pg_ha in it. */
static char *
plain_libraries(const char *path, char *why)
{
	HaConf		conf = {0};
	const char *list;
	bool		bad;
	char	   *libraries = NULL;

	if (pgha_conf_load(path, &conf, why))
	{
		list = pgha_conf_get(&conf, LIBRARIES);
		libraries = pgha_conf_libraries_with(list ? list : "", &bad);
		if (!libraries)
			pgha_why(why, "out of memory");
	}
	pgha_conf_free(&conf);
	return libraries;
}

static bool
add_mark(const char *path, HaBuffer *text, char *why)
{
	char	   *libraries = plain_libraries(path, why);

	if (!libraries)
		return false;
	if (text->len > 0 && text->data[text->len - 1] != '\n')
		pgha_buffer_add(text, "\n");
	pgha_buffer_add(text, HA_CONF_BEGIN "\n");
	pgha_buffer_add(text, mark_comment);
	pgha_buffer_add(text, LIBRARIES " = ");
	pgha_conf_quote(text, libraries);
	pgha_buffer_add(text, "\npg_ha.managed = on\n" HA_CONF_END "\n");
	free(libraries);
	return true;
}

/* An absent file is fine: then nothing can be started by hand. */
static bool
change_mark(const HaNode *node, bool mark, char *why)
{
	char		path[PATH_MAX];
	HaBuffer	text = {0};
	bool		missing;
	size_t		len;
	char	   *old;
	bool		ok;

	if (!pgha_render_user_file(node, path, why))
		return false;
	old = pgha_file_read(path, HA_CONF_FILE_MAX, &len, &missing, why);
	if (!old)
		return missing;
	ok = pgha_conf_unmarked(old, len, &text, why) &&
		(!mark || add_mark(path, &text, why)) &&
		replace_if_changed(path, old, len, &text, why);
	pgha_buffer_release(&text);
	free(old);
	return ok;
}

bool
pgha_render_mark_plain(const HaNode *node, char *why)
{
	return change_mark(node, true, why);
}

/*
 * postgresql.auto.conf
 */

typedef struct AutoConf
{
	const HaNode *node;
	bool		detach;			/* else: strip */
	HaRenderReport report;
	void	   *arg;
	HaBuffer	text;
} AutoConf;

static void
auto_report(const AutoConf *conf, const char *name, const char *why)
{
	if (conf->report)
		conf->report(conf->arg, name, why);
}

/* Why a line of ALTER SYSTEM must not stand; NULL if it may. */
static const char *
auto_objection(const HaConfEntry *entry)
{
	const HaSetting *setting = pgha_setting(entry->name);

	if (setting && (setting->flags & HA_SETTING_RELOAD))
		return NULL;
	if (pgha_owned_critical(entry->name))
		return "each member runs with what the cluster's settings and its "
			"pg_control need";
	if (strcasecmp(entry->name, "wal_level") == 0 &&
		strcasecmp(entry->value, "minimal") == 0)
		return "standbys need at least replica";
	return pgha_owned_why(entry->name);
}

/* pg_ha put into the list of ALTER SYSTEM, or taken out again. */
static void
auto_libraries(AutoConf *conf, const char *line, size_t len, const char *list)
{
	bool		bad = false;
	bool		found;
	char	   *changed = conf->detach ?
		pgha_conf_libraries_without(list, &found) :
		pgha_conf_libraries_with(list, &bad);

	if (!changed)
		conf->text.failed = true;
	else if (strcmp(changed, list) == 0)
		pgha_buffer_add_bytes(&conf->text, line, len);
	else if (!conf->detach || *changed)
	{
		pgha_buffer_add(&conf->text, LIBRARIES " = ");
		pgha_conf_quote(&conf->text, changed);
		pgha_buffer_add(&conf->text, "\n");
		auto_report(conf, LIBRARIES, bad ? "the list of ALTER SYSTEM was "
					"malformed" : "pg_ha was put into the list of ALTER "
					"SYSTEM");
	}
	free(changed);
}

/* One line with its newline.  A line that can't be read is not ours. */
static void
auto_line(AutoConf *conf, const char *line, size_t len)
{
	HaConfEntry entry;
	char		ignored[HA_WHY_MAX];
	size_t		text_len = len - (len > 0 && line[len - 1] == '\n');
	HaConfKind	kind = pgha_conf_line(line, text_len, &entry, ignored);
	const char *objection = NULL;

	if (kind == HA_CONF_SETTING && !conf->detach)
		objection = auto_objection(&entry);
	if (kind == HA_CONF_SETTING && strcasecmp(entry.name, LIBRARIES) == 0)
		auto_libraries(conf, line, len, entry.value);
	else if (!objection)
		pgha_buffer_add_bytes(&conf->text, line, len);
	else
		auto_report(conf, entry.name, objection);
	if (kind == HA_CONF_SETTING)
	{
		free(entry.name);
		free(entry.value);
	}
}

static bool
change_auto_conf(AutoConf *conf, char *why)
{
	char		path[PATH_MAX];
	bool		missing;
	size_t		len;
	char	   *old;
	bool		ok;

	if (!pgha_render_path(path, conf->node->data_directory,
						  "postgresql.auto.conf", why))
		return false;
	old = pgha_file_read(path, HA_CONF_FILE_MAX, &len, &missing, why);
	if (!old)
		return missing;
	pgha_buffer_add(&conf->text, "");
	for (const char *at = old, *next; at < old + len; at = next)
	{
		const char *eol = memchr(at, '\n', (size_t) (old + len - at));

		next = eol ? eol + 1 : old + len;
		auto_line(conf, at, (size_t) (next - at));
	}
	ok = replace_if_changed(path, old, len, &conf->text, why);
	pgha_buffer_release(&conf->text);
	free(old);
	return ok;
}

bool
pgha_render_strip_auto_conf(const HaNode *node, HaRenderReport report,
							void *arg, char *why)
{
	AutoConf	conf = {.node = node,.report = report,.arg = arg};

	return change_auto_conf(&conf, why);
}

bool
pgha_render_unmark_plain(const HaNode *node, char *why)
{
	AutoConf	conf = {.node = node,.detach = true};

	return change_mark(node, false, why) && change_auto_conf(&conf, why);
}
