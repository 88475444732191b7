/*
 * documents.h
 *	  The JSON documents in Consul, both directions.
 *
 * Formats are Patroni's (members, config, status, history, failover), so that
 * its tools work unmodified; pg_ha adds `lease` to status and `pg_ha` to member
 * keys.  Readers accept any whitespace, numbers as strings where Patroni does,
 * and unknown fields, which writers keep.  A document over HA_DOCUMENT_MAX or
 * nested deeper than jansson's limit is an error, never a partial result.
 *
 * Writers return a malloc'd compact string the caller frees; NULL = no memory.
 */
#ifndef PGHA_DOCUMENTS_H
#define PGHA_DOCUMENTS_H

#include <jansson.h>

#include "core/view.h"

#define HA_DOCUMENT_MAX (256 * 1024)
#define HA_WHY_MAX 200			/* an error text, cut off */

/* status */
typedef struct HaSlotPosition
{
	char		name[HA_NAME_MAX + 1];
	HaLsn		lsn;
} HaSlotPosition;

typedef struct HaStatusDoc
{
	HaLsn		optime;
	HaLeaseRecord lease;
	int			nslots;
	HaSlotPosition slots[HA_MEMBERS_MAX];
} HaStatusDoc;

/* An empty or absent value gives an empty document; a bare integer is optime. */
extern bool pgha_status_parse(const char *text, size_t len, HaStatusDoc *status,
							  char *why);
/* `previous`: the text read last, whose unknown fields are kept; may be NULL */
extern char *pgha_status_print(const HaStatusDoc *status, const char *previous,
							   size_t previous_len);

/* members/<name>.  What this node says of itself, beyond HaMember. */
typedef struct HaMemberDoc
{
	HaMember	member;			/* name, urls, state, role, tli, lsn, ballot */
	HaLsn		receive_lsn;	/* 0 = absent */
	HaLsn		replay_lsn;
	char		version[32];	/* "4.0.0": what Patroni's tools shall assume */
	bool		pause;
	bool		awaited;		/* its position: each change of it is written */
	json_t	   *tags;			/* borrowed; NULL = none */
	json_t	   *pending_restart_reason; /* {guc:{old_value,new_value}}; NULL */
} HaMemberDoc;

extern bool pgha_member_parse(const char *name, const char *text, size_t len,
							  HaMember *member, char *why);
extern char *pgha_member_print(const HaMemberDoc *doc);

/* config */
typedef struct HaConfigDoc
{
	HaTimeouts	timeouts;		/* defaults where the document says nothing */
	bool		pause;
	bool		failsafe_mode;
	bool		use_slots;
	bool		use_pg_rewind;
	json_t	   *document;		/* the whole object; owned: pgha_config_free */
	json_t	   *parameters;		/* postgresql.parameters, borrowed; or NULL */
	json_t	   *pg_hba;			/* arrays of strings, borrowed; or NULL */
	json_t	   *pg_ident;
} HaConfigDoc;

/* defaults of design section 9: ttl 10 s, loop_wait 1 s, retry_timeout 3 s, ... */
extern void pgha_timeouts_default(HaTimeouts *timeouts);

/*
 * False: not a JSON object; nothing usable.  True with why[0] != '\0': some
 * values were out of range, of a wrong type or broke the rule
 * loop_wait + 2 * retry_timeout + margin <= ttl; the defaults (or the largest
 * values the rule allows) stand for these, and `why` names the first.
 */
extern bool pgha_config_parse(const char *text, size_t len, HaConfigDoc *config,
							  char *why);
extern void pgha_config_free(HaConfigDoc *config);

/* The first thing wrong with a configuration about to be written; or true. */
extern bool pgha_config_check(json_t *document, char *why);

/* RFC 7396; returns a new reference. */
extern json_t *pgha_json_merge_patch(json_t *target, json_t *patch);

/* history */
typedef struct HaHistoryLine
{
	uint32_t	tli;
	HaLsn		end;
	char		reason[128];
	char		when[40];		/* ISO 8601, "" = unknown */
	char		leader[HA_NAME_MAX + 1];	/* "" = unknown */
} HaHistoryLine;

typedef struct HaHistoryDoc
{
	int			nlines;
	HaHistoryLine lines[HA_HISTORY_MAX];	/* the newest ones, ascending */
} HaHistoryDoc;

extern bool pgha_history_parse(const char *text, size_t len,
							   HaHistoryDoc *history, char *why);
extern char *pgha_history_print(const HaHistoryDoc *history);
extern void pgha_history_timelines(const HaHistoryDoc *history,
								   HaTimelines *timelines);

/*
 * failover: {"leader","member","scheduled_at"}, and what pg_ha adds: "pg_ha":
 * {"job","asked_by","timeout_ms","force","begun"}.  {} is none.
 */
extern bool pgha_order_parse(const char *text, size_t len, HaOrder *order,
							 char *why);
extern char *pgha_order_print(const HaOrder *order);

/*
 * pg_ha/jobs/<id>:
 *	{"kind":"switchover"|"failover"|"restart", "state":"scheduled"|"running"|
 *	 "done"|"failed"|"cancelled", "asked_by":"member", "asked_at":"...",
 *	 "scheduled_at":"...", "finished_at":"...", "message":"...",
 *	 "timeout_ms":N, "pending_only":bool, "role":"primary"|"replica",
 *	 "version_below":N, "members":[{"name","state":"todo"|"asked"|"done"|
 *	 "skipped","before":N,"rounds":N}], "result":{...}}
 * Only restarts are driven by what is in it.
 */
extern bool pgha_restart_parse(const char *id, const json_t *document,
						   HaRestart *restart);
extern const char *pgha_entry_state_name(HaEntryState state);
extern bool pgha_job_is_open(const json_t *document);

/* "2026-01-31 10:00:00.5+02:00", "...T...Z": ms since the epoch. */
extern bool pgha_time_parse(const char *text, int64_t *ms);
extern void pgha_time_print(int64_t ms, char *text, size_t size);

/* initialize: a decimal system identifier of at least 10 digits; else 0 */
extern uint64_t pgha_initialize_parse(const char *text, size_t len);

#endif							/* PGHA_DOCUMENTS_H */
