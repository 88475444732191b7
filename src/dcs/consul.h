/*
 * consul.h
 *	  The part of Consul's HTTP API that pg_ha needs.
 *
 * One HaConsul per process.  Endpoints are tried in the order of preference
 * they were given: a request that gets no usable answer from one (transport
 * error, 5xx other than a known refusal, 429, redirect, not JSON) makes the
 * next request go to the next one; the preferred one is tried again after
 * HA_CONSUL_PREFER_MS.  A write is never repeated by this module: the caller
 * reads to learn whether it landed.  Reads are not repeated either; back-off is
 * the caller's through HaConsulAnswer.retry_after_ms.
 *
 * Source: Consul's HTTP API, /v1/kv, /v1/txn, /v1/session (as of 1.8).
 */
#ifndef PGHA_CONSUL_H
#define PGHA_CONSUL_H

#include <jansson.h>

#include "core/types.h"
#include "dcs/http.h"

#define HA_CONSUL_ENDPOINTS_MAX 8
#ifndef HA_CONSUL_PREFER_MS		/* a test has less patience */
#define HA_CONSUL_PREFER_MS 30000
#endif
#define HA_CONSUL_TXN_MAX 64	/* operations, the limit of old servers */

typedef struct HaConsul HaConsul;

typedef struct HaConsulConfig
{
	const char *urls;			/* one or more, separated by commas or spaces */
	const char *token;			/* NULL = none */
	const char *datacenter;		/* NULL = the agent's */
	HaTls		tls;
} HaConsulConfig;

typedef enum HaConsulResult
{
	HA_CONSUL_OK,
	HA_CONSUL_NOT_FOUND,		/* 404: no such key, no such session */
	HA_CONSUL_REFUSED,			/* 409 of a txn, `false` of a cas or lock */
	HA_CONSUL_BAD_SESSION,		/* the session named does not exist */
	HA_CONSUL_BAD_TTL,			/* session TTL under the servers' minimum */
	HA_CONSUL_DENIED,			/* 403: ACL */
	HA_CONSUL_NO_ANSWER,		/* nothing usable: outcome of a write unknown */
} HaConsulResult;

/* One key of an answer; value is NUL-terminated, decoded, may hold any byte. */
typedef struct HaConsulKey
{
	const char *key;			/* whole, without leading slash */
	const char *value;
	size_t		value_len;
	const char *session;		/* "" = not locked */
	uint64_t	modify_index;
	uint64_t	create_index;
} HaConsulKey;

typedef struct HaConsulAnswer
{
	HaConsulResult result;
	const HaConsulKey *keys;	/* of a read; of a txn: each as it left it */
	int			nkeys;
	uint64_t	index;			/* X-Consul-Index; 0 = none */
	int			servers;		/* of pgha_consul_servers: known, and well */
	int			servers_passing;
	const char *text;			/* session id; or what went wrong */
	HaTime		sent_at;
	HaTime		received_at;
	int			retry_after_ms; /* how long to leave Consul alone; 0 = not */
} HaConsulAnswer;

typedef void (*HaConsulCallback) (void *arg, const HaConsulAnswer *answer);

typedef enum HaTxnVerb
{
	HA_TXN_SET,
	HA_TXN_CAS,					/* index */
	HA_TXN_LOCK,				/* session */
	HA_TXN_UNLOCK,				/* session */
	HA_TXN_DELETE,
	HA_TXN_DELETE_CAS,			/* index */
	HA_TXN_CHECK_INDEX,			/* index */
	HA_TXN_CHECK_SESSION,		/* session */
	HA_TXN_CHECK_NOT_EXISTS,
	HA_TXN_GET,
} HaTxnVerb;

typedef struct HaTxnOp
{
	HaTxnVerb	verb;
	const char *key;
	const char *value;			/* NULL = none */
	size_t		value_len;		/* 0 with a value = strlen */
	const char *session;
	uint64_t	index;
} HaTxnOp;

/* NULL with *error set: no URL, a malformed one, too many, no libcurl. */
extern HaConsul *pgha_consul_create(const HaConsulConfig *config,
									const char **error);
extern void pgha_consul_free(HaConsul *consul);
extern HaHttp *pgha_consul_http(HaConsul *consul);
extern void pgha_consul_set_token(HaConsul *consul, const char *token);
extern const char *pgha_consul_endpoint(const HaConsul *consul);	/* in use */

/*
 * All return a request id > 0, or 0 if it could not be started (then there is
 * no callback).  timeout_ms bounds the whole request.
 */

/* Every key under a prefix.  NOT_FOUND with nkeys 0 when there is none. */
extern int	pgha_consul_read_prefix(HaConsul *consul, const char *prefix,
									bool consistent, int timeout_ms,
									HaConsulCallback callback, void *arg);

/*
 * The same, answered when something under the prefix is newer than `index`, or
 * after wait_ms (plus up to a sixteenth).  index 0 answers at once.  The caller
 * passes back answer->index; an index that went backwards is reported as 0,
 * so that the next watch starts anew.
 */
extern int	pgha_consul_watch_prefix(HaConsul *consul, const char *prefix,
									 uint64_t index, int wait_ms,
									 int timeout_ms,
									 HaConsulCallback callback, void *arg);
extern int	pgha_consul_read_key(HaConsul *consul, const char *key,
								 bool consistent, int timeout_ms,
								 HaConsulCallback callback, void *arg);
/* cas_index < 0: unconditional; 0: only if absent; else only at that index */
extern int	pgha_consul_put(HaConsul *consul, const char *key,
							const char *value, size_t value_len,
							int64_t cas_index, int timeout_ms,
							HaConsulCallback callback, void *arg);
extern int	pgha_consul_delete(HaConsul *consul, const char *key,
							   int64_t cas_index, int timeout_ms,
							   HaConsulCallback callback, void *arg);
extern int	pgha_consul_txn(HaConsul *consul, const HaTxnOp *ops, int nops,
							int timeout_ms, HaConsulCallback callback,
							void *arg);

/* behavior delete, no checks; answer->text is the new id */
extern int	pgha_consul_session_create(HaConsul *consul, const char *name,
									   int ttl_ms, int lock_delay_ms,
									   int timeout_ms,
									   HaConsulCallback callback, void *arg);
/* NOT_FOUND: the session is gone */
extern int	pgha_consul_session_renew(HaConsul *consul, const char *session,
									  int timeout_ms,
									  HaConsulCallback callback, void *arg);
extern int	pgha_consul_session_destroy(HaConsul *consul, const char *session,
										int timeout_ms,
										HaConsulCallback callback, void *arg);
/* How many servers Consul knows, and how many of them it finds well. */
extern int	pgha_consul_servers(HaConsul *consul, int timeout_ms,
								HaConsulCallback callback, void *arg);
extern void pgha_consul_cancel(HaConsul *consul, int id);

#endif							/* PGHA_CONSUL_H */
