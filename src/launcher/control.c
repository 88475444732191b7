/*
 * control.c
 *	  The unix socket between the launcher and the worker: the launcher's end.
 *
 * One worker at a time.  A newer connection takes the place of the older one:
 * there is one postmaster, so the older worker is gone or about to be.
 */
#include "launcher/control.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "dcs/documents.h"

struct HaControlServer
{
	int			listen_fd;
	int			fd;				/* the worker's; -1 = none */
	bool		greeted;
	size_t		in_len;
	size_t		out_len;
	HaControlMessage message;
	HaControlPresence presence;
	void	   *arg;
	char		path[sizeof(((struct sockaddr_un *) 0)->sun_path)];
	char	   *in;				/* HA_CONTROL_LINE_MAX bytes each */
	char	   *out;
};

static bool
control_address(const char *path, struct sockaddr_un *address, char *why)
{
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(address->sun_path))
	{
		snprintf(why, HA_WHY_MAX, "the socket's path is longer than %zu "
				 "characters (choose a shorter pg_ha.run_directory): \"%.80s\"",
				 sizeof(address->sun_path) - 1, path);
		return false;
	}
	strcpy(address->sun_path, path);
	return true;
}

/* The launcher's lock says that no other one listens: a file left is stale. */
static int
control_bind(const struct sockaddr_un *address, char *why)
{
	int			fd = socket(AF_UNIX,
							SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	mode_t		mask;
	int			rc = -1;

	(void) unlink(address->sun_path);
	mask = umask(0077);
	if (fd >= 0)
		rc = bind(fd, (const struct sockaddr *) address, sizeof(*address));
	umask(mask);
	if (rc == 0 && listen(fd, 4) == 0)
		return fd;
	snprintf(why, HA_WHY_MAX, "could not listen on \"%.100s\": %s",
			 address->sun_path, strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

HaControlServer *
pgha_control_listen(const char *path, HaControlMessage message,
					HaControlPresence presence, void *arg, char *why)
{
	HaControlServer *server;
	struct sockaddr_un address;

	if (!control_address(path, &address, why))
		return NULL;
	server = calloc(1, sizeof(*server));
	if (server == NULL ||
		(server->in = malloc(HA_CONTROL_LINE_MAX)) == NULL ||
		(server->out = malloc(HA_CONTROL_LINE_MAX)) == NULL)
	{
		snprintf(why, HA_WHY_MAX, "out of memory");
		pgha_control_free(server);
		return NULL;
	}
	server->fd = -1;
	server->message = message;
	server->presence = presence;
	server->arg = arg;
	strcpy(server->path, address.sun_path);
	server->listen_fd = control_bind(&address, why);
	if (server->listen_fd >= 0)
		return server;
	pgha_control_free(server);
	return NULL;
}

void
pgha_control_free(HaControlServer *server)
{
	if (server == NULL)
		return;
	if (server->fd > 0)
		close(server->fd);
	if (server->listen_fd > 0)
	{
		close(server->listen_fd);
		(void) unlink(server->path);
	}
	free(server->in);
	free(server->out);
	free(server);
}

bool
pgha_control_connected(const HaControlServer *server)
{
	return server->fd >= 0 && server->greeted;
}

int
pgha_control_fds(const HaControlServer *server, struct pollfd *fds)
{
	int			n = 0;

	fds[n++] = (struct pollfd) {server->listen_fd, POLLIN, 0};
	if (server->fd >= 0)
		fds[n++] = (struct pollfd) {server->fd, (short)
			(POLLIN | (server->out_len > 0 ? POLLOUT : 0)), 0};
	return n;
}

static void
control_drop(HaControlServer *server)
{
	bool		greeted = server->greeted;

	if (server->fd < 0)
		return;
	close(server->fd);
	server->fd = -1;
	server->greeted = false;
	server->in_len = server->out_len = 0;
	if (greeted)
		server->presence(server->arg, false);
}

static void
control_flush(HaControlServer *server)
{
	ssize_t		n;

	if (server->fd < 0 || server->out_len == 0)
		return;
	n = send(server->fd, server->out, server->out_len,
			 MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
	{
		if (errno != EAGAIN && errno != EINTR)
			control_drop(server);
		return;
	}
	server->out_len -= (size_t) n;
	memmove(server->out, server->out + n, server->out_len);
}

static bool
control_queue(HaControlServer *server, json_t *message)
{
	size_t		room = HA_CONTROL_LINE_MAX - server->out_len;
	size_t		len;

	if (server->fd < 0 || message == NULL)
		return false;
	len = json_dumpb(message, server->out + server->out_len, room,
					 JSON_COMPACT);
	if (len == 0 || len + 1 > room)
		return false;
	server->out_len += len;
	server->out[server->out_len++] = '\n';
	control_flush(server);
	return server->fd >= 0;
}

bool
pgha_control_send(HaControlServer *server, json_t *message)
{
	return server->greeted && control_queue(server, message);
}

/* The first message: versions must agree. */
static void
control_greet(HaControlServer *server, const char *type, json_t *message)
{
	json_t	   *answer;

	if (strcmp(type, "hello") != 0 ||
		json_integer_value(json_object_get(message, "version")) !=
		HA_CONTROL_VERSION)
	{
		answer = json_pack("{s:s, s:s}", "type", "error", "error",
						   "the launcher is of another version: restart it");
		(void) control_queue(server, answer);
		json_decref(answer);
		control_drop(server);
		return;
	}
	answer = json_pack("{s:s, s:i, s:i}", "type", "hello", "version",
					   HA_CONTROL_VERSION, "pid", (int) getpid());
	server->greeted = control_queue(server, answer);
	json_decref(answer);
	if (server->greeted)
		server->presence(server->arg, true);
}

static void
control_line(HaControlServer *server, const char *line, size_t len)
{
	json_t	   *message = json_loadb(line, len, 0, NULL);
	const char *type = json_string_value(json_object_get(message, "type"));

	if (type == NULL)
		control_drop(server);
	else if (!server->greeted)
		control_greet(server, type, message);
	else
		server->message(server->arg, type, message);
	json_decref(message);
}

static void
control_lines(HaControlServer *server)
{
	size_t		done = 0;

	while (server->fd >= 0)
	{
		char	   *begin = server->in + done;
		char	   *newline = memchr(begin, '\n', server->in_len - done);

		if (newline == NULL)
			break;
		done = (size_t) (newline - server->in) + 1;
		control_line(server, begin, (size_t) (newline - begin));
	}
	if (server->fd < 0)
		return;
	server->in_len -= done;
	memmove(server->in, server->in + done, server->in_len);
	if (server->in_len == HA_CONTROL_LINE_MAX)
		control_drop(server);
}

static void
control_accept(HaControlServer *server)
{
	int			fd = accept4(server->listen_fd, NULL, NULL,
							 SOCK_CLOEXEC | SOCK_NONBLOCK);

	if (fd < 0)
		return;
	control_drop(server);
	server->fd = fd;
}

void
pgha_control_process(HaControlServer *server)
{
	ssize_t		n;

	control_flush(server);
	while (server->fd >= 0)
	{
		n = recv(server->fd, server->in + server->in_len,
				 HA_CONTROL_LINE_MAX - server->in_len, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			break;
		if (n <= 0)
		{
			control_drop(server);
			break;
		}
		server->in_len += (size_t) n;
		control_lines(server);
	}
	control_accept(server);
}
