/*
 * control.c
 *	  The unix socket between the launcher and the worker.
 *
 *		listening --accept--> CONNECTED --hello--> READY --EOF, error--> closed
 *
 * One connection at a time.  A second one is let in only when the first one has
 * not said hello or its process is gone (the socket may be held open by
 * others); the file's mode keeps other users out, and the peer's user is
 * checked as well.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#include "dcs/json.h"
#include "launcher/buffer.h"
#include "launcher/control.h"

/* what the worker has not read yet; more means that it hangs */
#define OUTPUT_MAX (4 * HA_CONTROL_LINE_MAX)
/* read per call, so that a flood does not keep the loop */
#define READ_MAX (4 * HA_CONTROL_LINE_MAX)
#define READ_CHUNK 16384

struct HaControlServer
{
	char	   *path;
	int			listen_fd;
	dev_t		dev;			/* of the socket's file: only ours is removed */
	ino_t		ino;
	HaControlMessage message;
	HaControlPresence presence;
	void	   *arg;

	int			fd;				/* the connection; -1 = none */
	pid_t		peer;
	bool		ready;			/* hello was exchanged */
	bool		doomed;			/* to be closed when nobody uses it */
	HaBuffer	input;
	HaBuffer	output;
};

static bool
fail_errno(char *why, const char *what, const char *path)
{
	return pgha_why(why, "could not %s socket \"%.110s\": %s", what, path,
					strerror(errno));
}

static void
close_connection(HaControlServer *server)
{
	bool		was_ready = server->ready;

	if (server->fd < 0)
		return;
	close(server->fd);
	server->fd = -1;
	server->peer = 0;
	server->ready = server->doomed = false;
	pgha_buffer_release(&server->input);
	pgha_buffer_release(&server->output);
	if (was_ready)
		server->presence(server->arg, false);
}

/*
 * Output
 */

static void
flush_output(HaControlServer *server)
{
	HaBuffer   *output = &server->output;
	size_t		done = 0;

	while (done < output->len)
	{
		ssize_t		n = send(server->fd, output->data + done,
							 output->len - done, MSG_NOSIGNAL);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0)
		{
			server->doomed = errno != EAGAIN && errno != EWOULDBLOCK;
			break;
		}
		done += (size_t) n;
	}
	if (done > 0)
		memmove(output->data, output->data + done, output->len - done);
	output->len -= done;
}

static bool
queue(HaControlServer *server, json_t *message)
{
	char	   *text = json_dumps(message, JSON_COMPACT);
	size_t		len = text ? strlen(text) : 0;
	bool		fits = text && len < HA_CONTROL_LINE_MAX &&
		server->output.len + len < OUTPUT_MAX;

	if (fits)
	{
		pgha_buffer_add_bytes(&server->output, text, len);
		pgha_buffer_add_bytes(&server->output, "\n", 1);
		server->doomed = server->doomed || server->output.failed;
	}
	free(text);
	if (fits && !server->doomed)
		flush_output(server);
	return fits && !server->doomed;
}

bool
pgha_control_send(HaControlServer *server, json_t *message)
{
	return pgha_control_connected(server) && queue(server, message);
}

static void
queue_error(HaControlServer *server, const char *error)
{
	json_t	   *message = json_pack("{s:s, s:s}", "type", "error",
									"error", error);

	if (message)
		queue(server, message);
	json_decref(message);
	server->doomed = true;
}

/*
 * Input
 */

static void
take_hello(HaControlServer *server, json_t *message)
{
	json_t	   *version = json_object_get(message, "version");
	json_t	   *hello;

	if (!json_is_integer(version) ||
		json_integer_value(version) != HA_CONTROL_VERSION)
	{
		queue_error(server, "this launcher speaks another version of the "
					"protocol: install the same version of both parts, then "
					"restart the instance");
		return;
	}
	hello = json_pack("{s:s, s:i, s:i}", "type", "hello",
					  "version", HA_CONTROL_VERSION, "pid", (int) getpid());
	if (!hello || !queue(server, hello))
		server->doomed = true;
	json_decref(hello);
	if (server->doomed)
		return;
	server->ready = true;
	server->presence(server->arg, true);
	server->message(server->arg, "hello", message);
}

static void
take_message(HaControlServer *server, json_t *message)
{
	const char *type = json_string_value(json_object_get(message, "type"));

	if (!type)
		server->doomed = true;
	else if (server->ready)
		server->message(server->arg, type, message);
	else if (strcmp(type, "hello") == 0)
		take_hello(server, message);
	else
		server->doomed = true;
}

static void
take_line(HaControlServer *server, const char *line, size_t len)
{
	json_error_t error;
	json_t	   *message = json_loadb(line, len, 0, &error);

	if (json_is_object(message))
		take_message(server, message);
	else
		queue_error(server, "a line is no JSON object");
	json_decref(message);
}

static void
take_lines(HaControlServer *server)
{
	HaBuffer   *input = &server->input;
	size_t		done = 0;
	char	   *eol;

	while (!server->doomed && done < input->len &&
		   (eol = memchr(input->data + done, '\n', input->len - done)))
	{
		take_line(server, input->data + done,
				  (size_t) (eol - input->data) - done);
		done = (size_t) (eol + 1 - input->data);
	}
	if (done > 0)
		memmove(input->data, input->data + done, input->len - done);
	input->len -= done;
	if (input->len > HA_CONTROL_LINE_MAX || input->failed)
		server->doomed = true;
}

static void
read_input(HaControlServer *server)
{
	char		chunk[READ_CHUNK];
	size_t		total = 0;

	while (!server->doomed && total < READ_MAX)
	{
		ssize_t		n = recv(server->fd, chunk, sizeof(chunk), 0);

		if (n < 0 && errno == EINTR)
			continue;
		if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK))
			return;
		if (n <= 0)
		{
			server->doomed = true;
			return;
		}
		total += (size_t) n;
		pgha_buffer_add_bytes(&server->input, chunk, (size_t) n);
		take_lines(server);
	}
}

/*
 * Connections
 */

static bool
peer_is_gone(const HaControlServer *server)
{
	return server->peer > 0 && kill(server->peer, 0) < 0 && errno == ESRCH;
}

/* Somebody who only looked whether anybody listens. */
static bool
left_already(int fd)
{
	char		c;

	return recv(fd, &c, 1, MSG_PEEK | MSG_DONTWAIT) == 0;
}

static void
turn_away(int fd)
{
	static const char text[] = "{\"type\":\"error\",\"error\":"
		"\"another worker is connected\"}\n";

	/* a lost word is no loss: it sees the connection closed */
	(void) !send(fd, text, strlen(text), MSG_NOSIGNAL | MSG_DONTWAIT);
	close(fd);
}

static void
take_connection(HaControlServer *server, int fd)
{
	struct ucred peer;
	socklen_t	len = sizeof(peer);

	if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &len) < 0 ||
		peer.uid != geteuid() || left_already(fd))
	{
		close(fd);
		return;
	}
	/* who has not said hello has no claim to stay */
	if (server->fd >= 0 && !server->ready)
		read_input(server);
	if (server->fd >= 0 &&
		(server->doomed || !server->ready || peer_is_gone(server)))
		close_connection(server);
	if (server->fd >= 0)
	{
		turn_away(fd);
		return;
	}
	server->fd = fd;
	server->peer = peer.pid;
}

static void
accept_connections(HaControlServer *server)
{
	for (int i = 0; i < 8; i++)
	{
		int			fd = accept4(server->listen_fd, NULL, NULL,
								 SOCK_NONBLOCK | SOCK_CLOEXEC);

		if (fd < 0)
			return;
		take_connection(server, fd);
	}
}

void
pgha_control_process(HaControlServer *server)
{
	if (server->fd >= 0)
		read_input(server);
	if (server->fd >= 0 && !server->doomed)
		flush_output(server);
	if (server->doomed)
		close_connection(server);
	accept_connections(server);
}

int
pgha_control_fds(const HaControlServer *server, struct pollfd *fds)
{
	int			n = 0;

	fds[n++] = (struct pollfd) {.fd = server->listen_fd,.events = POLLIN};
	if (server->fd >= 0)
		fds[n++] = (struct pollfd) {
			.fd = server->fd,
			.events = (short) (POLLIN | (server->output.len > 0 ? POLLOUT : 0))
		};
	return n;
}

bool
pgha_control_connected(const HaControlServer *server)
{
	return server->fd >= 0 && server->ready && !server->doomed;
}

/*
 * The socket itself
 */

static bool
set_address(struct sockaddr_un *address, const char *path, char *why)
{
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	if (strlen(path) >= sizeof(address->sun_path))
		return pgha_why(why, "the path of socket \"%.110s\" is too long",
						path);
	strcpy(address->sun_path, path);
	return true;
}

/* Remove a socket nobody listens on; false: somebody does, or no socket. */
static bool
remove_stale(const char *path, const struct sockaddr_un *address, char *why)
{
	struct stat st;
	int			fd;
	bool		refused;

	if (lstat(path, &st) < 0)
		return errno == ENOENT || fail_errno(why, "look at", path);
	if (!S_ISSOCK(st.st_mode))
		return pgha_why(why, "\"%.110s\" is in the way: it is no socket",
						path);
	fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return fail_errno(why, "create", path);
	refused = connect(fd, (const struct sockaddr *) address,
					  sizeof(*address)) < 0 && errno == ECONNREFUSED;
	close(fd);
	if (!refused)
		return pgha_why(why, "another process listens on socket \"%.110s\"",
						path);
	return unlink(path) == 0 || fail_errno(why, "remove", path);
}

static bool
open_socket(HaControlServer *server, char *why)
{
	struct sockaddr_un address;
	struct stat st;
	mode_t		mask;
	bool		ok;

	if (!set_address(&address, server->path, why) ||
		!remove_stale(server->path, &address, why))
		return false;
	server->listen_fd = socket(AF_UNIX,
							   SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (server->listen_fd < 0)
		return fail_errno(why, "create", server->path);
	mask = umask(0177);
	ok = bind(server->listen_fd, (struct sockaddr *) &address,
			  sizeof(address)) == 0;
	umask(mask);
	if (!ok)
		return fail_errno(why, "bind", server->path);
	if (lstat(server->path, &st) == 0)
	{
		server->dev = st.st_dev;
		server->ino = st.st_ino;
	}
	return listen(server->listen_fd, 8) == 0 ||
		fail_errno(why, "listen on", server->path);
}

HaControlServer *
pgha_control_listen(const char *path, HaControlMessage message,
					HaControlPresence presence, void *arg, char *why)
{
	HaControlServer *server = calloc(1, sizeof(*server));

	if (!server)
	{
		pgha_why(why, "out of memory");
		return NULL;
	}
	server->fd = server->listen_fd = -1;
	server->message = message;
	server->presence = presence;
	server->arg = arg;
	server->path = strdup(path);
	if (!server->path)
		pgha_why(why, "out of memory");
	else if (open_socket(server, why))
		return server;
	pgha_control_free(server);
	return NULL;
}

/* No callback comes any more. */
void
pgha_control_free(HaControlServer *server)
{
	struct stat st;

	if (!server)
		return;
	server->ready = false;
	close_connection(server);
	if (server->ino != 0 && lstat(server->path, &st) == 0 &&
		st.st_dev == server->dev && st.st_ino == server->ino)
		unlink(server->path);
	if (server->listen_fd >= 0)
		close(server->listen_fd);
	free(server->path);
	free(server);
}
