/*
 * lease.c
 *	  The lease as arithmetic: one rule, no I/O, no clock of its own.
 */
#include "core/lease.h"

#include <string.h>

/* a named successor has the lease to itself for so long */
#define LEASE_NAMED_MS 1000

static inline bool
lease_mutated(const HaLease *lease, HaMutation mutation)
{
	return (lease->mutations & mutation) != 0;
}

static inline HaTime
lease_later(HaTime a, HaTime b)
{
	return a > b ? a : b;
}

static void
lease_copy_name(char *to, size_t size, const char *from)
{
	strncpy(to, from, size - 1);
	to[size - 1] = '\0';
}

void
pgha_lease_init(HaLease *lease, const char *self, uint64_t file_term,
				uint64_t highest_term, uint64_t first_seq)
{
	memset(lease, 0, sizeof(*lease));
	lease_copy_name(lease->self, sizeof(lease->self), self);
	lease->my_term = file_term;
	lease->highest_term = highest_term > file_term ? highest_term : file_term;
	lease->highest_seen = lease->highest_term;
	pgha_lease_start_seq(lease, first_seq);
	lease->own_ttl_ms = lease->absent_ttl_ms = 10000;
	lease->retry_timeout_ms = 3000;
}

void
pgha_lease_start_seq(HaLease *lease, uint64_t first_seq)
{
	lease->first_seq = lease->next_seq = first_seq;
}

void
pgha_lease_set_timeouts(HaLease *lease, int64_t ttl_ms,
						int64_t retry_timeout_ms)
{
	lease->own_ttl_ms = ttl_ms;
	/* a ttl that is lowered while status is away is not what was promised */
	if (!lease->observed || ttl_ms > lease->absent_ttl_ms)
		lease->absent_ttl_ms = ttl_ms;
	lease->retry_timeout_ms = retry_timeout_ms;
}

/* L: of the last lease seen, else our own ttl */
static int64_t
lease_ttl_ms(const HaLease *lease)
{
	if (lease->last_ttl_ms > 0)
		return lease->last_ttl_ms;
	return lease->absent_ttl_ms;
}

static bool
lease_same_index(const HaObservation *a, const HaObservation *b)
{
	return a->status_index == b->status_index &&
		a->lease.present == b->lease.present &&
		a->lease.term == b->lease.term &&
		a->lease.seq == b->lease.seq &&
		strcmp(a->lease.holder, b->lease.holder) == 0;
}

/* Our own write is what this record shows: it landed. */
static void
lease_landed(HaLease *lease)
{
	HaTime		until = lease->last.sent_at +
		lease->last.lease.ttl_ms * HA_NS_PER_MS;

	lease->unresolved = false;
	if (lease->last.kind == HA_WRITE_RELEASE)
		return;
	if (!lease_mutated(lease, HA_MUTATE_SEND_TIME))
		lease->deadline = lease_later(lease->deadline, until);
	lease->paused_in_force = lease->last.lease.paused;
	lease->in_force = lease->last.lease.electorate;
	lease->in_force_ttl_ms = lease->last.lease.ttl_ms;
	lease->release_sent = false;
}

static bool
lease_is_last_write(const HaLease *lease, const HaLeaseRecord *record)
{
	return lease->last.kind != HA_WRITE_NONE && record->present &&
		record->term == lease->last.lease.term &&
		record->seq == lease->last.lease.seq &&
		strcmp(record->holder, lease->self) == 0;
}

/*
 * A read settles a write whose answer was bad: a heartbeat or release that is
 * not there by now fails its check once we write again, a takeover only when
 * status has left the index it checked.
 */
static void
lease_settle(HaLease *lease, const HaObservation *seen)
{
	if (lease_is_last_write(lease, &seen->lease))
		lease_landed(lease);
	else if (lease->unresolved && !lease->in_flight && seen->consistent &&
			 seen->sent_at >= lease->last.sent_at)
	{
		if (lease->last.kind != HA_WRITE_TAKEOVER ||
			seen->status_index != lease->last.check_status_index)
			lease->unresolved = false;
	}
}

/*
 * The clock: index_since is when this process received the index first, and
 * starts anew after more than L without a successful read.
 */
static void
lease_run_clock(HaLease *lease, const HaObservation *seen)
{
	HaTime		gap;
	int64_t		longest_ms = lease_ttl_ms(lease);

	if (!lease->observed)
	{
		lease->index_since = seen->received_at;
		lease->steady_since = seen->received_at;
		return;
	}
	gap = seen->received_at - lease->seen.received_at;
	/* being absent is no index: it may have come and gone in a short gap */
	if (seen->status_index == 0 && lease->retry_timeout_ms < longest_ms)
		longest_ms = lease->retry_timeout_ms;
	if (!lease_same_index(&lease->seen, seen))
		lease->index_since = seen->received_at;
	else if (gap > longest_ms * HA_NS_PER_MS &&
			 !lease_mutated(lease, HA_MUTATE_EMPTY_CLOCK))
		lease->index_since = seen->received_at;
	if (gap > lease->retry_timeout_ms * HA_NS_PER_MS)
		lease->steady_since = seen->received_at;
}

/* A record older than one seen before: a stale read, or Consul was restored. */
static bool
lease_went_back(const HaLease *lease, const HaObservation *seen)
{
	/* not by seq: those of a member's two brains are not in one order */
	return seen->lease.term < lease->highest_term ||
		(lease->observed && seen->status_index < lease->seen.status_index);
}

void
pgha_lease_note_timeline(HaLease *lease, uint32_t tli)
{
	if (tli > lease->highest_claimed)
		lease->highest_claimed = tli;
}

/*
 * A term below one that was shown: Consul was restored or wiped, and who led
 * then may still lead.  It would take over at once; when a lower term has been
 * renewed for as long as its lease could run, it is gone, and the lower one is
 * all there is to follow.
 */
static void
lease_note_shown(HaLease *lease, const HaObservation *seen)
{
	uint64_t	term = seen->lease.term;
	int64_t		wait_ms = lease_ttl_ms(lease);

	wait_ms += pgha_lease_margin_ms(wait_ms);
	if (term >= lease->highest_shown)
	{
		lease->highest_shown = term;
		lease->lower_since = 0;
	}
	else if (lease->lower_since == 0)
		lease->lower_since = seen->received_at;
	else if (lease->index_since > lease->lower_since &&
			 seen->received_at - lease->lower_since > wait_ms * HA_NS_PER_MS)
	{
		lease->highest_shown = term;
		lease->lower_since = 0;
	}
}

/* What stays known of a lease when status no longer shows it. */
static void
lease_note_record(HaLease *lease, const HaObservation *seen)
{
	const HaLeaseRecord *record = &seen->lease;
	bool		known = lease->observed && lease_same_index(&lease->seen, seen);

	/* the holder of what was seen before may still rely on a longer L */
	if (!known && (!lease_went_back(lease, seen) ||
				   record->ttl_ms > lease->last_ttl_ms))
		lease->last_ttl_ms = record->ttl_ms;
	lease->last_paused = record->paused;
	lease->last_electorate = record->electorate;
	if (record->term > lease->highest_seen)
		lease->highest_seen = record->term;
	lease_note_shown(lease, seen);
	if (record->term > lease->highest_term)
		lease->highest_term = record->term;
	if (record->term > lease->my_term)
		lease->paused_in_force = false;
	pgha_lease_note_timeline(lease, record->claimed);
	pgha_lease_note_timeline(lease, record->timeline);
}

/*
 * A write of our term that this process did not send is of an earlier life or
 * of the node's other brain: a fence may be open as long as it allows, so what
 * it promised is ours to keep.
 */
static void
lease_inherit_promise(HaLease *lease, const HaObservation *seen)
{
	const HaLeaseRecord *record = &seen->lease;

	if (pgha_lease_is_own(lease, record) &&
		(record->seq < lease->first_seq || record->seq >= lease->next_seq))
		lease->promise_until = lease_later(lease->promise_until,
										   seen->received_at +
										   record->ttl_ms * HA_NS_PER_MS);
}

void
pgha_lease_observe(HaLease *lease, const HaObservation *seen)
{
	/* answers may overtake each other: a late one tells nothing new */
	if (lease->observed && seen->received_at < lease->seen.received_at)
		return;
	/* nor does one that is older than our own last write's answer */
	if (lease->observed && !seen->consistent &&
		seen->sent_at < lease->seen.sent_at &&
		seen->status_index < lease->seen.status_index)
		return;

	lease_run_clock(lease, seen);
	if (seen->lease.present)
	{
		lease_note_record(lease, seen);
		lease_inherit_promise(lease, seen);
	}
	lease->seen = *seen;
	lease->observed = true;
	lease_settle(lease, seen);
}

bool
pgha_lease_valid(const HaLease *lease, HaTime now)
{
	if (lease->release_sent)
		return false;
	return lease->paused_in_force || now < lease->deadline;
}

bool
pgha_lease_is_own(const HaLease *lease, const HaLeaseRecord *record)
{
	if (lease_mutated(lease, HA_MUTATE_NAME))
		return record->present && strcmp(record->holder, lease->self) == 0;
	return record->present && lease->my_term != 0 &&
		record->term == lease->my_term &&
		strcmp(record->holder, lease->self) == 0;
}

bool
pgha_lease_ours(const HaLease *lease)
{
	/* below the highest term, ours is over: a restore brought it back */
	return lease->observed && !lease->seen.lease.released &&
		(lease->my_term >= lease->highest_term ||
		 lease_mutated(lease, HA_MUTATE_RESUME)) &&
		pgha_lease_is_own(lease, &lease->seen.lease);
}

/*
 * status was lost or went back while our lease runs: take over at once.  Only
 * a consistent read proves it; after another kind one is asked for.
 */
static bool
lease_restored(const HaLease *lease, HaTime now)
{
	const HaLeaseRecord *record = &lease->seen.lease;

	if (lease->my_term == 0 || lease->my_term < lease->highest_term ||
		lease->release_sent || now >= lease->deadline ||
		!lease->seen.consistent)
		return false;
	return !record->present || record->term < lease->highest_term;
}

bool
pgha_electorate_has(const HaElectorate *electorate, const char *name)
{
	for (int i = 0; i < electorate->n; i++)
		if (strcmp(electorate->names[i], name) == 0)
			return true;
	return false;
}

void
pgha_electorate_add(HaElectorate *electorate, const char *name)
{
	if (electorate->n < HA_MEMBERS_MAX && !pgha_electorate_has(electorate, name))
		lease_copy_name(electorate->names[electorate->n++],
						sizeof(electorate->names[0]), name);
}

static bool
lease_same_electorate(const HaElectorate *a, const HaElectorate *b)
{
	if (a->n != b->n)
		return false;
	for (int i = 0; i < a->n; i++)
		if (!pgha_electorate_has(b, a->names[i]))
			return false;
	return true;
}

/* The holder may have asked its electorate to wait, and nobody else. */
static bool
lease_is_outside(const HaLease *lease, const char *self)
{
	const HaElectorate *electorate = lease->seen.lease.present ?
		&lease->seen.lease.electorate : &lease->last_electorate;

	return electorate->n > 0 && !pgha_electorate_has(electorate, self) &&
		!lease_mutated(lease, HA_MUTATE_ELECTORATE);
}

/* Whether a released lease may be taken before L + margin. */
static HaStanding
lease_released_standing(const HaLease *lease, const char *self, HaTime now,
						HaTime *until)
{
	const HaLeaseRecord *record = &lease->seen.lease;
	HaTime		named_until = lease->index_since +
		LEASE_NAMED_MS * HA_NS_PER_MS;

	if (record->successor[0] != '\0' && strcmp(record->successor, self) != 0 &&
		now < named_until)
	{
		*until = named_until;
		return HA_STANDING_NAMED;
	}
	return HA_STANDING_RELEASED;
}

HaTime
pgha_lease_stood_until(const HaLease *lease)
{
	int64_t		wait_ms = lease_ttl_ms(lease);

	if (lease_mutated(lease, HA_MUTATE_WAIT) ||
		(lease_mutated(lease, HA_MUTATE_ABSENT) &&
		 lease->seen.status_index == 0))
		return lease->index_since;
	if (!lease_mutated(lease, HA_MUTATE_MARGIN))
		wait_ms += pgha_lease_margin_ms(wait_ms);
	return lease->index_since + wait_ms * HA_NS_PER_MS;
}

HaStanding
pgha_lease_standing(const HaLease *lease, const char *self, HaTime now,
					HaTime *until)
{
	const HaLeaseRecord *record = &lease->seen.lease;
	HaTime		steady = lease->steady_since +
		lease->retry_timeout_ms * HA_NS_PER_MS;

	*until = HA_TIME_NEVER;
	if (!lease->observed)
		return HA_STANDING_UNKNOWN;
	if (pgha_lease_ours(lease))
		return HA_STANDING_OURS;
	if (lease_restored(lease, now))
		return HA_STANDING_RESTORED;
	if ((record->present ? record->paused : lease->last_paused) &&
		!lease_mutated(lease, HA_MUTATE_PAUSE))
		return HA_STANDING_PAUSED;
	/* a release from before a later leadership was brought back by a restore */
	if (record->present && record->released && lease->seen.leader_index == 0 &&
		record->term >= lease->highest_seen)
		return lease_released_standing(lease, self, now, until);

	*until = pgha_lease_stood_until(lease);
	if (now < *until)
		return HA_STANDING_HELD;
	*until = steady;
	if (now < steady)
		return HA_STANDING_GAP;
	*until = HA_TIME_NEVER;
	if (now - lease->seen.received_at > lease->retry_timeout_ms * HA_NS_PER_MS)
		return HA_STANDING_GAP;
	if (lease_is_outside(lease, self))
		return HA_STANDING_OUTSIDE;
	return HA_STANDING_EXPIRED;
}

/*
 * ttl_ms of a write: a lower ttl counts only when everything promised before,
 * answered or not, is over.
 */
static int64_t
lease_promise(HaLease *lease, HaTime now)
{
	int64_t		ttl_ms = lease->own_ttl_ms;
	HaTime		left = lease->promise_until - now;

	if (!lease_mutated(lease, HA_MUTATE_TTL_PROMISE) &&
		left > ttl_ms * HA_NS_PER_MS)
		ttl_ms = (left + HA_NS_PER_MS - 1) / HA_NS_PER_MS;
	lease->promise_until = lease_later(lease->promise_until,
									   now + ttl_ms * HA_NS_PER_MS);
	return ttl_ms;
}

/* The number that a promotion after this write takes, or the highest known. */
static uint32_t
lease_claim(const HaLease *lease, HaWriteKind kind)
{
	uint32_t	claimed = lease->highest_claimed;

	if (lease_mutated(lease, HA_MUTATE_CLAIM))
		return 0;
	if (lease->timeline > claimed)
		claimed = lease->timeline;
	return kind == HA_WRITE_TAKEOVER && lease->promotes ? claimed + 1 : claimed;
}

/* What every write has in common; remembers it as the latest sent. */
static void
lease_prepare(HaLease *lease, HaWriteKind kind, HaTime now, const char *self,
			  const char *session, HaLeaseWrite *write)
{
	memset(write, 0, sizeof(*write));
	write->kind = kind;
	write->sent_at = now;
	write->check_status_index = lease->seen.status_index;
	write->check_leader_index = lease->seen.leader_index;
	write->lease.present = true;
	lease_copy_name(write->lease.holder, sizeof(write->lease.holder), self);
	lease_copy_name(write->lease.session, sizeof(write->lease.session),
					session);
	write->lease.term = lease->my_term;
	write->lease.seq = lease->next_seq++;
	write->lease.ttl_ms = lease_promise(lease, now);
	write->lease.timeline = lease->timeline;
	if (lease->seen.lease.timeline > write->lease.timeline)
		write->lease.timeline = lease->seen.lease.timeline;
	write->lease.claimed = lease_claim(lease, kind);
	write->lease.electorate = lease->electorate;
}

static void
lease_sent(HaLease *lease, const HaLeaseWrite *write)
{
	lease->last = *write;
	lease->in_flight = true;
	lease->unresolved = false;
}

bool
pgha_lease_prepare_heartbeat(HaLease *lease, HaTime now, const char *self,
							 const char *session, bool paused,
							 HaLeaseWrite *write)
{
	if (lease->in_flight || lease->unresolved || !pgha_lease_ours(lease))
		return false;
	lease_prepare(lease, HA_WRITE_HEARTBEAT, now, self, session, write);
	write->lease.paused = paused;
	/* may land without an answer: what it ends is over as it is sent */
	if (!paused)
		lease->paused_in_force = false;
	lease_sent(lease, write);
	return true;
}

/* A takeover that may still land is sent again under its own term. */
static bool
lease_takeover_repeats(const HaLease *lease)
{
	return lease->last.kind == HA_WRITE_TAKEOVER && lease->unresolved &&
		lease->observed && lease->last.lease.term == lease->my_term &&
		lease->last.check_status_index == lease->seen.status_index &&
		lease->seen.lease.term < lease->my_term;
}

uint64_t
pgha_lease_takeover_term(const HaLease *lease)
{
	if (lease_takeover_repeats(lease))
		return lease->my_term;
	return lease->highest_term + 1;
}

void
pgha_lease_term_stored(HaLease *lease, uint64_t term)
{
	lease->my_term = term;
	if (term > lease->highest_term)
		lease->highest_term = term;
}

bool
pgha_lease_prepare_takeover(HaLease *lease, HaTime now, const char *self,
							const char *session, HaLeaseWrite *write)
{
	HaTime		until;
	HaStanding	standing = pgha_lease_standing(lease, self, now, &until);

	/*
	 * The term was stored above everything seen, so a running lease of ours
	 * shows as lost here: that is the restored case, still within its time.
	 */
	if (lease->in_flight ||
		(lease->unresolved && !lease_takeover_repeats(lease)))
		return false;
	if (standing != HA_STANDING_EXPIRED && standing != HA_STANDING_RELEASED &&
		standing != HA_STANDING_RESTORED &&
		!(standing == HA_STANDING_PAUSED && lease->ordered &&
		  now >= pgha_lease_stood_until(lease)))
		return false;
	if (lease->my_term <= lease->seen.lease.term)
		return false;
	lease_prepare(lease, HA_WRITE_TAKEOVER, now, self, session, write);
	/* from a restored status while we are open without end: say so at once */
	write->lease.paused = lease->paused_in_force;
	lease_sent(lease, write);
	return true;
}

bool
pgha_lease_prepare_release(HaLease *lease, HaTime now, const char *self,
						   const char *session, const char *successor, bool end_known,
						   HaLeaseWrite *write)
{
	if (lease->in_flight || lease->unresolved || !pgha_lease_ours(lease))
		return false;
	lease_prepare(lease, HA_WRITE_RELEASE, now, self, session, write);
	write->lease.released = true;
	write->lease.end_known = end_known;
	lease_copy_name(write->lease.successor, sizeof(write->lease.successor),
					successor);
	lease->release_sent = true;
	lease_sent(lease, write);
	return true;
}

void
pgha_lease_answer(HaLease *lease, HaWriteOutcome outcome,
				  uint64_t new_status_index, uint64_t new_leader_index,
				  HaTime now)
{
	HaObservation seen;

	if (!lease->in_flight)
		return;
	lease->in_flight = false;
	if (outcome != HA_OUTCOME_DONE)
	{
		lease->unresolved = true;
		return;
	}

	seen = lease->seen;
	seen.sent_at = lease->last.sent_at;
	seen.received_at = now;
	seen.consistent = true;
	seen.status_index = new_status_index;
	seen.lease = lease->last.lease;
	seen.leader_index = new_leader_index;
	memcpy(seen.leader_session, lease->last.lease.session,
		   sizeof(seen.leader_session));
	if (lease->last.kind == HA_WRITE_RELEASE)
		seen.leader_index = 0;
	if (lease_mutated(lease, HA_MUTATE_SEND_TIME))
		lease->deadline = lease_later(lease->deadline,
									  now + lease->last.lease.ttl_ms * HA_NS_PER_MS);
	/* a read has overtaken the answer: it landed, but is not the latest */
	if (lease->seen.received_at >= lease->last.sent_at &&
		lease->seen.status_index > new_status_index)
		lease_landed(lease);
	else
		pgha_lease_observe(lease, &seen);
}

/* ------------------------------------------------------------------------
 * Failsafe
 * ------------------------------------------------------------------------
 */

bool
pgha_lease_failsafe_possible(const HaLease *lease)
{
	bool		open_end = lease->in_flight || lease->unresolved;

	if (lease->in_force_ttl_ms == 0 || lease->in_force.n == 0 ||
		lease->release_sent || !pgha_lease_ours(lease))
		return false;

	/* what may have landed may be another electorate, or another L */
	return !open_end || lease_mutated(lease, HA_MUTATE_LIST_CHANGE) ||
		(lease->last.lease.ttl_ms == lease->in_force_ttl_ms &&
		 lease_same_electorate(&lease->last.lease.electorate,
							   &lease->in_force));
}

/* All have accepted: as if a heartbeat sent then had landed. */
static void
lease_failsafe_settle(HaLease *lease)
{
	HaFailsafe *failsafe = &lease->failsafe;

	for (int i = 0; i < failsafe->asked.n; i++)
		if (!failsafe->accepted[i])
			return;
	failsafe->running = false;
	if (!lease->release_sent && pgha_lease_ours(lease))
		lease->deadline = lease_later(lease->deadline, failsafe->sent_at +
									  failsafe->ttl_ms * HA_NS_PER_MS);
}

bool
pgha_lease_failsafe_begin(HaLease *lease, HaTime now)
{
	HaFailsafe *failsafe = &lease->failsafe;

	if (!pgha_lease_failsafe_possible(lease))
		return false;
	memset(failsafe, 0, sizeof(*failsafe));
	failsafe->running = true;
	failsafe->sent_at = now;
	failsafe->seq = lease->next_seq++;
	failsafe->ttl_ms = lease->in_force_ttl_ms;
	failsafe->asked = lease->in_force;
	lease->promise_until = lease_later(lease->promise_until, now +
									   failsafe->ttl_ms * HA_NS_PER_MS);
	pgha_lease_failsafe_answer(lease, failsafe->seq, lease->self, true);
	return true;
}

void
pgha_lease_failsafe_answer(HaLease *lease, uint64_t seq, const char *name,
						   bool accepted)
{
	HaFailsafe *failsafe = &lease->failsafe;

	if (!failsafe->running || failsafe->seq != seq)
		return;
	if (!accepted && !lease_mutated(lease, HA_MUTATE_REFUSAL))
		failsafe->running = false;
	for (int i = 0; i < failsafe->asked.n; i++)
		if (strcmp(failsafe->asked.names[i], name) == 0)
			failsafe->accepted[i] = true;
	if (failsafe->running)
		lease_failsafe_settle(lease);
}

bool
pgha_lease_failsafe_accept(HaLease *lease, HaTime now, uint64_t term,
						   uint64_t seq, int64_t ttl_ms)
{
	if (term == 0 || lease->highest_term > term)
		return false;
	if (!lease_mutated(lease, HA_MUTATE_PROMISE))
	{
		lease->index_since = lease_later(lease->index_since, now);
		if (ttl_ms > lease->last_ttl_ms)
			lease->last_ttl_ms = ttl_ms;
	}
	if (term > lease->accepted_term || seq > lease->accepted_seq)
	{
		lease->accepted_term = term;
		lease->accepted_seq = seq;
	}
	return true;
}
