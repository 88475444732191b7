/*
 * state.h
 *	  What outlives the instance: files in pg_ha.state_directory.
 *
 *		lease.json		{term, highest_term, index, session, boot,
 *							 seq_reserved, claimed_timeline, ttl_ms}
 *		node.json		{half_done, fresh, leader, timeline, flush_lsn, sysid}
 *		follow.conf		primary_conninfo and primary_slot_name
 *		events.jsonl	one event a line; events.old.jsonl before it
 *
 * Worker and launcher both use them.  Every file but the events is replaced
 * whole: written beside it, fsynced, renamed, the directory fsynced; a kill at
 * any point leaves the old or the new one.  Unreadable content is an error the
 * caller reports, never a default.
 */
#ifndef PGHA_STATE_H
#define PGHA_STATE_H

#include "core/types.h"
#include "dcs/documents.h"

#define HA_BOOT_ID_MAX 40
#define HA_EVENT_MAX 2048		/* a line, cut off */
#define HA_EVENTS_BYTES (1024 * 1024)	/* then events.jsonl is rotated */
#define HA_SEQ_BLOCK 1000000

typedef struct HaTermFile
{
	bool		present;
	bool		same_boot;		/* written in this boot of the machine */
	uint64_t	term;			/* ours; meaningful in the same boot only */
	uint64_t	highest_term;	/* ever seen by this node, whatever the boot */
	uint64_t	index;			/* of status that the takeover checked */
	uint64_t	seq_reserved;	/* seqs up to here may have been sent */
	uint64_t	claimed;		/* the highest timeline ever claimed, as known here */
	uint64_t	ttl_ms;			/* L of the lease last seen; 0 = none */
	char		session[HA_SESSION_MAX + 1];
} HaTermFile;

typedef struct HaNodeFile
{
	bool		present;
	char		half_done[32];	/* "clone", "rewind", "initdb"; "" = whole */
	bool		fresh;			/* made by our initdb, the scope is not won yet */
	char		leader[HA_NAME_MAX + 1];	/* last known */
	uint32_t	timeline;
	HaLsn		flush_lsn;		/* last known of this instance */
	uint64_t	sysid;
} HaNodeFile;

/* What a brain wants beside storing what it knows; may be or-ed. */
typedef enum HaTermWish
{
	HA_TERM_STORE = 0,
	HA_TERM_CLAIM = 1 << 0,		/* a term that was never known to the node */
	HA_TERM_RESERVE = 1 << 1,	/* HA_SEQ_BLOCK more sequence numbers */
} HaTermWish;

/* All return false with why set (HA_WHY_MAX). */
extern bool pgha_state_read_term(const char *dir, HaTermFile *file, char *why);
extern bool pgha_state_write_term(const char *dir, const HaTermFile *file,
								  char *why);

/*
 * Bring what one brain knows into lease.json.  The node's other brain may be
 * writing too: terms and sequence numbers never go back.  On success *file is
 * what is on disk; a block reserved ends at its seq_reserved.
 */
extern bool pgha_state_merge_term(const char *dir, HaTermFile *file,
								  HaTermWish wish, char *why);
extern bool pgha_state_read_node(const char *dir, HaNodeFile *file, char *why);
extern bool pgha_state_write_node(const char *dir, const HaNodeFile *file,
								  char *why);

/* conninfo "" = follow nobody */
extern bool pgha_state_write_follow(const char *dir, const char *conninfo,
									const char *slot, char *why);

/* Replace a file whole, durably, mode 0600. */
extern bool pgha_file_replace(const char *path, const char *data, size_t len,
							  char *why);
/* Read a file of at most max bytes; malloc'd, NUL-terminated.  NULL: why; */
/* *missing tells an absent file from other errors. */
extern char *pgha_file_read(const char *path, size_t max, size_t *len,
							bool *missing, char *why);

/* Append an event: adds time (ISO 8601, UTC), scope and member. */
typedef struct HaEvent
{
	const char *member;
	int			rule;			/* 0 = none */
	const char *action;
	const char *what;			/* a sentence */
	json_t	   *facts;			/* borrowed; NULL = none */
	bool		durable;		/* fsync: changes of leadership */
} HaEvent;

extern bool pgha_event_append(const char *dir, const HaEvent *event, char *why);

#endif							/* PGHA_STATE_H */
