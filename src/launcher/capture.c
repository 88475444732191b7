/*
 * capture.c
 *	  Run a short program to its end and keep what it says.
 */
#ifndef _GNU_SOURCE
#endif

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dcs/http.h"
#include "dcs/json.h"
#include "launcher/capture.h"
#include "launcher/spawn.h"

/* What doesn't fit is dropped, so that the program comes to its end. */
static bool
capture_read(int fd, HaCapture *capture)
{
	char		rest[1024];
	size_t		room = sizeof(capture->output) - 1 - capture->len;
	ssize_t		n = read(fd, room ? capture->output + capture->len : rest,
						 room ? room : sizeof(rest));

	if (n < 0)
		return errno == EINTR;
	if (room)
		capture->len += (size_t) n;
	capture->output[capture->len] = '\0';
	return n > 0;
}

/* Until the output's end, which is the program's; false at the deadline. */
static bool
capture_output(int fd, int timeout_ms, HaCapture *capture)
{
	HaTime		deadline = pgha_now() + timeout_ms * HA_NS_PER_MS;

	for (;;)
	{
		struct pollfd pfd = {.fd = fd,.events = POLLIN};
		HaTime		left = (deadline - pgha_now()) / HA_NS_PER_MS;
		int			n;

		if (left <= 0)
			return false;
		n = poll(&pfd, 1, (int) left);
		if (n < 0 && errno != EINTR)
			return false;
		if (n > 0 && !capture_read(fd, capture))
			return true;
	}
}

bool
pgha_capture(const char *const *argv, int timeout_ms, HaCapture *capture,
			 char *why)
{
	static const char *const env[] = {"LC_ALL=C", NULL};
	HaSpawn		spawn = {.argv = argv,.env = env,.stdin_fd = -1};
	int			fds[2];
	int			pidfd;
	pid_t		pid;
	bool		ended;

	memset(capture, 0, sizeof(*capture));
	if (pipe2(fds, O_CLOEXEC) < 0)
		return pgha_why(why, "could not create pipe: %s", strerror(errno));
	spawn.stdout_fd = spawn.stderr_fd = fds[1];
	pid = pgha_spawn(&spawn, &pidfd, why);
	close(fds[1]);
	if (pid == 0)
	{
		close(fds[0]);
		return false;
	}
	ended = capture_output(fds[0], timeout_ms, capture);
	close(fds[0]);
	close(pidfd);
	if (!ended)
		kill(-pid, SIGKILL);
	while (waitpid(pid, &capture->status, 0) < 0 && errno == EINTR)
		;
	if (!ended)
		pgha_why(why, "\"%.120s\" did not end within %d ms", argv[0],
				 timeout_ms);
	return ended;
}
