/*
 * worker_link.c
 *	  The socket to the launcher: lines of JSON, never blocking.
 *
 * The messages are described in launcher/control.h.
 */
#include "worker_private.h"

#include <fcntl.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include "gucs.h"
#include "miscadmin.h"

#define LINK_VERSION 1
#define LINK_RETRY_MS 200

void
worker_link_init(HaWorker *worker)
{
	worker->link.fd = -1;
	worker->link.in = malloc(WORKER_LINE_MAX);
	worker->link.out = malloc(WORKER_LINE_MAX);
	if (worker->link.in == NULL || worker->link.out == NULL)
		ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY),
						errmsg("out of memory")));
}

static void
link_close(HaWorker *worker, const char *why)
{
	HaLink	   *link = &worker->link;

	if (link->fd < 0)
		return;
	if (link->greeted)
		worker_report(NULL, HA_REPORT_WARNING, why);
	close(link->fd);			/* leaves the epoll set with it */
	link->fd = -1;
	link->greeted = false;
	link->in_len = link->out_len = 0;
	link->retry_at = pgha_now() + LINK_RETRY_MS * HA_NS_PER_MS;
	worker->config_sent = 0;
	/* what was asked for may have been done: `promoting` stays until a new hello */
	worker->rejoining = false;
	worker->order.handing_over = worker->order.begun_here = false;
	json_decref(worker->state_sent);
	worker->state_sent = NULL;
}

static void
link_flush(HaWorker *worker)
{
	HaLink	   *link = &worker->link;
	ssize_t		n;

	if (link->fd < 0 || link->out_len == 0)
		return;
	n = send(link->fd, link->out, link->out_len, MSG_DONTWAIT | MSG_NOSIGNAL);
	if (n < 0)
	{
		if (errno != EAGAIN && errno != EINTR)
			link_close(worker, "the launcher has gone");
		return;
	}
	link->out_len -= (size_t) n;
	memmove(link->out, link->out + n, link->out_len);
}

bool
worker_link_send(HaWorker *worker, json_t *message)
{
	HaLink	   *link = &worker->link;
	size_t		room = WORKER_LINE_MAX - link->out_len;
	size_t		len = 0;

	if (link->fd >= 0 && message != NULL)
		len = json_dumpb(message, link->out + link->out_len, room,
						 JSON_COMPACT);
	json_decref(message);
	if (len == 0 || len + 1 > room)
		return false;
	link->out_len += len;
	link->out[link->out_len++] = '\n';
	link_flush(worker);
	return link->fd >= 0;
}

static void
link_connect(HaWorker *worker, HaTime now)
{
	HaLink	   *link = &worker->link;
	struct sockaddr_un address;
	struct epoll_event event;

	if (now < link->retry_at)
		return;
	link->retry_at = now + LINK_RETRY_MS * HA_NS_PER_MS;
	memset(&address, 0, sizeof(address));
	address.sun_family = AF_UNIX;
	if (strlen(worker->socket_path) >= sizeof(address.sun_path))
		ereport(ERROR,
				(errmsg("the path of the launcher's socket is too long: \"%s\"",
						worker->socket_path),
				 errhint("Choose a shorter pg_ha.run_directory.")));
	strcpy(address.sun_path, worker->socket_path);
	link->fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (link->fd < 0)
		return;
	memset(&event, 0, sizeof(event));
	event.events = EPOLLIN;
	event.data.fd = link->fd;
	if (connect(link->fd, (struct sockaddr *) &address, sizeof(address)) != 0 ||
		epoll_ctl(worker->epoll_fd, EPOLL_CTL_ADD, link->fd, &event) != 0)
	{
		close(link->fd);
		link->fd = -1;
		return;
	}
	worker_link_send(worker,
					 json_pack("{s:s, s:i, s:i, s:i}", "type", "hello",
							   "version", LINK_VERSION, "pid", MyProcPid,
							   "postmaster", PostmasterPid));
}

static void
link_failsafe(HaWorker *worker, json_t *message)
{
	bool		accepted =
		pgha_brain_accept(worker->brain, (uint64_t)
						  json_integer_value(json_object_get(message, "term")),
						  (uint64_t)
						  json_integer_value(json_object_get(message, "seq")),
						  json_integer_value(json_object_get(message,
															 "ttl_ms")));

	worker_link_send(worker,
					 json_pack("{s:s, s:O, s:b}", "type", "failsafe",
							   "id", json_object_get(message, "id"),
							   "accepted", accepted));
}

static void
link_message(HaWorker *worker, json_t *message)
{
	const char *type = json_string_value(json_object_get(message, "type"));
	const char *action;
	const char *error;

	if (type == NULL)
		return;
	error = json_string_value(json_object_get(message, "error"));
	if (strcmp(type, "failsafe") == 0)
		link_failsafe(worker, message);
	if (strcmp(type, "hello") == 0)
	{
		worker->link.greeted = true;
		worker->promoting = worker->rejoining = worker->killing = false;
		worker_report(NULL, HA_REPORT_INFO, "connected to the launcher");
	}
	else if (strcmp(type, "error") == 0)
		link_close(worker, error != NULL ? error : "refused by the launcher");
	else if (strcmp(type, "done") == 0 && error != NULL)
	{
		action = json_string_value(json_object_get(message, "action"));
		ereport(LOG, (errmsg("pg_ha: the launcher could not %s: %s",
							 action != NULL ? action : "act", error)));
		worker->promoting = worker->rejoining = false;
		worker->order.handing_over = worker->order.begun_here = false;
	}
	else if (strcmp(type, "alive") == 0)
		worker->fell_back = json_is_true(json_object_get(message, "fell_back"));
}

/* Take whole lines out of the buffer; a line that never ends closes it. */
static void
link_lines(HaWorker *worker)
{
	HaLink	   *link = &worker->link;
	char	   *newline;

	while (link->fd >= 0 &&
		   (newline = memchr(link->in, '\n', link->in_len)) != NULL)
	{
		size_t		len = (size_t) (newline - link->in);
		json_t	   *message = json_loadb(link->in, len, 0, NULL);

		link->in_len -= len + 1;
		memmove(link->in, newline + 1, link->in_len);
		if (!json_is_object(message))
			link_close(worker, "the launcher sent something unreadable");
		else
			link_message(worker, message);
		json_decref(message);
	}
	if (link->in_len == WORKER_LINE_MAX)
		link_close(worker, "the launcher sent a line that does not end");
}

void
worker_link_process(HaWorker *worker, HaTime now)
{
	HaLink	   *link = &worker->link;
	ssize_t		n;

	if (link->fd < 0)
		link_connect(worker, now);
	link_flush(worker);
	while (link->fd >= 0)
	{
		n = recv(link->fd, link->in + link->in_len,
				 WORKER_LINE_MAX - link->in_len, MSG_DONTWAIT);
		if (n < 0 && (errno == EAGAIN || errno == EINTR))
			return;
		if (n <= 0)
		{
			link_close(worker, "the launcher has gone");
			return;
		}
		link->in_len += (size_t) n;
		link->heard_at = now;
		link_lines(worker);
	}
}
