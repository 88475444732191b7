/*
 * http.h
 *	  HTTP requests on libcurl's multi interface, behind one pollable fd.
 *
 * An HaHttp owns an epoll fd that becomes readable whenever pgha_http_process
 * has something to do: curl's sockets are in it, and a timerfd for curl's
 * timeouts.  The owner puts that one fd in its own wait (a WaitEventSet, a
 * poll) and calls pgha_http_process; nothing here ever blocks.
 *
 * Callbacks run inside pgha_http_process, after curl has been left, so that
 * they may throw (the worker's ereport) or start further requests.  A request's
 * memory and answer are the module's; an answer is valid during its callback.
 */
#ifndef PGHA_HTTP_H
#define PGHA_HTTP_H

#include "core/types.h"

typedef struct HaHttp HaHttp;

#define HA_HTTP_BODY_MAX (1024 * 1024)	/* default bound of an answer */
#define HA_HTTP_REQUESTS_MAX 32

typedef struct HaTls
{
	const char *ca_file;		/* NULL = the system's */
	const char *cert_file;
	const char *key_file;
} HaTls;

typedef struct HaHttpHeader
{
	const char *name;
	const char *value;
} HaHttpHeader;

typedef struct HaHttpRequest
{
	const char *method;			/* "GET", "PUT", ... */
	const char *url;
	const char *body;			/* NULL = none; copied */
	size_t		body_len;
	const HaHttpHeader *headers;	/* copied; ends with a NULL name */
	int			timeout_ms;		/* hard, for the whole request; > 0 */
	size_t		body_max;		/* 0 = HA_HTTP_BODY_MAX */
	const char *index_header;	/* a header to report as a number, or NULL */
} HaHttpRequest;

typedef struct HaHttpAnswer
{
	bool		ok;				/* an HTTP answer came, whole */
	int			status;			/* 0 without one */
	const char *body;			/* NUL-terminated; never NULL */
	size_t		body_len;
	uint64_t	index;			/* of index_header; 0 = absent or malformed */
	HaTime		sent_at;		/* when the request was handed to curl */
	HaTime		received_at;
	const char *error;			/* what went wrong when !ok */
} HaHttpAnswer;

typedef void (*HaHttpCallback) (void *arg, const HaHttpAnswer *answer);

/* NULL with *error set if the fds or libcurl can't be had. */
extern HaHttp *pgha_http_create(const HaTls *tls, const char **error);
extern void pgha_http_free(HaHttp *http);
extern int	pgha_http_fd(const HaHttp *http);

/*
 * Start a request; its callback comes exactly once unless it is cancelled.
 * Returns an id > 0, or 0 if there are HA_HTTP_REQUESTS_MAX already or curl
 * refuses (then there is no callback).
 */
extern int	pgha_http_start(HaHttp *http, const HaHttpRequest *request,
							HaHttpCallback callback, void *arg);

/* Forget a request: no callback.  An id that has ended is ignored. */
extern void pgha_http_cancel(HaHttp *http, int id);

/* Do what is due and deliver answers. */
extern void pgha_http_process(HaHttp *http);

/*
 * Block until nothing is outstanding or timeout_ms passed; for programs that
 * have nothing else to do (--status), never for a loop.  False on timeout.
 */
extern bool pgha_http_drain(HaHttp *http, int timeout_ms);

extern HaTime pgha_now(void);	/* CLOCK_BOOTTIME */

#endif							/* PGHA_HTTP_H */
