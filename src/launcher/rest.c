/*
 * rest.c
 *	  The REST endpoints, on libmicrohttpd inside the launcher's poll loop.
 *
 * libmicrohttpd has one epoll fd of its own and no thread: the loop polls the
 * fd and calls pgha_rest_process.  Which endpoint answers what is in a table;
 * the status document is made by rest_status.c.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include <microhttpd.h>

#include "dcs/http.h"
#include "dcs/json.h"
#include "dcs/peer.h"
#include "dcs/state.h"
#include "launcher/rest_private.h"

#define CONNECTIONS_MAX 256u
#define CONNECTION_MEMORY ((size_t) (16 * 1024))
#define IDLE_TIMEOUT_S 10u
#define LISTEN_BACKLOG 128
#define SUSPENDED_CHECK_MS 100
#define PEM_MAX (256 * 1024)

struct HaRest
{
	HaRestView	view;
	HaRestPosts posts;
	char	   *credentials;	/* the header that a POST needs; "" = none */
	struct MHD_Daemon *daemon;
	char	   *cert;
	char	   *key;
	char	   *ca;
};

/* the first of the two calls that a request takes at least */
static char request_begun;

typedef enum MHD_Result Result;

/*
 * Routes
 */

typedef struct Route
{
	const char *path;
	bool		(*healthy) (const HaRestView *view, const HaRestQuery *query);
	bool		silent;			/* no body */
} Route;

static const Route routes[] = {
	{"/", pgha_rest_primary, false},
	{"/primary", pgha_rest_primary, false},
	{"/master", pgha_rest_primary, false},
	{"/read-write", pgha_rest_primary, false},
	{"/leader", pgha_rest_leader, false},
	{"/replica", pgha_rest_replica, false},
	{"/read-only", pgha_rest_read_only, false},
	{"/health", pgha_rest_health, false},
	{"/patroni", pgha_rest_always, false},
	{"/liveness", pgha_rest_liveness, true},
	{"/readiness", pgha_rest_readiness, true},
};

/* By the first segment of the path; what is unknown is not healthy. */
static const Route *
find_route(const char *url)
{
	static const Route unknown = {"", pgha_rest_never, false};
	size_t		len = *url == '/' ? 1 + strcspn(url + 1, "/") : 0;

	for (size_t i = 0; i < sizeof(routes) / sizeof(routes[0]); i++)
		if (strlen(routes[i].path) == len &&
			memcmp(routes[i].path, url, len) == 0)
			return &routes[i];
	return &unknown;
}

/*
 * Answers
 */

/* Takes the malloc'd text; NULL is no memory. */
static Result
answer(struct MHD_Connection *connection, unsigned status, const char *type,
	   char *text)
{
	struct MHD_Response *response =
		MHD_create_response_from_buffer(text ? strlen(text) : 0, text,
										MHD_RESPMEM_MUST_FREE);
	Result		result = MHD_NO;

	if (!response)
	{
		free(text);
		return MHD_NO;
	}
	if (!type || MHD_add_response_header(response,
										 MHD_HTTP_HEADER_CONTENT_TYPE, type))
		result = MHD_queue_response(connection, status, response);
	MHD_destroy_response(response);
	return result;
}

static const char *
query_value(void *arg, const char *name)
{
	return MHD_lookup_connection_value(arg, MHD_GET_ARGUMENT_KIND, name);
}

static Result
collect_tag(void *arg, enum MHD_ValueKind kind, const char *name,
			const char *value)
{
	HaRestQuery *query = arg;

	if (strncmp(name, "tag_", 4) == 0)
		query->tags_match = query->tags_match &&
			pgha_rest_tag_matches(query->view, name + 4, value ? value : "");
	return MHD_YES;
}

static void
read_query(const HaRestView *view, struct MHD_Connection *connection,
		   HaRestQuery *query)
{
	*query = (HaRestQuery) {.view = view,.tags_match = true};
	query->lag = pgha_rest_parse_size(query_value(connection, "lag"));
	query->replication_state = query_value(connection, "replication_state");
	query->mode = query_value(connection, "mode");
	MHD_get_connection_values(connection, MHD_GET_ARGUMENT_KIND, collect_tag,
							  query);
}

static Result
answer_get(const HaRest *rest, struct MHD_Connection *connection,
		   const char *url, bool with_body)
{
	const Route *route = find_route(url);
	HaRestQuery query;
	unsigned	status;
	char	   *text = NULL;

	read_query(&rest->view, connection, &query);
	status = route->healthy(&rest->view, &query) ? MHD_HTTP_OK :
		MHD_HTTP_SERVICE_UNAVAILABLE;
	if (route->silent || !with_body)
		return answer(connection, status, NULL, NULL);
	text = pgha_rest_status_text(&rest->view);
	return text ? answer(connection, status, "application/json", text) :
		MHD_NO;
}

static Result
answer_unsupported(struct MHD_Connection *connection, const char *method)
{
	char	   *text;

	/* patronictl looks for these words */
	if (asprintf(&text, "Unsupported method ('%.16s'): Server does not "
				 "support this operation.\n", method) < 0)
		return MHD_NO;
	return answer(connection, MHD_HTTP_NOT_IMPLEMENTED, "text/plain", text);
}

static Result
answer_text(struct MHD_Connection *connection, unsigned status,
			const char *text)
{
	char	   *copy = strdup(text);

	return copy ? answer(connection, status, "text/plain", copy) : MHD_NO;
}

static Result
answer_post(struct MHD_Connection *connection, const char *url,
			HaRestPost *post)
{
	const HaRestReply *reply = pgha_rest_post_answer(post, url);

	return reply == NULL ? MHD_YES :
		answer_text(connection, (unsigned) reply->status, reply->text);
}

static const char *
given_credentials(struct MHD_Connection *connection)
{
	return MHD_lookup_connection_value(connection, MHD_HEADER_KIND,
									   MHD_HTTP_HEADER_AUTHORIZATION);
}

static bool
is_denied(const HaRest *rest, struct MHD_Connection *connection)
{
	const char *given = given_credentials(connection);

	return rest->credentials[0] != '\0' &&
		!pgha_credentials_match(rest->credentials, given ? given : "");
}

static Result
answer_denied(struct MHD_Connection *connection)
{
	const char *text = given_credentials(connection) ? "not authenticated" :
		"no auth header received";
	struct MHD_Response *response =
		MHD_create_response_from_buffer(strlen(text), (void *) (uintptr_t) text,
										MHD_RESPMEM_PERSISTENT);
	Result		result = MHD_NO;

	if (!response)
		return MHD_NO;
	if (MHD_add_response_header(response, MHD_HTTP_HEADER_WWW_AUTHENTICATE,
								"Basic realm=\"Patroni\"") == MHD_YES)
		result = MHD_queue_response(connection, MHD_HTTP_UNAUTHORIZED,
									response);
	MHD_destroy_response(response);
	return result;
}

/* The request's own memory, if it has any: only a POST that is understood. */
static void
completed(void *arg, struct MHD_Connection *connection, void **request,
		  enum MHD_RequestTerminationCode code)
{
	(void) arg;
	(void) connection;
	(void) code;
	if (*request != NULL && *request != &request_begun)
		pgha_rest_post_end(*request);
	*request = NULL;
}

static bool
is_post(const char *method, const char *url)
{
	static const char *const paths[] = {
		"/failsafe", "/restart", "/reload", "/reinitialize"
	};

	if (strcmp(method, MHD_HTTP_METHOD_POST) != 0)
		return false;
	for (size_t i = 0; i < sizeof(paths) / sizeof(paths[0]); i++)
		if (strcmp(paths[i], url) == 0)
			return true;
	return false;
}

/* Called once with the headers, then with what a body brings, then to answer */
static Result
handle(void *arg, struct MHD_Connection *connection, const char *url,
	   const char *method, const char *version, const char *data,
	   size_t *data_len, void **request)
{
	HaRest	   *rest = arg;
	bool		post = is_post(method, url);

	if (*request == NULL)
	{
		*request = &request_begun;
		if (post && !is_denied(rest, connection))
			*request = pgha_rest_post_begin(&rest->posts, connection);
		return *request != NULL ? MHD_YES : MHD_NO;
	}
	if (*data_len > 0)
	{
		if (*request != &request_begun)
			pgha_rest_post_body(*request, data, *data_len);
		*data_len = 0;
		return MHD_YES;
	}
	if (*request != &request_begun)
		return answer_post(connection, url, *request);
	if (post)
		return answer_denied(connection);
	if (strcmp(method, MHD_HTTP_METHOD_GET) == 0)
		return answer_get(rest, connection, url, true);
	if (strcmp(method, MHD_HTTP_METHOD_HEAD) == 0 ||
		strcmp(method, MHD_HTTP_METHOD_OPTIONS) == 0)
		return answer_get(rest, connection, url, false);
	return answer_unsupported(connection, method);
}

/*
 * The daemon
 */

static int
open_address(const struct addrinfo *address)
{
	int			on = 1;
	int			fd = socket(address->ai_family,
							address->ai_socktype | SOCK_CLOEXEC |
							SOCK_NONBLOCK, address->ai_protocol);

	if (fd < 0)
		return -1;
	/* a restart must not wait for old connections to time out */
	if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on)) == 0 &&
		bind(fd, address->ai_addr, address->ai_addrlen) == 0 &&
		listen(fd, LISTEN_BACKLOG) == 0)
		return fd;
	close(fd);
	return -1;
}

static int
open_listener(const HaNode *node, char *why)
{
	struct addrinfo hints = {.ai_family = AF_UNSPEC,
		.ai_socktype = SOCK_STREAM,.ai_flags = AI_PASSIVE | AI_NUMERICSERV
	};
	struct addrinfo *list = NULL;
	bool		any = strcmp(node->restapi_host, "*") == 0;
	char		port[16];
	int			error;
	int			fd = -1;

	snprintf(port, sizeof(port), "%d", node->restapi_port);
	error = getaddrinfo(any ? NULL : node->restapi_host, port, &hints, &list);
	if (error != 0)
	{
		pgha_why(why, "could not resolve \"%.80s\": %s", node->restapi_host,
				 gai_strerror(error));
		return -1;
	}
	for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next)
		fd = open_address(a);
	if (fd < 0)
		pgha_why(why, "could not listen on %.80s:%d: %s", node->restapi_host,
				 node->restapi_port, strerror(errno));
	freeaddrinfo(list);
	return fd;
}

static bool
read_pem(const HaNode *node, const char *setting, char **text, char *why)
{
	const char *path = pgha_node_get(node, setting);
	bool		missing;
	size_t		len;

	if (!*path)
		return true;
	*text = pgha_file_read(path, PEM_MAX, &len, &missing, why);
	return *text != NULL;
}

static char *
read_credentials(const HaNode *node, char *why)
{
	return pgha_credentials(pgha_node_get(node, "pg_ha.restapi_username"),
							pgha_node_get(node, "pg_ha.restapi_password_file"),
							why);
}

static bool
start_daemon(HaRest *rest, int fd, char *why)
{
	unsigned	flags = MHD_USE_EPOLL | MHD_ALLOW_SUSPEND_RESUME |
		(rest->cert ? MHD_USE_TLS : 0);
	struct MHD_OptionItem tls[4] = {{MHD_OPTION_END, 0, NULL}};
	int			n = 0;

	if (rest->cert && rest->key)
	{
		tls[n++] = (struct MHD_OptionItem) {
			MHD_OPTION_HTTPS_MEM_CERT, 0, rest->cert
		};
		tls[n++] = (struct MHD_OptionItem) {
			MHD_OPTION_HTTPS_MEM_KEY, 0, rest->key
		};
	}
	if (n > 0 && rest->ca)
		tls[n++] = (struct MHD_OptionItem) {
			MHD_OPTION_HTTPS_MEM_TRUST, 0, rest->ca
		};
	tls[n] = (struct MHD_OptionItem) {MHD_OPTION_END, 0, NULL};
	rest->daemon =
		MHD_start_daemon(flags, 0, NULL, NULL, handle, rest,
						 MHD_OPTION_LISTEN_SOCKET, fd,
						 MHD_OPTION_NOTIFY_COMPLETED, completed, NULL,
						 MHD_OPTION_CONNECTION_LIMIT, CONNECTIONS_MAX,
						 MHD_OPTION_CONNECTION_MEMORY_LIMIT, CONNECTION_MEMORY,
						 MHD_OPTION_CONNECTION_TIMEOUT, IDLE_TIMEOUT_S,
						 MHD_OPTION_ARRAY, tls, MHD_OPTION_END);
	return rest->daemon ||
		pgha_why(why, "could not start the HTTP server%s", rest->cert ?
				 " (check the certificate and its key)" : "");
}

HaRest *
pgha_rest_start(const HaNode *node, const HaRestState *state, char *why)
{
	HaRest	   *rest = calloc(1, sizeof(*rest));
	int			fd = -1;

	if (!rest)
	{
		pgha_why(why, "out of memory");
		return NULL;
	}
	rest->credentials = read_credentials(node, why);
	if (rest->credentials != NULL &&
		pgha_rest_view_init(&rest->view, node, state, why) &&
		read_pem(node, "pg_ha.restapi_cert_file", &rest->cert, why) &&
		read_pem(node, "pg_ha.restapi_key_file", &rest->key, why) &&
		read_pem(node, "pg_ha.restapi_ca_file", &rest->ca, why))
		fd = open_listener(node, why);
	/* from here on the daemon owns the socket */
	if (fd >= 0 && start_daemon(rest, fd, why))
		return rest;
	if (fd >= 0)
		close(fd);
	pgha_rest_stop(rest);
	return NULL;
}

void
pgha_rest_reload(HaRest *rest, const HaNode *node)
{
	HaRestView	view;
	char		why[HA_WHY_MAX];
	char	   *credentials = read_credentials(node, why);

	/* without memory, or the file, the old ones stay */
	if (credentials != NULL)
	{
		free(rest->credentials);
		rest->credentials = credentials;
	}
	if (pgha_rest_view_init(&view, node, rest->view.state, why))
	{
		pgha_rest_view_release(&rest->view);
		rest->view = view;
	}
}

void
pgha_rest_stop(HaRest *rest)
{
	if (!rest)
		return;
	if (rest->daemon)
	{
		/* a suspended connection would be waited for */
		pgha_rest_posts_expire(&rest->posts, HA_TIME_NEVER);
		MHD_run(rest->daemon);
		MHD_stop_daemon(rest->daemon);
	}
	pgha_rest_view_release(&rest->view);
	free(rest->credentials);
	free(rest->cert);
	free(rest->key);
	free(rest->ca);
	free(rest);
}

int
pgha_rest_fd(const HaRest *rest)
{
	const union MHD_DaemonInfo *info =
		MHD_get_daemon_info(rest->daemon, MHD_DAEMON_INFO_EPOLL_FD);

	return info ? info->epoll_fd : -1;
}

int
pgha_rest_timeout_ms(const HaRest *rest)
{
	MHD_UNSIGNED_LONG_LONG timeout;

	if (pgha_rest_posts_wait(&rest->posts))
		return SUSPENDED_CHECK_MS;
	if (MHD_get_timeout(rest->daemon, &timeout) != MHD_YES)
		return -1;
	return timeout < INT32_MAX ? (int) timeout : INT32_MAX;
}

void
pgha_rest_on_post(HaRest *rest, HaRestAsked asked, void *arg)
{
	rest->posts.ask = asked;
	rest->posts.arg = arg;
}

void
pgha_rest_reply(HaRest *rest, int id, int status, const char *text)
{
	pgha_rest_posts_reply(&rest->posts, id, status, text);
}

void
pgha_rest_process(HaRest *rest)
{
	pgha_rest_posts_expire(&rest->posts, pgha_now());
	MHD_run(rest->daemon);
}
