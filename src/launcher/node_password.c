/*
 * node_password.c
 *	  Passwords, by libpq's rules for its password file.
 *
 * A line is host:port:database:user:password; a field may be "*", and ":" and
 * "\" are written with a "\" before them.  The first line that matches counts.
 * A file that group or others may read is ignored, as libpq does.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <pwd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "dcs/state.h"
#include "launcher/node_private.h"

#define PASSFILE_MAX (1024 * 1024)

/* The file in force; malloc'd. */
char *
pgha_node_passfile(const HaNode *node)
{
	const char *home = getenv("HOME");
	struct passwd *user;
	char	   *path;

	if (node->passfile[0])
		return strdup(node->passfile);
	if (!home || !*home)
	{
		user = getpwuid(geteuid());
		home = user ? user->pw_dir : "";
	}
	return asprintf(&path, "%s/.pgpass", home) < 0 ? NULL : path;
}

/*
 * The field at *line against what is wanted (NULL: anything); *line moves
 * behind the colon.  False: no match, or no colon.
 */
static bool
field_matches(const char **line, const char *wanted)
{
	const char *at = *line;
	bool		matches = true;

	if (at[0] == '*' && at[1] == ':')
	{
		*line = at + 2;
		return true;
	}
	for (; *at && *at != ':'; at++)
	{
		if (*at == '\\' && at[1])
			at++;
		if (wanted && matches)
			matches = *wanted != '\0' && *wanted++ == *at;
	}
	*line = at + 1;
	return *at == ':' && matches && (!wanted || *wanted == '\0');
}

static char *
unescaped(const char *text)
{
	char	   *result = malloc(strlen(text) + 1);
	char	   *to = result;

	for (; result && *text; text++)
	{
		if (*text == '\\' && text[1])
			text++;
		*to++ = *text;
	}
	if (result)
		*to = '\0';
	return result;
}

static char *
password_of_line(const char *line, const char *host, const char *port,
				 const char *database, const char *user)
{
	if (line[0] == '#' || !field_matches(&line, host) ||
		!field_matches(&line, port) || !field_matches(&line, database) ||
		!field_matches(&line, user))
		return NULL;
	return *line ? unescaped(line) : NULL;
}

static char *
read_passfile(const HaNode *node)
{
	char	   *path = pgha_node_passfile(node);
	char		why[HA_WHY_MAX];
	struct stat st;
	bool		missing;
	size_t		len;
	char	   *text = NULL;

	if (path && stat(path, &st) == 0 && S_ISREG(st.st_mode) &&
		(st.st_mode & (S_IRWXG | S_IRWXO)) == 0)
		text = pgha_file_read(path, PASSFILE_MAX, &len, &missing, why);
	free(path);
	return text;
}

char *
pgha_node_find_password(const HaNode *node, const char *host, int port,
						const char *database, const char *user)
{
	char	   *text = read_passfile(node);
	char	   *next = text;
	char	   *password = NULL;
	char		port_text[16];
	char	   *line;

	snprintf(port_text, sizeof(port_text), "%d", port);
	while (next && !password && (line = strsep(&next, "\n")) != NULL)
	{
		line[strcspn(line, "\r")] = '\0';
		password = password_of_line(line, host, host ? port_text : NULL,
									database, user);
	}
	free(text);
	return password;
}

char *
pgha_node_password(const HaNode *node, const char *host, int port,
				   const char *database, const char *user)
{
	return pgha_node_find_password(node, host, port, database, user);
}
