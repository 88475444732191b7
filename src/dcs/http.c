/*
 * http.c
 *	  HTTP requests on libcurl's multi interface, behind one pollable fd.
 *
 * A fixed table of transfers; each keeps its easy handle and a small buffer for
 * the next request, and the lowest free one is taken, so that what is at rest
 * is as large as the requests that were ever under way together.  curl's
 * connections live in the multi handle and are kept alive.
 *
 * A callback may leave by longjmp.  Therefore a transfer is DELIVERING before
 * its callback is called (never delivered twice), curl's frames are left, and
 * what a jump skipped is made up for by the next pgha_http_process, which the
 * timer asks for as long as answers are waiting.
 *
 * libcurl sends a request once more, by itself, if a kept-alive connection was
 * closed before a byte of the answer came.  A write may so reach the server
 * twice: its owner must be able to tell (all of pg_ha's are check-and-set).
 *
 * Our fds are close-on-exec.  libcurl's own wakeup pair isn't, so a program
 * that executes others closes what it does not hand down.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/timerfd.h>
#include <time.h>
#include <unistd.h>

#include "dcs/http.h"
#include "dcs/transfer.h"

#define HTTP_CONNECTIONS 8		/* kept alive */
#define HTTP_EVENTS 16			/* taken from epoll at a time */
#define HTTP_HOST_MAX 255

struct HaHttp
{
	CURLM	   *multi;
	int			epoll_fd;
	int			timer_fd;
	int64_t		timer_due;		/* CLOCK_MONOTONIC ns curl wants; 0 = none */
	int64_t		timer_armed;	/* what the timerfd is set to; 0 = off */
	bool		resolves;		/* curl may start a thread to look up a name */
	int			next_id;
	uint64_t	finished;
	HaTls		tls;			/* own copies */
	Transfer	transfers[HA_HTTP_REQUESTS_MAX];
};

static int64_t
clock_ns(clockid_t clock)
{
	struct timespec now;

	clock_gettime(clock, &now);
	return (int64_t) now.tv_sec * 1000000000 + now.tv_nsec;
}

HaTime
pgha_now(void)
{
	return clock_ns(CLOCK_BOOTTIME);
}

/*
 * The timer
 */

/* curl tells when it wants to be called; set_timer acts on it afterwards */
static int
timer_callback(CURLM *multi, long timeout_ms, void *arg)
{
	HaHttp	   *http = arg;

	if (timeout_ms < 0)
		http->timer_due = 0;
	else
		http->timer_due = clock_ns(CLOCK_MONOTONIC) +
			timeout_ms * HA_NS_PER_MS;
	return 0;
}

static void
set_timer(HaHttp *http, int64_t due)
{
	struct itimerspec when = {0};

	if (due == http->timer_armed)
		return;
	when.it_value.tv_sec = due / 1000000000;
	when.it_value.tv_nsec = due % 1000000000;
	if (timerfd_settime(http->timer_fd, TFD_TIMER_ABSTIME, &when, NULL) == 0)
		http->timer_armed = due;
}

/*
 * Entering curl
 */

/*
 * A resolver thread is born with the signal mask of its creator.  It must not
 * run the process's handlers, so all signals are blocked while curl may start
 * one.
 */
static void
drive_curl(HaHttp *http, curl_socket_t socket, int events)
{
	sigset_t	all;
	sigset_t	before;
	int			running;

	if (http->resolves)
	{
		sigfillset(&all);
		pthread_sigmask(SIG_SETMASK, &all, &before);
	}
	curl_multi_socket_action(http->multi, socket, events, &running);
	if (http->resolves)
		pthread_sigmask(SIG_SETMASK, &before, NULL);
}

static int
socket_callback(CURL *easy, curl_socket_t socket, int what, void *arg,
				void *known)
{
	HaHttp	   *http = arg;
	struct epoll_event event = {0};
	int			op = known ? EPOLL_CTL_MOD : EPOLL_CTL_ADD;

	if (what == CURL_POLL_REMOVE)
	{
		epoll_ctl(http->epoll_fd, EPOLL_CTL_DEL, socket, &event);
		return 0;
	}
	if (what == CURL_POLL_IN || what == CURL_POLL_INOUT)
		event.events |= EPOLLIN;
	if (what == CURL_POLL_OUT || what == CURL_POLL_INOUT)
		event.events |= EPOLLOUT;
	event.data.fd = socket;

	/*
	 * The number of a closed socket comes back.  If the kernel can't watch it
	 * at all the request ends by its timeout.
	 */
	if (epoll_ctl(http->epoll_fd, op, socket, &event) < 0 &&
		(errno == ENOENT || errno == EEXIST))
		epoll_ctl(http->epoll_fd,
				  errno == ENOENT ? EPOLL_CTL_ADD : EPOLL_CTL_MOD,
				  socket, &event);
	curl_multi_assign(http->multi, socket, http);
	return 0;
}

/*
 * Transfers
 */

static Transfer *
transfer_find(HaHttp *http, int id)
{
	for (int i = 0; i < HA_HTTP_REQUESTS_MAX; i++)
	{
		Transfer   *transfer = &http->transfers[i];

		if (transfer->state != TRANSFER_FREE && transfer->id == id)
			return transfer;
	}
	return NULL;
}

static Transfer *
transfer_free_one(HaHttp *http)
{
	for (int i = 0; i < HA_HTTP_REQUESTS_MAX; i++)
	{
		Transfer   *transfer = &http->transfers[i];

		if (transfer->state == TRANSFER_FREE)
			return transfer;
	}
	return NULL;
}

/*
 * Whether a URL's host is one that curl knows without asking a resolver.  In
 * doubt it isn't.
 */
static bool
host_is_numeric(const char *url)
{
	const char *start = strstr(url, "://");
	char		host[HTTP_HOST_MAX + 1];
	unsigned char address[sizeof(struct in6_addr)];
	size_t		len;

	start = start ? start + 3 : url;
	len = strcspn(start, "/?#");
	if (memchr(start, '@', len) != NULL || len > HTTP_HOST_MAX)
		return false;
	memcpy(host, start, len);
	host[len] = '\0';
	if (host[0] == '[')
	{
		host[strcspn(host, "]")] = '\0';
		return inet_pton(AF_INET6, host + 1, address) == 1;
	}
	host[strcspn(host, ":")] = '\0';
	return strcasecmp(host, "localhost") == 0 ||
		inet_pton(AF_INET, host, address) == 1;
}

/* Take finished transfers away from curl. */
static void
take_finished(HaHttp *http)
{
	CURLMsg    *msg;
	int			left;

	while ((msg = curl_multi_info_read(http->multi, &left)) != NULL)
	{
		CURL	   *easy = msg->easy_handle;
		CURLcode	code = msg->data.result;
		Transfer   *transfer = NULL;
		long		status = 0;

		if (msg->msg != CURLMSG_DONE)
			continue;
		curl_easy_getinfo(easy, CURLINFO_PRIVATE, (char **) &transfer);
		curl_easy_getinfo(easy, CURLINFO_RESPONSE_CODE, &status);
		curl_multi_remove_handle(http->multi, easy);

		transfer->state = TRANSFER_DONE;
		transfer->code = code;
		transfer->status = (int) status;
		transfer->received_at = pgha_now();
		transfer->finished = ++http->finished;
	}
}

/* The answer that came first of those that wait; NULL = none. */
static Transfer *
next_finished(HaHttp *http)
{
	Transfer   *first = NULL;

	for (int i = 0; i < HA_HTTP_REQUESTS_MAX; i++)
	{
		Transfer   *transfer = &http->transfers[i];

		if (transfer->state == TRANSFER_DONE &&
			(first == NULL || transfer->finished < first->finished))
			first = transfer;
	}
	return first;
}

/* Make the fd readable when curl wants it, or at once if answers wait. */
static void
rearm(HaHttp *http)
{
	set_timer(http, next_finished(http) != NULL ? 1 : http->timer_due);
}

static int
next_id(HaHttp *http)
{
	do
	{
		http->next_id = http->next_id == INT32_MAX ? 1 : http->next_id + 1;
	} while (transfer_find(http, http->next_id) != NULL);
	return http->next_id;
}

int
pgha_http_start(HaHttp *http, const HaHttpRequest *request,
				HaHttpCallback callback, void *arg)
{
	Transfer   *transfer = transfer_free_one(http);

	if (transfer == NULL || request->timeout_ms <= 0)
		return 0;
	transfer->id = next_id(http);
	transfer->callback = callback;
	transfer->arg = arg;
	if (!pgha_transfer_prepare(transfer, &http->tls, request))
	{
		pgha_transfer_release(transfer);
		return 0;
	}
	if (!host_is_numeric(request->url))
		http->resolves = true;

	transfer->state = TRANSFER_RUNNING;
	transfer->sent_at = pgha_now();
	if (curl_multi_add_handle(http->multi, transfer->easy) != CURLM_OK)
	{
		pgha_transfer_release(transfer);
		return 0;
	}

	/* on its way now, not after another turn of the owner's loop */
	drive_curl(http, CURL_SOCKET_TIMEOUT, 0);
	take_finished(http);
	rearm(http);
	return transfer->id;
}

void
pgha_http_cancel(HaHttp *http, int id)
{
	Transfer   *transfer = transfer_find(http, id);

	/* while it is delivered its memory is in use */
	if (transfer == NULL || transfer->state == TRANSFER_DELIVERING)
		return;
	if (transfer->state == TRANSFER_RUNNING)
		curl_multi_remove_handle(http->multi, transfer->easy);
	pgha_transfer_release(transfer);
	rearm(http);
}

/*
 * Processing
 */

/* Let curl work on what epoll reports. */
static void
process_events(HaHttp *http)
{
	struct epoll_event events[HTTP_EVENTS];
	uint64_t	expirations;
	int			n = epoll_wait(http->epoll_fd, events, HTTP_EVENTS, 0);

	for (int i = 0; i < n; i++)
	{
		int			action = 0;

		if (events[i].data.fd == http->timer_fd)
		{
			if (read(http->timer_fd, &expirations, sizeof(expirations)) > 0)
				http->timer_armed = 0;
			continue;
		}
		if (events[i].events & (EPOLLIN | EPOLLHUP))
			action |= CURL_CSELECT_IN;
		if (events[i].events & EPOLLOUT)
			action |= CURL_CSELECT_OUT;
		if (events[i].events & EPOLLERR)
			action |= CURL_CSELECT_ERR;
		drive_curl(http, events[i].data.fd, action);
	}
	if (http->timer_due != 0 && clock_ns(CLOCK_MONOTONIC) >= http->timer_due)
	{
		http->timer_due = 0;
		drive_curl(http, CURL_SOCKET_TIMEOUT, 0);
	}
}

static void
deliver(HaHttp *http, Transfer *transfer)
{
	HaHttpAnswer answer;

	pgha_transfer_answer(transfer, &answer);

	/* should the callback jump, the fd must be readable for the others */
	transfer->state = TRANSFER_DELIVERING;
	rearm(http);
	transfer->callback(transfer->arg, &answer);
	pgha_transfer_release(transfer);
}

void
pgha_http_process(HaHttp *http)
{
	Transfer   *transfer;
	uint64_t	last;

	/* the callback of the last call may have been left by a jump */
	for (int i = 0; i < HA_HTTP_REQUESTS_MAX; i++)
	{
		if (http->transfers[i].state == TRANSFER_DELIVERING)
			pgha_transfer_release(&http->transfers[i]);
	}
	process_events(http);
	take_finished(http);

	/*
	 * What the callbacks start may fail at once; that is for the next call,
	 * or a callback that tries again would hold the owner here for ever.
	 */
	last = http->finished;
	while ((transfer = next_finished(http)) != NULL &&
		   transfer->finished <= last)
		deliver(http, transfer);
	rearm(http);
}

bool
pgha_http_drain(HaHttp *http, int timeout_ms)
{
	HaTime		end = pgha_now() + timeout_ms * HA_NS_PER_MS;
	bool		busy = true;

	for (;;)
	{
		struct pollfd fd = {http->epoll_fd, POLLIN, 0};
		int64_t		left_ms = (end - pgha_now()) / HA_NS_PER_MS;

		pgha_http_process(http);
		busy = false;
		for (int i = 0; i < HA_HTTP_REQUESTS_MAX; i++)
			busy |= http->transfers[i].state != TRANSFER_FREE;
		if (!busy || left_ms <= 0)
			return !busy;
		poll(&fd, 1, (int) left_ms);
	}
}

/*
 * Life
 */

/* NULL stays NULL; false: no memory */
static bool
copy_text(const char **to, const char *from)
{
	*to = from != NULL ? strdup(from) : NULL;
	return from == NULL || *to != NULL;
}

static bool
copy_tls(HaHttp *http, const HaTls *tls)
{
	return tls == NULL ||
		(copy_text(&http->tls.ca_file, tls->ca_file) &&
		 copy_text(&http->tls.cert_file, tls->cert_file) &&
		 copy_text(&http->tls.key_file, tls->key_file));
}

static bool
open_fds(HaHttp *http)
{
	struct epoll_event event = {0};

	http->epoll_fd = epoll_create1(EPOLL_CLOEXEC);
	http->timer_fd = timerfd_create(CLOCK_MONOTONIC,
									TFD_CLOEXEC | TFD_NONBLOCK);
	if (http->epoll_fd < 0 || http->timer_fd < 0)
		return false;
	event.events = EPOLLIN;
	event.data.fd = http->timer_fd;
	return epoll_ctl(http->epoll_fd, EPOLL_CTL_ADD, http->timer_fd,
					 &event) == 0;
}

static bool
open_multi(HaHttp *http)
{
	CURLM	   *multi = http->multi = curl_multi_init();
	bool		ok = multi != NULL;

	if (!ok)
		return false;
	ok &= curl_multi_setopt(multi, CURLMOPT_SOCKETFUNCTION, socket_callback)
		== CURLM_OK;
	ok &= curl_multi_setopt(multi, CURLMOPT_SOCKETDATA, http) == CURLM_OK;
	ok &= curl_multi_setopt(multi, CURLMOPT_TIMERFUNCTION, timer_callback)
		== CURLM_OK;
	ok &= curl_multi_setopt(multi, CURLMOPT_TIMERDATA, http) == CURLM_OK;
	ok &= curl_multi_setopt(multi, CURLMOPT_MAXCONNECTS,
							(long) HTTP_CONNECTIONS) == CURLM_OK;
	return ok;
}

HaHttp *
pgha_http_create(const HaTls *tls, const char **error)
{
	HaHttp	   *http;

	*error = NULL;
	if (curl_global_init(CURL_GLOBAL_NOTHING) != CURLE_OK)
	{
		*error = "could not initialize libcurl";
		return NULL;
	}
	http = calloc(1, sizeof(HaHttp));
	if (http == NULL)
	{
		curl_global_cleanup();
		*error = "out of memory";
		return NULL;
	}
	http->epoll_fd = http->timer_fd = -1;
	if (!copy_tls(http, tls))
		*error = "out of memory";
	else if (!open_fds(http))
		*error = "could not create an epoll or timer descriptor";
	else if (!open_multi(http))
		*error = "could not create a libcurl multi handle";
	if (*error != NULL)
	{
		pgha_http_free(http);
		return NULL;
	}
	return http;
}

void
pgha_http_free(HaHttp *http)
{
	if (http == NULL)
		return;
	for (int i = 0; i < HA_HTTP_REQUESTS_MAX; i++)
	{
		Transfer   *transfer = &http->transfers[i];

		if (transfer->state == TRANSFER_RUNNING)
			curl_multi_remove_handle(http->multi, transfer->easy);
		pgha_transfer_free(transfer);
	}
	curl_multi_cleanup(http->multi);
	if (http->epoll_fd >= 0)
		close(http->epoll_fd);
	if (http->timer_fd >= 0)
		close(http->timer_fd);
	free((char *) http->tls.ca_file);
	free((char *) http->tls.cert_file);
	free((char *) http->tls.key_file);
	free(http);
	curl_global_cleanup();
}

int
pgha_http_fd(const HaHttp *http)
{
	return http->epoll_fd;
}
