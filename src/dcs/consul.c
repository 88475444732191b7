/*
 * consul.c
 *	  The part of Consul's HTTP API that pg_ha needs.
 *
 *		request --> endpoint in use --> http --> interpret --> callback
 *		                ^                            |
 *		                +-- no answer: the next one -+
 *
 * While another endpoint than the preferred one is in use, only a session
 * request or a plain read goes back to try it, once per HA_CONSUL_PREFER_MS: a
 * lease's writes and the watch do not pay for one that is still dead.  A usable
 * answer brings everybody back.
 *
 * The request's slot is given back before its callback, which may jump; the
 * parsed answer then waits for the next one to be freed.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "dcs/consul.h"
#include "dcs/consul_answer.h"
#include "dcs/consul_request.h"

#define CONSUL_BODY_MAX (4 * 1024 * 1024)	/* a whole folder, in base64 */
#define CONSUL_BACKOFF_MIN_MS 100
#define CONSUL_BACKOFF_MAX_MS 2000

typedef struct ConsulRequest
{
	bool		used;
	HaConsul   *consul;
	int			http_id;
	int			endpoint;
	HaConsulKind kind;
	int			results_min;
	uint64_t	watch_index;	/* 0 = no watch */
	int			watch_wait_ms;
	HaConsulCallback callback;
	void	   *arg;
} ConsulRequest;

struct HaConsul
{
	HaHttp	   *http;
	char	   *endpoints[HA_CONSUL_ENDPOINTS_MAX]; /* without last slash */
	int			nendpoints;
	int			endpoint;		/* in use; 0 is the preferred one */
	HaTime		preferred_tried_at;
	int			pause_ms;		/* the last one asked for; 0 = answers come */
	char	   *token;
	char	   *datacenter;
	HaConsulParsed parsed;		/* of the answer being delivered */
	ConsulRequest requests[HA_HTTP_REQUESTS_MAX];
};

/*
 * URLs
 */

/* "/v1/kv/" and a key, with the datacenter as the first parameter, if any. */
static void
url_start(const HaConsul *consul, UrlText *url, const char *path,
		  const char *key)
{
	url->len = 0;
	url->overflow = false;
	pgha_url_add(url, "%s", path);
	pgha_url_add_escaped(url, key, '/');
	pgha_url_add(url, "?");
	if (consul->datacenter != NULL)
	{
		pgha_url_add(url, "dc=");
		pgha_url_add_escaped(url, consul->datacenter, '\0');
	}
}

static void
url_parameter(UrlText *url, const char *name)
{
	pgha_url_add(url, "%s%s", url->data[url->len - 1] == '?' ? "" : "&", name);
}

/*
 * Endpoints and back-off
 */

static int
endpoint_choose(HaConsul *consul, HaConsulKind kind, bool watch)
{
	bool		may_try = !watch &&
		(kind == HA_CONSUL_READ || kind == HA_CONSUL_SESSION_CREATE ||
		 kind == HA_CONSUL_SESSION_RENEW);
	HaTime		now;

	if (consul->endpoint == 0 || !may_try)
		return consul->endpoint;
	now = pgha_now();
	if (now - consul->preferred_tried_at < HA_CONSUL_PREFER_MS * HA_NS_PER_MS)
		return consul->endpoint;
	consul->preferred_tried_at = now;
	return 0;
}

/* What an endpoint's answer means for what comes; returns the pause. */
static int
endpoint_judge(HaConsul *consul, int endpoint, HaConsulResult result)
{
	if (result != HA_CONSUL_NO_ANSWER && endpoint == 0)
		consul->endpoint = 0;
	if (result != HA_CONSUL_NO_ANSWER && result != HA_CONSUL_DENIED)
	{
		consul->pause_ms = 0;
		return 0;
	}
	if (result == HA_CONSUL_NO_ANSWER && endpoint == consul->endpoint)
	{
		if (endpoint == 0)
			consul->preferred_tried_at = pgha_now();
		consul->endpoint = (endpoint + 1) % consul->nendpoints;
	}
	if (consul->pause_ms == 0)
		consul->pause_ms = CONSUL_BACKOFF_MIN_MS;
	else if (consul->pause_ms < CONSUL_BACKOFF_MAX_MS / 2)
		consul->pause_ms *= 2;
	else
		consul->pause_ms = CONSUL_BACKOFF_MAX_MS;
	return consul->pause_ms;
}

/*
 * Requests
 */

/* A watch's rules for the index, and against a server that won't wait. */
static void
watch_finish(const ConsulRequest *request, HaConsulAnswer *answer)
{
	int64_t		waited_ms = (answer->received_at - answer->sent_at) /
		HA_NS_PER_MS;

	if (request->watch_index == 0 || answer->index == 0)
		return;
	if (answer->index < request->watch_index)
		answer->index = 0;
	else if (answer->index == request->watch_index &&
			 waited_ms < request->watch_wait_ms / 2)
		answer->retry_after_ms = CONSUL_BACKOFF_MIN_MS;
}

static void
http_callback(void *arg, const HaHttpAnswer *http)
{
	ConsulRequest *slot = arg;
	ConsulRequest request = *slot;
	HaConsul   *consul = request.consul;
	HaConsulAnswer answer;

	slot->used = false;
	pgha_consul_parsed_clear(&consul->parsed);
	pgha_consul_interpret(request.kind, request.results_min, http,
						  &consul->parsed, &answer);
	answer.retry_after_ms = endpoint_judge(consul, request.endpoint,
										   answer.result);
	watch_finish(&request, &answer);
	request.callback(request.arg, &answer);
	pgha_consul_parsed_clear(&consul->parsed);
}

/*
 * Send what *request describes.  `url` holds path and parameters; the rest of
 * the URL is the endpoint's.
 */
static int
send_request(HaConsul *consul, const ConsulRequest *request,
			 const char *method, const UrlText *path, const char *body,
			 size_t body_len, int timeout_ms)
{
	HaHttpHeader headers[3] = {{0}};
	HaHttpRequest http = {0};
	UrlText		url;
	ConsulRequest *slot = NULL;
	int			n = 0;

	for (int i = 0; i < HA_HTTP_REQUESTS_MAX && slot == NULL; i++)
	{
		if (!consul->requests[i].used)
			slot = &consul->requests[i];
	}
	if (slot == NULL || path->overflow)
		return 0;
	*slot = *request;
	slot->consul = consul;
	slot->endpoint = endpoint_choose(consul, request->kind,
									 request->watch_wait_ms > 0);

	url.len = 0;
	url.overflow = false;
	pgha_url_add(&url, "%s%s", consul->endpoints[slot->endpoint], path->data);
	if (url.overflow)
		return 0;
	if (body != NULL)
		headers[n++] = (HaHttpHeader) {"Content-Type", "application/json"};
	if (consul->token != NULL)
		headers[n++] = (HaHttpHeader) {"X-Consul-Token", consul->token};

	http.method = method;
	http.url = url.data;
	http.body = body;
	http.body_len = body_len;
	http.headers = headers;
	http.timeout_ms = timeout_ms;
	http.body_max = CONSUL_BODY_MAX;
	http.index_header = "X-Consul-Index";
	slot->http_id = pgha_http_start(consul->http, &http, http_callback, slot);
	slot->used = slot->http_id > 0;
	return slot->http_id;
}

void
pgha_consul_cancel(HaConsul *consul, int id)
{
	for (int i = 0; i < HA_HTTP_REQUESTS_MAX; i++)
	{
		ConsulRequest *request = &consul->requests[i];

		if (request->used && request->http_id == id)
		{
			request->used = false;
			pgha_http_cancel(consul->http, id);
		}
	}
}

/*
 * Keys
 */

int
pgha_consul_read_prefix(HaConsul *consul, const char *prefix, bool consistent,
						int timeout_ms, HaConsulCallback callback, void *arg)
{
	ConsulRequest request = {
		.kind = HA_CONSUL_READ, .callback = callback, .arg = arg
	};
	UrlText		url;

	url_start(consul, &url, "/v1/kv/", prefix);
	url_parameter(&url, "recurse");
	if (consistent)
		url_parameter(&url, "consistent");
	return send_request(consul, &request, "GET", &url, NULL, 0, timeout_ms);
}

int
pgha_consul_watch_prefix(HaConsul *consul, const char *prefix, uint64_t index,
						 int wait_ms, int timeout_ms,
						 HaConsulCallback callback, void *arg)
{
	ConsulRequest request = {
		.kind = HA_CONSUL_READ, .callback = callback, .arg = arg
	};
	UrlText		url;

	url_start(consul, &url, "/v1/kv/", prefix);
	url_parameter(&url, "recurse");
	request.watch_index = index;
	request.watch_wait_ms = wait_ms;
	if (index > 0)
	{
		url_parameter(&url, "index=");
		pgha_url_add(&url, "%llu&wait=%dms", (unsigned long long) index, wait_ms);
	}
	return send_request(consul, &request, "GET", &url, NULL, 0, timeout_ms);
}

int
pgha_consul_read_key(HaConsul *consul, const char *key, bool consistent,
					 int timeout_ms, HaConsulCallback callback, void *arg)
{
	ConsulRequest request = {
		.kind = HA_CONSUL_READ, .callback = callback, .arg = arg
	};
	UrlText		url;

	url_start(consul, &url, "/v1/kv/", key);
	if (consistent)
		url_parameter(&url, "consistent");
	return send_request(consul, &request, "GET", &url, NULL, 0, timeout_ms);
}

int
pgha_consul_servers(HaConsul *consul, int timeout_ms,
					HaConsulCallback callback, void *arg)
{
	ConsulRequest request = {
		.kind = HA_CONSUL_SERVERS, .callback = callback, .arg = arg
	};
	UrlText		url;

	url_start(consul, &url, "/v1/health/service/consul", "");
	return send_request(consul, &request, "GET", &url, NULL, 0, timeout_ms);
}

static void
url_cas(UrlText *url, int64_t cas_index)
{
	if (cas_index < 0)
		return;
	url_parameter(url, "cas=");
	pgha_url_add(url, "%lld", (long long) cas_index);
}

int
pgha_consul_put(HaConsul *consul, const char *key, const char *value,
				size_t value_len, int64_t cas_index, int timeout_ms,
				HaConsulCallback callback, void *arg)
{
	ConsulRequest request = {
		.kind = HA_CONSUL_PUT, .callback = callback, .arg = arg
	};
	UrlText		url;

	url_start(consul, &url, "/v1/kv/", key);
	url_cas(&url, cas_index);
	return send_request(consul, &request, "PUT", &url, value, value_len,
						timeout_ms);
}

int
pgha_consul_delete(HaConsul *consul, const char *key, int64_t cas_index,
				   int timeout_ms, HaConsulCallback callback, void *arg)
{
	ConsulRequest request = {
		.kind = HA_CONSUL_DELETE, .callback = callback, .arg = arg
	};
	UrlText		url;

	url_start(consul, &url, "/v1/kv/", key);
	url_cas(&url, cas_index);
	return send_request(consul, &request, "DELETE", &url, NULL, 0, timeout_ms);
}

/*
 * Transactions
 */

int
pgha_consul_txn(HaConsul *consul, const HaTxnOp *ops, int nops, int timeout_ms,
				HaConsulCallback callback, void *arg)
{
	ConsulRequest request = {
		.kind = HA_CONSUL_TXN, .callback = callback, .arg = arg
	};
	json_t	   *list = json_array();
	char	   *body = NULL;
	bool		failed = nops < 1 || nops > HA_CONSUL_TXN_MAX;
	UrlText		url;
	int			id = 0;

	for (int i = 0; i < nops && !failed; i++)
	{
		failed = json_array_append_new(list, pgha_consul_operation(&ops[i])) != 0;
		request.results_min += pgha_consul_has_result(ops[i].verb);
	}
	if (!failed)
		body = json_dumps(list, JSON_COMPACT);
	json_decref(list);
	if (body == NULL)
		return 0;
	url_start(consul, &url, "/v1/txn", "");
	id = send_request(consul, &request, "PUT", &url, body, strlen(body),
					  timeout_ms);
	free(body);
	return id;
}

/*
 * Sessions
 */

/* Go's notation of a duration */
static json_t *
duration(int ms)
{
	return ms % 1000 == 0 ? json_sprintf("%ds", ms / 1000) :
		json_sprintf("%dms", ms);
}

int
pgha_consul_session_create(HaConsul *consul, const char *name, int ttl_ms,
						   int lock_delay_ms, int timeout_ms,
						   HaConsulCallback callback, void *arg)
{
	ConsulRequest request = {
		.kind = HA_CONSUL_SESSION_CREATE, .callback = callback, .arg = arg
	};
	json_t	   *session;
	char	   *body = NULL;
	UrlText		url;
	int			id;

	/* the lists are there to be empty: absent, they mean serfHealth */
	session = json_pack("{s:s, s:o, s:o, s:s, s:[], s:[]}",
						"Name", name, "TTL", duration(ttl_ms),
						"LockDelay", duration(lock_delay_ms),
						"Behavior", "delete", "Checks", "NodeChecks");
	if (session != NULL)
		body = json_dumps(session, JSON_COMPACT);
	json_decref(session);
	if (body == NULL)
		return 0;
	url_start(consul, &url, "/v1/session/create", "");
	id = send_request(consul, &request, "PUT", &url, body, strlen(body),
					  timeout_ms);
	free(body);
	return id;
}

int
pgha_consul_session_renew(HaConsul *consul, const char *session,
						  int timeout_ms, HaConsulCallback callback, void *arg)
{
	ConsulRequest request = {
		.kind = HA_CONSUL_SESSION_RENEW, .callback = callback, .arg = arg
	};
	UrlText		url;

	url_start(consul, &url, "/v1/session/renew/", session);
	return send_request(consul, &request, "PUT", &url, NULL, 0, timeout_ms);
}

int
pgha_consul_session_destroy(HaConsul *consul, const char *session,
							int timeout_ms, HaConsulCallback callback,
							void *arg)
{
	ConsulRequest request = {
		.kind = HA_CONSUL_SESSION_DESTROY, .callback = callback, .arg = arg
	};
	UrlText		url;

	url_start(consul, &url, "/v1/session/destroy/", session);
	return send_request(consul, &request, "PUT", &url, NULL, 0, timeout_ms);
}

/*
 * Life
 */

/* Returns what is wrong, or NULL. */
static const char *
endpoints_parse(HaConsul *consul, const char *urls)
{
	static const char separators[] = ", \t\r\n";

	while (urls != NULL && *(urls += strspn(urls, separators)) != '\0')
	{
		size_t		len = strcspn(urls, separators);
		char	   *url;

		if (consul->nendpoints == HA_CONSUL_ENDPOINTS_MAX)
			return "too many Consul URLs";
		url = strndup(urls, len);
		if (url == NULL)
			return "out of memory";
		consul->endpoints[consul->nendpoints++] = url;
		if (!pgha_url_is_valid(url))
			return "a Consul URL must be http://host:port or https://host:port";
		while (len > 0 && url[len - 1] == '/')
			url[--len] = '\0';
		urls += strcspn(urls, separators);
	}
	return consul->nendpoints > 0 ? NULL : "no Consul URL is given";
}

HaConsul *
pgha_consul_create(const HaConsulConfig *config, const char **error)
{
	HaConsul   *consul = calloc(1, sizeof(HaConsul));

	*error = NULL;
	if (consul == NULL)
	{
		*error = "out of memory";
		return NULL;
	}
	*error = endpoints_parse(consul, config->urls);
	pgha_consul_set_token(consul, config->token);
	if (config->datacenter != NULL && config->datacenter[0] != '\0' &&
		(consul->datacenter = strdup(config->datacenter)) == NULL)
		*error = "out of memory";
	if (*error == NULL)
		consul->http = pgha_http_create(&config->tls, error);
	if (consul->http == NULL)
	{
		pgha_consul_free(consul);
		return NULL;
	}
	return consul;
}

void
pgha_consul_free(HaConsul *consul)
{
	if (consul == NULL)
		return;
	pgha_http_free(consul->http);
	pgha_consul_parsed_clear(&consul->parsed);
	for (int i = 0; i < consul->nendpoints; i++)
		free(consul->endpoints[i]);
	free(consul->token);
	free(consul->datacenter);
	free(consul);
}

HaHttp *
pgha_consul_http(HaConsul *consul)
{
	return consul->http;
}

void
pgha_consul_set_token(HaConsul *consul, const char *token)
{
	free(consul->token);
	consul->token = token != NULL && token[0] != '\0' ? strdup(token) : NULL;
}

const char *
pgha_consul_endpoint(const HaConsul *consul)
{
	return consul->endpoints[consul->endpoint];
}
