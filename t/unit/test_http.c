/*
 * test_http.c
 *	  What a callback may do, and what the HTTP module promises its owner.
 *
 * The server is a child of this process.  It answers /now at once, /echo with
 * the request, /never not at all.  Speaks TAP.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <arpa/inet.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dcs/http.h"

#define LONG_MS 20000

static int	tests;
static int	failures;
static HaHttp *http;
static char base[64];
static pid_t server;
static jmp_buf jump;

static void ok(bool passed, const char *format,...)
			__attribute__((format(printf, 2, 3)));

static void
ok(bool passed, const char *format,...)
{
	va_list		args;

	tests++;
	failures += !passed;
	printf("%sok %d - ", passed ? "" : "not ", tests);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	printf("\n");
}

/*
 * The server
 */

static void
serve_connection(int socket)
{
	char		request[8192];
	size_t		len = 0;
	ssize_t		n;

	while ((n = read(socket, request + len, sizeof(request) - 1 - len)) > 0)
	{
		len += (size_t) n;
		request[len] = '\0';
		if (strstr(request, "\r\n\r\n") == NULL)
			continue;
		if (strstr(request, " /now") != NULL)
			dprintf(socket, "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n"
					"X-Index: 42\r\n\r\nyes");
		else if (strstr(request, " /echo") != NULL)
			dprintf(socket, "HTTP/1.1 200 OK\r\nContent-Length: %zu\r\n\r\n%s",
					len, request);
		len = 0;
	}
	close(socket);
}

static void
serve(int listener)
{
	prctl(PR_SET_PDEATHSIG, SIGKILL);
	signal(SIGCHLD, SIG_IGN);
	for (;;)
	{
		int			socket = accept(listener, NULL, NULL);

		if (fork() == 0)
		{
			prctl(PR_SET_PDEATHSIG, SIGKILL);
			close(listener);
			serve_connection(socket);
			_exit(0);
		}
		close(socket);
	}
}

static void
start_server(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET};
	socklen_t	len = sizeof(address);
	int			listener = socket(AF_INET, SOCK_STREAM, 0);

	address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
	if (bind(listener, (struct sockaddr *) &address, len) < 0 ||
		listen(listener, 64) < 0 ||
		getsockname(listener, (struct sockaddr *) &address, &len) < 0)
	{
		printf("Bail out! no server\n");
		exit(1);
	}
	snprintf(base, sizeof(base), "http://127.0.0.1:%d",
			 ntohs(address.sin_port));
	server = fork();
	if (server == 0)
		serve(listener);
	close(listener);
}

/*
 * Requests
 */

typedef struct Answer
{
	int			id;
	int			count;
	bool		ok;
	int			status;
	uint64_t	index;
	char		body[512];
	char		error[200];
} Answer;

static void
note(void *arg, const HaHttpAnswer *answer)
{
	Answer	   *to = arg;

	to->count++;
	to->ok = answer->ok;
	to->status = answer->status;
	to->index = answer->index;
	snprintf(to->body, sizeof(to->body), "%s", answer->body);
	snprintf(to->error, sizeof(to->error), "%s",
			 answer->error ? answer->error : "");
}

static int
begin(const char *path, int timeout_ms, HaHttpCallback callback, void *arg)
{
	HaHttpRequest request = {.method = "GET", .index_header = "x-index"};
	char		url[200];

	snprintf(url, sizeof(url), "%s%s", path[0] == '/' ? base : "", path);
	request.url = url;
	request.timeout_ms = timeout_ms;
	return pgha_http_start(http, &request, callback, arg);
}

/* Let the fd say when to process, as an owner does. */
static bool
process_when_ready(int timeout_ms)
{
	struct pollfd fd = {pgha_http_fd(http), POLLIN, 0};

	if (poll(&fd, 1, timeout_ms) <= 0)
		return false;
	pgha_http_process(http);
	return true;
}

static void
run_until(const int *count, int wanted)
{
	HaTime		end = pgha_now() + LONG_MS * HA_NS_PER_MS;

	while (*count < wanted && pgha_now() < end)
		process_when_ready(1000);
}

static void
test_answer(void)
{
	Answer		a = {0};
	Answer		b = {0};

	begin("/now", LONG_MS, note, &a);
	run_until(&a.count, 1);
	ok(a.ok && a.status == 200 && strcmp(a.body, "yes") == 0 && a.index == 42,
	   "an answer comes through the fd alone");
	a.count = 0;
	begin("/now", LONG_MS, note, &a);
	begin("/never", 200, note, &b);
	run_until(&b.count, 1);
	ok(a.count == 1 && a.ok && b.count == 1 && !b.ok && b.error[0] != '\0',
	   "a timeout comes through the fd, too");
	ok(pgha_http_drain(http, 0) && !process_when_ready(0),
	   "the fd is quiet when nothing is due");
}

/* A tick of the owner's loop costs nothing while requests only wait. */
static void
test_quiet(void)
{
	Answer		a = {0};
	int			woken = 0;
	HaTime		end;

	begin("/never", 1000, note, &a);
	end = pgha_now() + 500 * HA_NS_PER_MS;
	while (pgha_now() < end)
		woken += process_when_ready(100);
	ok(woken < 15, "a request that waits does not wake its owner (%d)", woken);
	pgha_http_cancel(http, 0);
	run_until(&a.count, 1);
}

static void
test_body(void)
{
	HaHttpHeader headers[] = {{"X-One", "1"}, {NULL, NULL}};
	HaHttpRequest request = {
		.method = "PUT", .body = "hello", .body_len = 5, .headers = headers,
		.timeout_ms = LONG_MS
	};
	char		url[100];
	Answer		a = {0};

	snprintf(url, sizeof(url), "%s/echo/../a", base);
	request.url = url;
	pgha_http_start(http, &request, note, &a);
	run_until(&a.count, 1);
	ok(strncmp(a.body, "PUT /echo/../a HTTP/1.1\r\n", 25) == 0 &&
	   strstr(a.body, "\r\nX-One: 1\r\n") != NULL &&
	   strstr(a.body, "Content-Length: 5\r\n") != NULL &&
	   strstr(a.body, "Expect") == NULL, "a request is sent as it was given");
	request.body = NULL;
	request.body_len = 0;
	pgha_http_start(http, &request, note, &a);
	run_until(&a.count, 2);
	ok(strstr(a.body, "Content-Length: 0\r\n") != NULL,
	   "a PUT without body says so");
	request.body_max = 10;
	pgha_http_start(http, &request, note, &a);
	run_until(&a.count, 3);
	ok(!a.ok && a.body[0] == '\0', "an answer over the bound is none");
	request.timeout_ms = 0;
	ok(pgha_http_start(http, &request, note, &a) == 0,
	   "a request without timeout is refused");
	headers[0].value = "1\r\nX-Two: 2";
	request.timeout_ms = LONG_MS;
	ok(pgha_http_start(http, &request, note, &a) == 0,
	   "a header with a line break is refused");
	request.headers = NULL;
	request.url = "file:///etc/passwd";
	if (pgha_http_start(http, &request, note, &a) > 0)
	{
		run_until(&a.count, 4);
		ok(!a.ok, "other protocols are refused");
	}
	else
		ok(true, "other protocols are refused");
}

/*
 * Callbacks
 */

static int	jumps;

static void
jump_out(void *arg, const HaHttpAnswer *answer)
{
	jumps++;
	note(arg, answer);
	longjmp(jump, 1);
}

static void
test_jump(void)
{
	Answer		answers[4] = {{0}};
	HaTime		end = pgha_now() + LONG_MS * HA_NS_PER_MS;
	volatile int total = 0;

	jumps = 0;
	for (int i = 0; i < 4; i++)
		begin("http://127.0.0.1:1/", LONG_MS, jump_out, &answers[i]);
	while (total < 4 && pgha_now() < end)
	{
		if (setjmp(jump) == 0)
			process_when_ready(1000);
		total = 0;
		for (int i = 0; i < 4; i++)
			total += answers[i].count;
	}
	ok(total == 4 && jumps == 4 && answers[0].count == 1 &&
	   answers[3].count == 1,
	   "callbacks that jump out are called once each, and none is lost");
	pgha_http_process(http);
	ok(pgha_http_drain(http, 0), "and nothing is left");
}

static void
start_another(void *arg, const HaHttpAnswer *answer)
{
	begin("/now", LONG_MS, note, arg);
}

/* A caller without back-off (or, should it hold us, with an end). */
static void
start_again(void *arg, const HaHttpAnswer *answer)
{
	int		   *count = arg;

	if ((*count)++ < 10000)
		begin("file:///", LONG_MS, start_again, arg);
}

static void
test_start_in_callback(void)
{
	Answer		a = {0};
	int			count = 0;
	int			calls = 0;

	begin("/now", LONG_MS, start_another, &a);
	run_until(&a.count, 1);
	ok(a.ok && strcmp(a.body, "yes") == 0, "a callback may start a request");

	/* what fails before anything is sent has failed when it is started */
	begin("file:///", LONG_MS, start_again, &count);
	while (count < 20 && calls < 1000)
	{
		calls++;
		process_when_ready(1000);
	}
	ok(count == 20 && calls == 20,
	   "one that always starts another does not hold its owner");
	pgha_http_free(http);
	ok(true, "requests under way are ended with the module");
}

static int	victim;

static void
cancel_victim(void *arg, const HaHttpAnswer *answer)
{
	note(arg, answer);
	pgha_http_cancel(http, victim);
	pgha_http_cancel(http, ((Answer *) arg)->id);
}

static void
test_cancel(void)
{
	Answer		a = {0};
	Answer		b = {0};

	a.id = begin("/now", LONG_MS, cancel_victim, &a);
	victim = begin("/never", LONG_MS, note, &b);
	run_until(&a.count, 1);
	ok(a.count == 1 && b.count == 0 && pgha_http_drain(http, 0),
	   "a callback may cancel: another, and (without effect) itself");

	a.count = 0;
	a.id = begin("http://127.0.0.1:1/", LONG_MS, cancel_victim, &a);
	victim = begin("http://127.0.0.1:1/", LONG_MS, note, &b);
	run_until(&a.count, 1);
	process_when_ready(0);
	ok(a.count == 1 && b.count == 0, "also one that has finished");
	pgha_http_cancel(http, 12345);
	pgha_http_cancel(http, -1);
	ok(pgha_http_drain(http, 1000), "an id that is none is ignored");
}

static void
test_limit(void)
{
	static Answer a;
	int			ids[HA_HTTP_REQUESTS_MAX];
	int			started = 0;

	for (int i = 0; i < HA_HTTP_REQUESTS_MAX; i++)
	{
		ids[i] = begin("/never", LONG_MS, note, &a);
		started += ids[i] > 0;
	}
	ok(started == HA_HTTP_REQUESTS_MAX &&
	   begin("/now", LONG_MS, note, &a) == 0, "there is a limit of requests");
	for (int i = 0; i < HA_HTTP_REQUESTS_MAX; i++)
		pgha_http_cancel(http, ids[i]);
	begin("/now", LONG_MS, note, &a);
	run_until(&a.count, 1);
	ok(a.count == 1 && a.ok, "cancelled ones make room");
}

/*
 * The process around
 */

static void
test_descriptors(void)
{
	Answer		a = {0};
	int			inherited = 0;

	begin("/never", LONG_MS, note, &a);
	process_when_ready(100);
	for (int fd = 3; fd < 64; fd++)
	{
		struct sockaddr_in address = {0};
		socklen_t	len = sizeof(address);
		int			flags = fcntl(fd, F_GETFD);

		if (flags >= 0 && !(flags & FD_CLOEXEC) &&
			getpeername(fd, (struct sockaddr *) &address, &len) == 0 &&
			address.sin_family == AF_INET)
			inherited++;
	}
	ok(inherited == 0 &&
	   fcntl(pgha_http_fd(http), F_GETFD) & FD_CLOEXEC,
	   "connections are not handed down to programs");
	pgha_http_cancel(http, a.id);
}

static volatile sig_atomic_t handled_by_other;
static _Thread_local volatile sig_atomic_t is_main_thread;

static void
handle(int signo)
{
	if (!is_main_thread)
		handled_by_other = 1;
}

/* A name makes libcurl start a thread, which must not run our handlers. */
static void
test_resolver_thread(void)
{
	Answer		a = {0};
	char		url[100];
	pid_t		shooter;

	is_main_thread = 1;
	signal(SIGUSR1, handle);
	shooter = fork();
	if (shooter == 0)
	{
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		for (;;)
			kill(getppid(), SIGUSR1);
	}
	for (int i = 0; i < 10; i++)
	{
		a.count = 0;
		snprintf(url, sizeof(url), "http://no-such-host-%d.invalid/", i);
		begin(url, 2000, note, &a);
		run_until(&a.count, 1);
	}
	kill(shooter, SIGKILL);
	waitpid(shooter, NULL, 0);
	signal(SIGUSR1, SIG_DFL);
	ok(a.count == 1 && !a.ok, "a name that does not resolve is an error: %s",
	   a.error);
	ok(!handled_by_other, "signals are handled by the process's own thread");
}

int
main(void)
{
	const char *error;
	HaTls		tls = {0};

	setvbuf(stdout, NULL, _IOLBF, 0);
	signal(SIGPIPE, SIG_IGN);
	start_server();
	http = pgha_http_create(&tls, &error);
	if (http == NULL)
	{
		printf("Bail out! %s\n", error);
		return 1;
	}
	test_answer();
	test_quiet();
	test_body();
	test_jump();
	test_cancel();
	test_limit();
	test_descriptors();
	test_resolver_thread();
	test_start_in_callback();
	kill(server, SIGKILL);
	waitpid(server, NULL, 0);
	printf("1..%d\n", tests);
	return failures > 0;
}
