/*
 * launcher_test.h
 *	  A directory with a node settings file in it, for tests of the launcher's
 *	  parts.
 */
#ifndef PGHA_LAUNCHER_TEST_H
#define PGHA_LAUNCHER_TEST_H

#include <ftw.h>
#include <limits.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dcs/state.h"
#include "launcher/node.h"
#include "tap.h"

static char test_dir[] = "/tmp/pg_ha_test_XXXXXX";
static char why[HA_WHY_MAX];

static inline const char *
test_path(const char *name)
{
	static char paths[4][PATH_MAX];
	static int	next;
	char	   *path = paths[next++ % 4];

	snprintf(path, PATH_MAX, "%s/%s", test_dir, name);
	return path;
}

static inline void
test_write_bytes(const char *name, const char *text, size_t len)
{
	FILE	   *file = fopen(test_path(name), "w");

	if (!file || fwrite(text, 1, len, file) != len || fclose(file) != 0)
	{
		printf("Bail out! could not write %s\n", test_path(name));
		exit(1);
	}
}

static inline void
test_write(const char *name, const char *text)
{
	test_write_bytes(name, text, strlen(text));
}

/* malloc'd; "" if there is none */
static inline char *
test_read(const char *name)
{
	size_t		len;
	bool		missing;
	char	   *text = pgha_file_read(test_path(name), 1 << 20, &len, &missing,
									  why);

	return text ? text : strdup("");
}

static inline bool
test_contains(const char *name, const char *text)
{
	char	   *content = test_read(name);
	bool		found = strstr(content, text) != NULL;

	if (!found)
		printf("# \"%s\" is not in:\n# %s\n", text, content);
	free(content);
	return found;
}

#define TEST_NODE \
	"pg_ha.scope = demo\npg_ha.name = n1\npg_ha.data_directory = 'data'\n" \
	"pg_ha.state_directory = 'state'\n" \
	"pg_ha.connect_address = '127.0.0.1:6001'\n"

/* The usual settings and these; NULL on an error, which is in *error. */
static inline HaNode *
test_node(const char *more, HaNodeError *error)
{
	char		text[8192];

	snprintf(text, sizeof(text), "%s%s", TEST_NODE, more);
	test_write("node.conf", text);
	return pgha_node_load(test_path("node.conf"), error);
}

static inline void
test_begin(void)
{
	if (!mkdtemp(test_dir) || mkdir(test_path("data"), 0700) < 0 ||
		mkdir(test_path("state"), 0700) < 0)
	{
		printf("Bail out! could not make a directory\n");
		exit(1);
	}
}

static inline int
test_remove(const char *path, const struct stat *st, int type,
			struct FTW *ftw)
{
	return remove(path);
}

static inline int
test_end(void)
{
	nftw(test_dir, test_remove, 16, FTW_DEPTH | FTW_PHYS);
	return done_testing();
}

#endif							/* PGHA_LAUNCHER_TEST_H */
