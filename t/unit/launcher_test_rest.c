/*
 * launcher_test_rest.c
 *	  The REST endpoints: who is told what, and that a real client is answered.
 */
#include "launcher_test.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

#include "dcs/http.h"
#include "launcher/rest_private.h"

#define STEPS 400

static HaNodeError error;
static HaRestState state;
static HaRest *rest;
static int	port;
static char received[65536];

/* A port nobody listens on at the moment. */
static int
free_port(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)
	};
	socklen_t	len = sizeof(address);
	int			fd = socket(AF_INET, SOCK_STREAM, 0);

	if (bind(fd, (struct sockaddr *) &address, len) < 0 ||
		getsockname(fd, (struct sockaddr *) &address, &len) < 0)
		return 0;
	close(fd);
	return ntohs(address.sin_port);
}

static int
open_connection(void)
{
	struct sockaddr_in address = {.sin_family = AF_INET,
		.sin_port = htons((uint16_t) port),
		.sin_addr.s_addr = htonl(INADDR_LOOPBACK)
	};
	int			fd = socket(AF_INET, SOCK_STREAM, 0);

	return connect(fd, (struct sockaddr *) &address, sizeof(address)) < 0 ?
		-1 : fd;
}

static void
step(int fd)
{
	struct pollfd fds[2] = {
		{.fd = pgha_rest_fd(rest),.events = POLLIN},
		{.fd = fd,.events = POLLIN}
	};
	int			timeout = pgha_rest_timeout_ms(rest);

	poll(fds, fd < 0 ? 1 : 2, timeout >= 0 && timeout < 5 ? timeout : 5);
	pgha_rest_process(rest);
}

/* The status of an answer, which is in `received`. */
static int
ask(const char *method, const char *path, const char *body)
{
	char		request[1024];
	int			fd = open_connection();
	size_t		len = 0;

	snprintf(request, sizeof(request), "%s %s HTTP/1.1\r\nHost: x\r\n"
			 "Connection: close\r\nContent-Length: %zu\r\n\r\n%s", method,
			 path, strlen(body), body);
	(void) !send(fd, request, strlen(request), MSG_NOSIGNAL);
	for (int i = 0; i < STEPS; i++)
	{
		ssize_t		n;

		step(fd);
		n = recv(fd, received + len, sizeof(received) - 1 - len,
				 MSG_DONTWAIT);
		if (n == 0 || (n < 0 && errno != EAGAIN))
			break;
		len += n > 0 ? (size_t) n : 0;
	}
	received[len] = '\0';
	close(fd);
	return strncmp(received, "HTTP/1.1 ", 9) == 0 ? atoi(received + 9) : 0;
}

static void
get(const char *path, int status)
{
	is_int(ask("GET", path, ""), status, "GET %s", path);
}

static void
set_worker(const char *text)
{
	json_decref(state.worker);
	state.worker = text ? json_loads(text, 0, NULL) : NULL;
}

static void
test_primary(void)
{
	state = (HaRestState) {.state = "running",.role = HA_ROLE_PRIMARY,
		.deadline = pgha_now() + 60000 * HA_NS_PER_MS,
		.alive_at = pgha_now(),.liveness_ms = 60000,
		.maximum_lag = 1000,.sysid = UINT64_C(17268616322854375442),
		.worker = state.worker
	};
	set_worker("{\"lsn\": 67395656, \"timeline\": 3, \"server_version\": "
			   "150006, \"accepts_reads\": true, \"rule\": 210, "
			   "\"started\": \"2026-11-23 03:00:00+00:00\", \"replication\": "
			   "[{\"application_name\": \"pg2\"}]}");
	get("/", 200);
	get("/primary", 200);
	get("/master/any/thing", 200);
	get("/read-write", 200);
	get("/leader", 200);
	get("/replica", 503);
	get("/read-only", 200);
	get("/health", 200);
	get("/liveness", 200);
	get("/readiness", 200);
	get("/nonsense", 503);
	get("/patroni", 200);
	ok(strstr(received, "{\"state\": \"running\", \"postmaster_start_time\": "
			  "\"2026-11-23 03:00:00+00:00\", \"role\": \"primary\", "
			  "\"server_version\": 150006, \"xlog\": {\"location\": 67395656}, "
			  "\"timeline\": 3, \"replication\": [{\"application_name\": "
			  "\"pg2\"}], \"dcs_last_seen\": 0, \"tags\": ") != NULL,
	   "fields and their order are Patroni's");
	ok(strstr(received, "\"17268616322854375442\"") != NULL,
	   "a system identifier over 63 bits");
	is_int(ask("HEAD", "/primary", ""), 200, "HEAD");
	is_int(ask("OPTIONS", "/replica", ""), 503, "OPTIONS");
	ok(!strstr(received, "{"), "without a body");
	is_int(ask("POST", "/switchover", "{\"a\": 1}"), 501, "POST");
	ok(strstr(received, "Server does not support this operation") != NULL,
	   "in the words patronictl looks for");
	is_int(ask("PATCH", "/config", ""), 501, "PATCH");

	state.deadline = pgha_now() - 1;
	get("/primary", 503);
	get("/leader", 503);
	state.open_without_end = true;
	get("/primary", 200);
	state.state = "starting";
	get("/primary", 503);
	state.state = "running";
	set_worker(NULL);
	get("/primary", 503);
	get("/health", 503);
	get("/patroni", 200);
	ok(!strstr(received, "xlog"), "nothing about a server that is not there");
}

static void
test_standby(void)
{
	state = (HaRestState) {.state = "running",.role = HA_ROLE_STANDBY,
		.alive_at = pgha_now() - 2000 * HA_NS_PER_MS,.liveness_ms = 1000,
		.maximum_lag = 1000,.optime = 5000,.worker = state.worker
	};
	set_worker("{\"received\": 4900, \"replayed\": 3000, \"timeline\": 3, "
			   "\"accepts_reads\": true, \"replication_state\": "
			   "\"streaming\", \"replay_paused\": true}");
	get("/primary", 503);
	get("/replica", 200);
	get("/read-only", 200);
	get("/replica?lag=2000", 200);
	get("/replica?lag=1999", 503);
	get("/replica?lag=2kB", 200);
	get("/replica?lag=1kB", 503);
	get("/replica?lag=nonsense", 200);
	get("/replica?replication_state=streaming", 200);
	get("/replica?replication_state=", 503);
	get("/replica?tag_zone=b", 503);
	get("/replica?tag_zone=a&tag_ssd=true&tag_n=1.5", 200);
	get("/replica?tag_none=x", 503);
	get("/primary?tag_zone=b", 503);
	get("/readiness", 503);
	get("/readiness?mode=write", 200);
	get("/readiness?lag=2000", 200);
	get("/liveness", 503);
	state.paused = true;
	get("/liveness", 200);
	get("/patroni", 200);
	ok(strstr(received, "\"xlog\": {\"received_location\": 4900, "
			  "\"replayed_location\": 3000, \"replayed_timestamp\": null, "
			  "\"paused\": true}, \"timeline\": 3, \"replication_state\": "
			  "\"streaming\", \"pause\": true, ") != NULL,
	   "fields and their order on a standby");
	state.role = HA_ROLE_UNKNOWN;
	get("/replica", 503);
	get("/primary", 503);
}

static void
test_sizes(void)
{
	ok(pgha_rest_parse_size("0") == 0 &&
	   pgha_rest_parse_size("16 MB") == 16 << 20, "sizes");
	ok(pgha_rest_parse_size("-1") == HA_REST_NO_LAG &&
	   pgha_rest_parse_size("1mb") == HA_REST_NO_LAG &&
	   pgha_rest_parse_size("99999999999999999999") == HA_REST_NO_LAG &&
	   pgha_rest_parse_size("99999999TB") == HA_REST_NO_LAG &&
	   pgha_rest_parse_size(NULL) == HA_REST_NO_LAG, "no sizes");
}

/* Garbage and silence must not keep others from being answered. */
static void
test_bad_clients(void)
{
	int			silent[20];
	int			fd = open_connection();

	for (int i = 0; i < 20; i++)
		silent[i] = open_connection();
	(void) !send(fd, "\x16\x03\x01 garbage\r\n\r\n", 15, MSG_NOSIGNAL);
	for (int i = 0; i < 20; i++)
		step(fd);
	get("/patroni", 200);
	for (int i = 0; i < 20; i++)
		close(silent[i]);
	close(fd);
}

static void
test_reload(const HaNode *node)
{
	HaNode	   *updated = test_node("pg_ha.tags = '{\"zone\": \"b\"}'", &error);

	state.role = HA_ROLE_STANDBY;
	pgha_rest_reload(rest, updated);
	get("/replica?tag_zone=b", 200);
	pgha_rest_reload(rest, node);
	pgha_node_free(updated);
	get("/replica?tag_zone=a", 200);
}

int
main(void)
{
	char		settings[200];
	HaNode	   *node;

	test_begin();
	port = free_port();
	snprintf(settings, sizeof(settings),
			 "pg_ha.restapi_listen = '127.0.0.1:%d'\npg_ha.tags = "
			 "'{\"zone\": \"a\", \"ssd\": true, \"n\": 1.5}'\n", port);
	node = test_node(settings, &error);
	rest = pgha_rest_start(node, &state, why);
	if (!ok(rest != NULL, "listens"))
		printf("Bail out! %s\n", why);
	ok(!pgha_rest_start(node, &state, why) && strstr(why, "could not listen"),
	   "not twice: %s", why);
	test_sizes();
	test_primary();
	test_standby();
	test_bad_clients();
	test_reload(node);
	set_worker(NULL);
	pgha_rest_stop(rest);
	pgha_node_free(node);
	return test_end();
}
