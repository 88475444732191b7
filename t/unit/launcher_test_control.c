/*
 * launcher_test_control.c
 *	  The control socket: one worker, bounded lines, nothing but JSON.
 */
#include "launcher_test.h"

#include <errno.h>
#include <poll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <sys/wait.h>

#include "launcher/control.h"

#define STEPS 200				/* of the loop, some ms each */

#define HELLO "{\"type\":\"hello\",\"version\":1,\"pid\":1,\"postmaster\":2}\n"

static HaControlServer *server;
static char seen[4096];			/* what the callbacks were told */
static char path[PATH_MAX];

static void
note(const char *text)
{
	size_t		len = strlen(seen);

	snprintf(seen + len, sizeof(seen) - len, "%s ", text);
}

static void
message(void *arg, const char *type, json_t *text)
{
	note(type);
}

static void
presence(void *arg, bool present)
{
	note(present ? "came" : "went");
}

static int
connect_to(void)
{
	struct sockaddr_un address = {.sun_family = AF_UNIX};
	int			fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK, 0);

	snprintf(address.sun_path, sizeof(address.sun_path), "%.100s", path);
	if (connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0)
	{
		close(fd);
		return -1;
	}
	return fd;
}

static void
step(void)
{
	struct pollfd fds[HA_CONTROL_FDS];
	int			n = pgha_control_fds(server, fds);

	poll(fds, (nfds_t) n, 5);
	pgha_control_process(server);
}

static void
say(int fd, const char *text)
{
	(void) !send(fd, text, strlen(text), MSG_NOSIGNAL);
	step();
}

/* Run the loop until a line is there, or the end: then "". */
static const char *
hear(int fd)
{
	static char text[4096];
	ssize_t		n = 0;

	for (int i = 0; i < STEPS; i++)
	{
		step();
		n = recv(fd, text, sizeof(text) - 1, 0);
		if (n >= 0 || errno != EAGAIN)
			break;
	}
	text[n > 0 ? n : 0] = '\0';
	return text;
}

static bool
closed(int fd)
{
	for (int i = 0; i < STEPS; i++)
	{
		char		c;
		ssize_t		n = recv(fd, &c, 1, 0);

		if (n == 0 || (n < 0 && errno != EAGAIN))
			return true;
		step();
	}
	return false;
}

static void
test_worker(void)
{
	json_t	   *order = json_pack("{s:s}", "type", "applied");
	int			fd = connect_to();
	int			second;

	close(connect_to());		/* looks whether somebody listens */
	ok(!pgha_control_send(server, order), "nobody to send to");
	say(fd, "{\"type\":\"hel");
	ok(!pgha_control_connected(server), "half a hello is none");
	say(fd, "lo\",\"version\":1}\n{\"type\":\"state\"}\n");
	ok(strstr(hear(fd), "\"hello\"") != NULL, "hello is answered");
	is_str(seen, "came hello state ", "presence, then the messages in order");
	ok(pgha_control_send(server, order), "sent");
	ok(strstr(hear(fd), "\"applied\"") != NULL, "and arrived");

	second = connect_to();
	say(second, HELLO);
	ok(strstr(hear(second), "another worker") != NULL && closed(second),
	   "a second one is turned away");
	close(second);
	ok(pgha_control_connected(server), "the first one stays");
	seen[0] = '\0';
	close(fd);
	for (int i = 0; i < STEPS && pgha_control_connected(server); i++)
		step();
	is_str(seen, "went ", "it went");
	fd = connect_to();
	say(fd, HELLO);
	ok(strstr(hear(fd), "hello") != NULL, "the next one is let in");
	close(fd);
	while (pgha_control_connected(server))
		step();
	json_decref(order);
}

static void
test_refused(const char *text, const char *what)
{
	int			fd = connect_to();

	seen[0] = '\0';
	say(fd, text);
	ok(closed(fd), "closed: %s", what);
	ok(!strstr(seen, "came") || strstr(seen, "went"), "and nobody is there");
	close(fd);
	step();
}

static void
test_too_much(void)
{
	static char line[HA_CONTROL_LINE_MAX + 2];
	json_t	   *large;
	bool		sent = true;
	int			fd = connect_to();
	int			n = 0;

	memset(line, 'x', sizeof(line) - 1);
	for (size_t done = 0; done < sizeof(line) - 1;)
	{
		ssize_t		len = send(fd, line + done, sizeof(line) - 1 - done,
							   MSG_NOSIGNAL);

		if (len < 0 && errno != EAGAIN)
			break;
		done += len > 0 ? (size_t) len : 0;
		step();
	}
	ok(closed(fd), "closed: a line without an end");
	close(fd);

	fd = connect_to();
	say(fd, HELLO);
	line[1000] = '\0';
	large = json_pack("{s:s}", "type", line);
	while (sent && n++ < 100000)
		sent = pgha_control_send(server, large);
	ok(!sent && n < 100000, "a worker that does not read fills its buffer");
	json_decref(large);
	close(fd);
	step();
	step();
}

/* A process that dies with the socket open elsewhere must not block others. */
static void
test_dead_peer(void)
{
	int			pair[2];
	pid_t		child;
	int			fd;

	ok(socketpair(AF_UNIX, SOCK_STREAM, 0, pair) == 0, "socket pair");
	child = fork();
	if (child == 0)
	{
		/* hand the connection to the parent, which keeps it open */
		char		control[CMSG_SPACE(sizeof(int))] = {0};
		struct iovec io = {.iov_base = control,.iov_len = 1};
		struct msghdr msg = {.msg_iov = &io,.msg_iovlen = 1,
			.msg_control = control,.msg_controllen = sizeof(control)
		};
		struct cmsghdr *header = CMSG_FIRSTHDR(&msg);

		fd = connect_to();
		(void) !send(fd, HELLO, strlen(HELLO), 0);
		header->cmsg_level = SOL_SOCKET;
		header->cmsg_type = SCM_RIGHTS;
		header->cmsg_len = CMSG_LEN(sizeof(int));
		memcpy(CMSG_DATA(header), &fd, sizeof(int));
		_exit(sendmsg(pair[1], &msg, 0) == 1 ? 0 : 1);
	}
	waitpid(child, NULL, 0);
	for (int i = 0; i < STEPS && !pgha_control_connected(server); i++)
		step();
	ok(pgha_control_connected(server), "a dead worker's socket is held open");
	fd = connect_to();
	say(fd, HELLO);
	ok(strstr(hear(fd), "\"hello\"") != NULL, "its successor is let in");
	close(fd);
	close(pair[0]);
	close(pair[1]);
	step();
	step();
}

int
main(void)
{
	struct stat st;
	HaControlServer *other;

	test_begin();
	snprintf(path, sizeof(path), "%s", test_path("n1.sock"));
	server = pgha_control_listen(path, message, presence, NULL, why);
	ok(server != NULL, "listens");
	ok(stat(path, &st) == 0 && (st.st_mode & 0777) == 0600, "mode 0600");
	other = pgha_control_listen(path, message, presence, NULL, why);
	ok(other == NULL && strstr(why, "another process"), "only one listens");

	test_worker();
	test_refused("nonsense\n", "no JSON");
	test_refused("[1]\n", "no object");
	test_refused("{\"type\":\"state\"}\n", "no hello");
	test_refused("{\"type\":\"hello\",\"version\":2}\n", "newer version");
	test_refused("{\"type\":\"hello\"}\n", "no version");
	test_refused("{}\n", "no type");
	test_refused(HELLO "{\"type\":1}\n", "no type after hello");
	test_refused(HELLO "\n", "an empty line");
	test_too_much();
	test_dead_peer();

	/* as after a kill: the file stays, nobody listens */
	pgha_control_free(server);
	ok(stat(path, &st) < 0, "the socket is removed");
	test_write("n1.sock", "");
	ok(!pgha_control_listen(path, message, presence, NULL, why) &&
	   strstr(why, "no socket"), "a file in the way is not removed");
	unlink(path);
	if (fork() == 0)
	{
		pgha_control_listen(path, message, presence, NULL, why);
		_exit(0);
	}
	wait(NULL);
	server = pgha_control_listen(path, message, presence, NULL, why);
	ok(server != NULL, "a stale socket is removed");
	pgha_control_free(server);
	return test_end();
}
