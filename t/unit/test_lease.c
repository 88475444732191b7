/*
 * test_lease.c
 *	  The lease's arithmetic, one property at a time.
 *
 * Times are milliseconds here; L is 10 s and the margin 150 ms unless a test
 * says otherwise.
 */
#include "core/lease.h"
#include "tap.h"

#define MS(n) ((n) * HA_NS_PER_MS)
#define TTL 10000
#define RETRY 3000
#define WAIT (TTL + 150)		/* L + margin */

/* A process of member pg2 whose file says term; its seqs start at 100. */
static void
begin(HaLease *lease, uint64_t term)
{
	pgha_lease_init(lease, "pg2", term, term, 100);
	pgha_lease_set_timeouts(lease, TTL, RETRY);
}

static HaObservation
status(uint64_t index, const char *holder, uint64_t term, uint64_t seq)
{
	HaObservation seen;

	memset(&seen, 0, sizeof(seen));
	seen.status_index = index;
	seen.lease.present = true;
	snprintf(seen.lease.holder, sizeof(seen.lease.holder), "%s", holder);
	seen.lease.term = term;
	seen.lease.seq = seq;
	seen.lease.ttl_ms = TTL;
	seen.leader_index = 5;
	snprintf(seen.leader, sizeof(seen.leader), "%s", holder);
	return seen;
}

static HaObservation
absent(void)
{
	HaObservation seen;

	memset(&seen, 0, sizeof(seen));
	return seen;
}

static HaObservation
released(uint64_t index, uint64_t term, const char *successor)
{
	HaObservation seen = status(index, "pg1", term, 1);

	seen.lease.released = true;
	snprintf(seen.lease.successor, sizeof(seen.lease.successor), "%s",
			 successor);
	seen.leader_index = 0;
	seen.leader[0] = '\0';
	return seen;
}

/* A read that was sent and received at the same moment. */
static void
see(HaLease *lease, int64_t at, HaObservation seen)
{
	seen.sent_at = MS(at);
	seen.received_at = MS(at);
	pgha_lease_observe(lease, &seen);
}

static void
confirm(HaLease *lease, int64_t at, HaObservation seen)
{
	seen.consistent = true;
	see(lease, at, seen);
}

/* The same read over and over, every second, the last one at `to`. */
static void
keep_seeing(HaLease *lease, int64_t from, int64_t to, HaObservation seen)
{
	int64_t		at;

	for (at = from; at < to; at += 1000)
		see(lease, at, seen);
	see(lease, to, seen);
}

static HaStanding
standing_ns(const HaLease *lease, HaTime now)
{
	HaTime		until;

	return pgha_lease_standing(lease, "pg2", now, &until);
}

static HaStanding
standing(const HaLease *lease, int64_t at)
{
	return standing_ns(lease, MS(at));
}

static bool
heartbeat(HaLease *lease, int64_t at, bool paused, HaLeaseWrite *write)
{
	return pgha_lease_prepare_heartbeat(lease, MS(at), "pg2", "s2", paused,
										write);
}

/* Store the next term, as the owner does, and prepare the takeover. */
static bool
takeover(HaLease *lease, int64_t at, HaLeaseWrite *write)
{
	pgha_lease_term_stored(lease, pgha_lease_takeover_term(lease));
	return pgha_lease_prepare_takeover(lease, MS(at), "pg2", "s2", write);
}

static bool
release(HaLease *lease, int64_t at, HaLeaseWrite *write)
{
	return pgha_lease_prepare_release(lease, MS(at), "pg2", "s2", "pg3", true,
									  write);
}

/* What status says after a write of ours landed at an index. */
static HaObservation
shows(const HaLeaseWrite *write, uint64_t index)
{
	HaObservation seen = status(index, "pg2", 0, 0);

	seen.lease = write->lease;
	if (write->kind == HA_WRITE_RELEASE)
		seen.leader_index = 0;
	return seen;
}

static void
done(HaLease *lease, int64_t at, uint64_t index)
{
	pgha_lease_answer(lease, HA_OUTCOME_DONE, index, index, MS(at));
}

/* pg2 leads term 8 since index 20; the takeover was sent at 100 s */
static void
begin_leader(HaLease *lease)
{
	HaLeaseWrite write;

	begin(lease, 0);
	see(lease, 100000, released(19, 7, ""));
	takeover(lease, 100000, &write);
	done(lease, 100010, 20);
}

/* ------------------------------------------------------------------------
 * The clock
 * ------------------------------------------------------------------------
 */

static void
test_empty(void)
{
	HaLease		lease;
	HaLeaseWrite write;

	begin(&lease, 7);
	is_int(standing(&lease, 1000), HA_STANDING_UNKNOWN,
		   "a new life knows nothing");
	ok(!pgha_lease_valid(&lease, MS(1000)) && !pgha_lease_ours(&lease),
	   "... has no right");
	ok(!heartbeat(&lease, 1000, false, &write) &&
	   !takeover(&lease, 1000, &write) && !release(&lease, 1000, &write),
	   "... and writes nothing");
}

/* One nanosecond on either side of the moment `at` (ms). */
static void
turns(const HaLease *lease, int64_t at, HaStanding before, HaStanding after,
	  const char *name)
{
	is_int(standing_ns(lease, MS(at) - 1), before, "%s: a ns before", name);
	is_int(standing_ns(lease, MS(at)), after, "%s: then", name);
	is_int(standing_ns(lease, MS(at) + 1), after, "%s: a ns after", name);
}

static void
test_expiry(void)
{
	HaLease		lease;
	HaTime		until;

	begin(&lease, 0);
	keep_seeing(&lease, 1000, WAIT, status(10, "pg1", 7, 1));
	turns(&lease, 1000 + WAIT, HA_STANDING_HELD, HA_STANDING_EXPIRED,
		  "an index that stood for L + margin is free");
	pgha_lease_standing(&lease, "pg2", MS(2000), &until);
	is_int(until, MS(1000 + WAIT), "the standing says until when");

	begin(&lease, 0);
	keep_seeing(&lease, 1000, 4000, status(10, "pg1", 7, 1));
	keep_seeing(&lease, 5000, 14000, status(11, "pg1", 7, 2));
	turns(&lease, 5000 + WAIT, HA_STANDING_HELD, HA_STANDING_EXPIRED,
		  "a moved index starts the wait anew");

	begin(&lease, 0);
	keep_seeing(&lease, 1000, 4000, status(10, "pg1", 7, 1));
	keep_seeing(&lease, 5000, 14000, status(10, "pg1", 7, 2));
	turns(&lease, 5000 + WAIT, HA_STANDING_HELD, HA_STANDING_EXPIRED,
		  "so does the same index with another seq (Consul was restored)");
}

static void
test_expiry_of_nothing(void)
{
	HaLease		lease;
	HaObservation patroni = status(12, "pg1", 0, 0);

	begin(&lease, 0);
	keep_seeing(&lease, 1000, WAIT, absent());
	turns(&lease, 1000 + WAIT, HA_STANDING_HELD, HA_STANDING_EXPIRED,
		  "an absent status stands for our own ttl");

	begin(&lease, 0);
	pgha_lease_set_timeouts(&lease, 2000, RETRY);
	see(&lease, 1000, status(10, "pg1", 7, 1));
	keep_seeing(&lease, 2000, WAIT + 1000, absent());
	turns(&lease, 2000 + WAIT, HA_STANDING_HELD, HA_STANDING_EXPIRED,
		  "a status that vanished stands for the last L seen");

	begin(&lease, 0);
	patroni.lease.present = false;
	pgha_lease_set_timeouts(&lease, 2000, RETRY);
	see(&lease, 1000, status(10, "pg1", 7, 1));
	keep_seeing(&lease, 2000, WAIT + 1000, patroni);
	turns(&lease, 2000 + WAIT, HA_STANDING_HELD, HA_STANDING_EXPIRED,
		  "so does a status without a lease");
}

static void
test_received_not_sent(void)
{
	HaLease		lease;
	HaObservation seen = status(10, "pg1", 7, 1);

	begin(&lease, 0);
	seen.sent_at = MS(500);
	seen.received_at = MS(1000);
	pgha_lease_observe(&lease, &seen);
	keep_seeing(&lease, 2000, WAIT, status(10, "pg1", 7, 1));
	turns(&lease, 1000 + WAIT, HA_STANDING_HELD, HA_STANDING_EXPIRED,
		  "the wait counts from when the index was received");
}

static void
test_gaps(void)
{
	HaLease		lease;

	begin(&lease, 0);
	see(&lease, 1000, status(10, "pg1", 7, 1));
	see(&lease, 1000 + TTL, status(10, "pg1", 7, 1));
	is_int(lease.index_since, MS(1000),
		   "a gap of L keeps the wait");
	begin(&lease, 0);
	see(&lease, 1000, status(10, "pg1", 7, 1));
	see(&lease, 1001 + TTL, status(10, "pg1", 7, 1));
	is_int(lease.index_since, MS(1001 + TTL),
		   "a longer one starts it anew");

	begin(&lease, 0);
	see(&lease, 1000, absent());
	see(&lease, 1000 + RETRY, absent());
	is_int(lease.index_since, MS(1000), "absence goes on over retry_timeout");
	see(&lease, 1001 + 2 * RETRY, absent());
	is_int(lease.index_since, MS(1001 + 2 * RETRY),
		   "but not over a longer gap: it is no index");

	begin(&lease, 0);
	keep_seeing(&lease, 1000, 7000, status(10, "pg1", 7, 1));
	keep_seeing(&lease, 10001, 13002, status(10, "pg1", 7, 1));
	turns(&lease, 10001 + RETRY, HA_STANDING_GAP, HA_STANDING_EXPIRED,
		  "after a gap the holder has the first word for retry_timeout");

	begin(&lease, 0);
	keep_seeing(&lease, 1000, 7000, status(10, "pg1", 7, 1));
	keep_seeing(&lease, 10000, WAIT + 1000, status(10, "pg1", 7, 1));
	is_int(standing(&lease, 1000 + WAIT), HA_STANDING_EXPIRED,
		   "a silence of retry_timeout is no gap");
	is_int(standing(&lease, 1000 + WAIT + RETRY), HA_STANDING_EXPIRED,
		   "nor is one that lasts until now");
	is_int(standing_ns(&lease, MS(1000 + WAIT + RETRY) + 1), HA_STANDING_GAP,
		   "a longer silence is one");
}

static void
test_overtaking_reads(void)
{
	HaLease		lease;
	HaObservation late = status(9, "pg1", 7, 0);

	begin(&lease, 0);
	see(&lease, 2000, status(10, "pg1", 7, 1));
	see(&lease, 1000, status(9, "pg1", 7, 0));
	is_int((int64_t) lease.seen.status_index, 10,
		   "a read received before the last one is ignored");
	late.sent_at = MS(1000);
	late.received_at = MS(3000);
	pgha_lease_observe(&lease, &late);
	is_int((int64_t) lease.seen.status_index, 10,
		   "so is one sent earlier that shows an older index");
	late.status_index = 11;
	pgha_lease_observe(&lease, &late);
	is_int((int64_t) lease.seen.status_index, 11,
		   "a blocking read sent earlier may bring a newer one");
}

/* ------------------------------------------------------------------------
 * Takeover
 * ------------------------------------------------------------------------
 */

static void
test_takeover(void)
{
	HaLease		lease;
	HaLeaseWrite write;

	begin(&lease, 3);
	keep_seeing(&lease, 1000, 1000 + WAIT, status(10, "pg1", 7, 1));
	is_int((int64_t) pgha_lease_takeover_term(&lease), 8,
		   "a takeover's term is above all terms seen");
	ok(!pgha_lease_prepare_takeover(&lease, MS(1000 + WAIT), "pg2", "s2",
									&write),
	   "it is not written before its term is stored");
	ok(takeover(&lease, 1000 + WAIT, &write), "then it is");
	ok(write.kind == HA_WRITE_TAKEOVER && write.check_status_index == 10 &&
	   write.check_leader_index == 5 && write.sent_at == MS(1000 + WAIT) &&
	   write.lease.present && write.lease.term == 8 &&
	   write.lease.seq == 100 && write.lease.ttl_ms == TTL &&
	   !write.lease.released && !write.lease.paused,
	   "it checks what was read and says what it takes");
	is_str(write.lease.holder, "pg2", "it names the holder");
	is_str(write.lease.session, "s2", "and the session");
	ok(!pgha_lease_prepare_takeover(&lease, MS(1000 + WAIT), "pg2", "s2",
									&write), "one write is in flight");
	ok(!pgha_lease_valid(&lease, MS(1000 + WAIT)), "no answer, no right");

	done(&lease, 1500 + WAIT, 20);
	is_int(standing(&lease, 1500 + WAIT), HA_STANDING_OURS, "answered: ours");
	ok(pgha_lease_valid(&lease, MS(1000 + WAIT + TTL) - 1) &&
	   !pgha_lease_valid(&lease, MS(1000 + WAIT + TTL)),
	   "the right ends L after the send, to the nanosecond");
	ok(heartbeat(&lease, 1600 + WAIT, false, &write) &&
	   write.check_status_index == 20 && write.lease.seq == 101,
	   "a heartbeat follows, on the new index, with a new seq");
}

/* Two leaderships that die before they tell of their timelines. */
static void
test_claim(void)
{
	HaLease		lease;
	HaLeaseWrite write;
	HaObservation seen = status(10, "pg1", 7, 1);

	seen.lease.timeline = 2;
	seen.lease.claimed = 3;
	begin(&lease, 0);
	lease.timeline = 2;
	lease.promotes = true;
	keep_seeing(&lease, 1000, 1000 + WAIT, seen);
	ok(takeover(&lease, 1000 + WAIT, &write) && write.lease.claimed == 4 &&
	   write.lease.timeline == 2,
	   "a takeover claims a number that no leadership had");
	done(&lease, 1500 + WAIT, 20);
	ok(heartbeat(&lease, 1600 + WAIT, false, &write) &&
	   write.lease.claimed == 4, "a heartbeat keeps it");

	begin(&lease, 0);
	lease.timeline = 2;
	keep_seeing(&lease, 1000, 1000 + WAIT, seen);
	ok(takeover(&lease, 1000 + WAIT, &write) && write.lease.claimed == 3,
	   "a primary that takes over begins no timeline");

	begin(&lease, 0);
	lease.timeline = 2;
	lease.promotes = true;
	pgha_lease_note_timeline(&lease, 8);
	see(&lease, 100000, released(19, 7, ""));
	ok(takeover(&lease, 100000, &write) && write.lease.claimed == 9,
	   "a timeline that some member is on counts, too");
}

/* pg2 leads with the electorate pg2, pg3; Consul is silent from 105000 on. */
static void
lead(HaLease *lease)
{
	HaLeaseWrite write;

	begin(lease, 0);
	pgha_electorate_add(&lease->electorate, "pg2");
	pgha_electorate_add(&lease->electorate, "pg3");
	see(lease, 100000, released(19, 7, ""));
	takeover(lease, 100000, &write);
	done(lease, 100010, 20);
	heartbeat(lease, 101000, false, &write);
	done(lease, 101010, 21);
}

static void
test_failsafe(void)
{
	HaLease		lease;
	HaLeaseWrite write;
	uint64_t	seq;

	lead(&lease);
	ok(pgha_lease_failsafe_begin(&lease, MS(105000)), "the members are asked");
	seq = lease.failsafe.seq;
	ok(lease.deadline == MS(101000 + TTL), "which extends nothing");
	pgha_lease_failsafe_answer(&lease, seq - 1, "pg3", true);
	pgha_lease_failsafe_answer(&lease, seq, "pg4", true);
	ok(lease.deadline == MS(101000 + TTL),
	   "nor does an older answer, or one of somebody who was not asked");
	pgha_lease_failsafe_answer(&lease, seq, "pg3", true);
	ok(lease.deadline == MS(105000 + TTL),
	   "all have agreed: L from the asking, not from the answer");
	ok(heartbeat(&lease, 106000, false, &write) && write.lease.seq > seq,
	   "a heartbeat's number is not that of an asking");

	lead(&lease);
	ok(pgha_lease_failsafe_begin(&lease, MS(150000)), "asked after it ran out");
	pgha_lease_failsafe_answer(&lease, lease.failsafe.seq, "pg3", true);
	ok(pgha_lease_valid(&lease, MS(150000 + TTL) - 1) &&
	   !pgha_lease_valid(&lease, MS(150000 + TTL)), "it runs again");

	lead(&lease);
	pgha_lease_failsafe_begin(&lease, MS(105000));
	seq = lease.failsafe.seq;
	pgha_lease_failsafe_answer(&lease, seq, "pg3", false);
	pgha_lease_failsafe_answer(&lease, seq, "pg3", true);
	ok(lease.deadline == MS(101000 + TTL), "one refusal ends a round");
	lease.own_ttl_ms = 1000;
	pgha_lease_failsafe_begin(&lease, MS(110000));
	ok(heartbeat(&lease, 111000, false, &write) &&
	   write.lease.ttl_ms == TTL - 1000,
	   "what was asked for is a promise that a lower ttl keeps");
}

/* When the members may not be asked. */
static void
test_failsafe_not(void)
{
	HaLease		lease;
	HaLeaseWrite write;

	lead(&lease);
	heartbeat(&lease, 102000, false, &write);
	ok(pgha_lease_failsafe_possible(&lease),
	   "a heartbeat under way that changes nothing is no obstacle");
	pgha_lease_answer(&lease, HA_OUTCOME_UNKNOWN, 0, 0, MS(103000));
	ok(pgha_lease_failsafe_possible(&lease), "nor is a lost answer");

	lead(&lease);
	pgha_electorate_add(&lease.electorate, "pg4");
	heartbeat(&lease, 102000, false, &write);
	ok(!pgha_lease_failsafe_possible(&lease),
	   "it is if it lists others: one of them may already count");
	done(&lease, 103000, 22);
	ok(pgha_lease_failsafe_possible(&lease) && lease.in_force.n == 3,
	   "until it has landed");

	lead(&lease);
	lease.own_ttl_ms = 20000;
	heartbeat(&lease, 102000, false, &write);
	ok(!pgha_lease_failsafe_possible(&lease), "so it is with another ttl");

	lead(&lease);
	release(&lease, 102000, &write);
	ok(!pgha_lease_failsafe_possible(&lease), "never after a release");
	pgha_lease_answer(&lease, HA_OUTCOME_UNKNOWN, 0, 0, MS(103000));
	ok(!pgha_lease_failsafe_possible(&lease), "whether or not it landed");

	lead(&lease);
	see(&lease, 104000, status(30, "pg3", 9, 1));
	ok(!pgha_lease_failsafe_possible(&lease), "nor after a takeover");

	begin(&lease, 8);
	see(&lease, 100000, status(20, "pg2", 8, 1));
	ok(!pgha_lease_failsafe_possible(&lease),
	   "a new life has no electorate before a heartbeat of its own");
}

static void
test_failsafe_accept(void)
{
	HaLease		lease;
	HaLeaseWrite write;
	HaObservation listed = status(10, "pg1", 7, 1);

	begin(&lease, 0);
	keep_seeing(&lease, 1000, 1000 + WAIT - 500, status(10, "pg1", 7, 1));
	ok(pgha_lease_failsafe_accept(&lease, MS(WAIT), 7, 5, TTL),
	   "who has no term of its own agrees");
	keep_seeing(&lease, 1000 + WAIT, 2 * WAIT - 1, status(10, "pg1", 7, 1));
	is_int(standing(&lease, 2 * WAIT - 1), HA_STANDING_HELD,
		   "and waits L + margin from then");
	ok(lease.accepted_term == 7 && lease.accepted_seq == 5,
	   "its ballots say up to where it knows");
	keep_seeing(&lease, 2 * WAIT, 2 * WAIT, status(10, "pg1", 7, 1));
	is_int(standing(&lease, 2 * WAIT), HA_STANDING_EXPIRED, "not longer");
	takeover(&lease, 2 * WAIT, &write);
	ok(!pgha_lease_failsafe_accept(&lease, MS(2 * WAIT + 1), 7, 6, TTL),
	   "a takeover of its own may land: it refuses");

	pgha_electorate_add(&listed.lease.electorate, "pg1");
	pgha_electorate_add(&listed.lease.electorate, "pg3");
	begin(&lease, 0);
	keep_seeing(&lease, 1000, 1000 + WAIT, listed);
	is_int(standing(&lease, 1000 + WAIT), HA_STANDING_OUTSIDE,
		   "who is not listed is not asked");
	ok(!takeover(&lease, 1000 + WAIT, &write), "and does not take over");
	keep_seeing(&lease, 2000 + WAIT, 3000 + 2 * WAIT, absent());
	is_int(standing(&lease, 3000 + 2 * WAIT), HA_STANDING_OUTSIDE,
		   "nor when status vanishes");
}

static void
test_takeover_too_early(void)
{
	HaLease		lease;
	HaLeaseWrite write;
	HaObservation paused = status(10, "pg1", 7, 1);

	begin(&lease, 0);
	keep_seeing(&lease, 1000, WAIT, status(10, "pg1", 7, 1));
	ok(!takeover(&lease, 999 + WAIT, &write), "no takeover of a held lease");
	ok(!heartbeat(&lease, 999 + WAIT, false, &write) &&
	   !release(&lease, 999 + WAIT, &write),
	   "another's lease is neither renewed nor released");

	begin(&lease, 0);
	paused.lease.paused = true;
	keep_seeing(&lease, 1000, 3 * WAIT, paused);
	is_int(standing(&lease, 3 * WAIT), HA_STANDING_PAUSED,
		   "a paused lease never expires");
	ok(!takeover(&lease, 3 * WAIT, &write), "and is not taken over");
	keep_seeing(&lease, 3 * WAIT + 1000, 6 * WAIT, absent());
	is_int(standing(&lease, 6 * WAIT), HA_STANDING_PAUSED,
		   "nor does it when status vanishes: its fence is open without end");
}

static void
test_takeover_lost_answer(void)
{
	HaLease		lease;
	HaLeaseWrite write;

	begin(&lease, 0);
	see(&lease, 100000, released(19, 7, ""));
	takeover(&lease, 100000, &write);
	pgha_lease_answer(&lease, HA_OUTCOME_UNKNOWN, 0, 0, MS(101000));
	confirm(&lease, 102000, shows(&write, 20));
	is_int(standing(&lease, 102000), HA_STANDING_OURS,
		   "a takeover whose answer was lost is found by a read");
	ok(pgha_lease_valid(&lease, MS(100000 + TTL) - 1) &&
	   !pgha_lease_valid(&lease, MS(100000 + TTL)),
	   "its right counts from the takeover's send, not from the read");

	begin(&lease, 0);
	see(&lease, 100000, released(19, 7, ""));
	takeover(&lease, 100000, &write);
	pgha_lease_answer(&lease, HA_OUTCOME_REFUSED, 0, 0, MS(101000));
	confirm(&lease, 102000, shows(&write, 20));
	is_int(standing(&lease, 102000), HA_STANDING_OURS,
		   "a refusal is no proof either: an agent may have sent it twice");
}

static void
test_takeover_repeated(void)
{
	HaLease		lease;
	HaLeaseWrite first;
	HaLeaseWrite second;

	begin(&lease, 0);
	see(&lease, 100000, released(19, 7, ""));
	takeover(&lease, 100000, &first);
	pgha_lease_answer(&lease, HA_OUTCOME_UNKNOWN, 0, 0, MS(101000));
	confirm(&lease, 101500, released(19, 7, ""));
	ok(lease.unresolved, "while status stands it may still land");
	is_int(standing(&lease, 101500), HA_STANDING_RELEASED,
		   "the term we stored does not make the release look restored");
	ok(takeover(&lease, 102000, &second) &&
	   second.lease.term == first.lease.term &&
	   second.lease.seq > first.lease.seq && second.check_status_index == 19,
	   "it is sent again under its own term, with a new seq");
	pgha_lease_answer(&lease, HA_OUTCOME_REFUSED, 0, 0, MS(102500));
	confirm(&lease, 103000, shows(&first, 20));
	is_int(standing(&lease, 103000), HA_STANDING_OURS,
		   "the first one landed: ours");
	ok(!pgha_lease_valid(&lease, MS(103000)),
	   "but only the latest sent says what is in force");
	ok(heartbeat(&lease, 103000, false, &second), "a heartbeat settles it");
	done(&lease, 103100, 21);
	ok(pgha_lease_valid(&lease, MS(103100)), "it does");

	begin(&lease, 0);
	see(&lease, 100000, released(19, 7, ""));
	takeover(&lease, 100000, &first);
	pgha_lease_answer(&lease, HA_OUTCOME_UNKNOWN, 0, 0, MS(101000));
	confirm(&lease, 101500, status(22, "pg3", 8, 0));
	ok(!lease.unresolved, "once status has moved on it can't land any more");
}

/*
 * Two candidates may choose the same term: both saw 7, both stored 8.  The one
 * that lost must not take the other's lease for its own.
 */
static void
test_same_term_twice(void)
{
	HaLease		lease;
	HaLeaseWrite write;

	begin(&lease, 0);
	see(&lease, 100000, released(19, 7, ""));
	takeover(&lease, 100000, &write);
	pgha_lease_answer(&lease, HA_OUTCOME_REFUSED, 0, 0, MS(100100));
	confirm(&lease, 100200, status(22, "pg3", 8, 0));
	is_int(standing(&lease, 100200), HA_STANDING_HELD,
		   "our term under another's name is not ours");
	ok(!heartbeat(&lease, 100200, false, &write), "and is not renewed");
	keep_seeing(&lease, 100200, 100200 + WAIT, status(22, "pg3", 8, 0));
	ok(standing(&lease, 100200 + WAIT) == HA_STANDING_EXPIRED &&
	   takeover(&lease, 100200 + WAIT, &write) && write.lease.term == 9,
	   "it is taken over like any other");
}

/* ------------------------------------------------------------------------
 * The leader
 * ------------------------------------------------------------------------
 */

static void
test_heartbeat(void)
{
	HaLease		lease;
	HaLeaseWrite write;

	begin_leader(&lease);
	ok(heartbeat(&lease, 101000, false, &write) &&
	   write.kind == HA_WRITE_HEARTBEAT && write.check_status_index == 20 &&
	   write.lease.term == 8 && !write.lease.released,
	   "a heartbeat checks the index that vouches for all we wrote");
	ok(!heartbeat(&lease, 101100, false, &write), "one is in flight");
	done(&lease, 105000, 21);
	is_int(lease.deadline, MS(101000 + TTL),
		   "a late answer extends the lease to the send time + L");

	heartbeat(&lease, 106000, false, &write);
	pgha_lease_answer(&lease, HA_OUTCOME_UNKNOWN, 0, 0, MS(107000));
	is_int(lease.deadline, MS(101000 + TTL), "no answer extends nothing");
	ok(!heartbeat(&lease, 107000, false, &write),
	   "nothing is written while an outcome is not known");
	see(&lease, 107100, status(21, "pg2", 8, 101));
	ok(lease.unresolved, "a read that may be stale does not settle it");
	confirm(&lease, 107200, shows(&write, 22));
	ok(!lease.unresolved && lease.deadline == MS(106000 + TTL),
	   "reading my term with its seq extends it to the send time + L");
	ok(heartbeat(&lease, 107300, false, &write) &&
	   write.check_status_index == 22, "the next one has the right index");
}

static void
test_heartbeat_did_not_land(void)
{
	HaLease		lease;
	HaLeaseWrite write;
	HaObservation early = status(20, "pg2", 8, 100);

	begin_leader(&lease);
	heartbeat(&lease, 101000, false, &write);
	pgha_lease_answer(&lease, HA_OUTCOME_REFUSED, 0, 0, MS(101100));
	early.consistent = true;
	early.sent_at = MS(100900);
	early.received_at = MS(101200);
	pgha_lease_observe(&lease, &early);
	ok(lease.unresolved, "a read sent before the write settles nothing");
	confirm(&lease, 101300, status(20, "pg2", 8, 100));
	ok(!lease.unresolved && lease.deadline == MS(100000 + TTL),
	   "one sent after it does: it has not landed");
	ok(heartbeat(&lease, 101400, false, &write) &&
	   write.check_status_index == 20,
	   "the next one checks the same index: only one of them can land");
}

static void
test_lost_key_and_session(void)
{
	HaLease		lease;
	HaLeaseWrite write;
	HaObservation seen = status(20, "pg2", 8, 100);

	begin_leader(&lease);
	seen.leader_index = 0;
	seen.leader[0] = '\0';
	see(&lease, 100500, seen);
	is_int(standing(&lease, 100500), HA_STANDING_OURS,
		   "losing the leader key is not losing the lease");
	ok(heartbeat(&lease, 101000, false, &write) &&
	   write.check_leader_index == 0, "a heartbeat takes it again");
}

static void
test_taken_over(void)
{
	HaLease		lease;
	HaLeaseWrite write;

	begin_leader(&lease);
	heartbeat(&lease, 101000, false, &write);
	see(&lease, 115000, status(30, "pg3", 9, 0));
	is_int(standing(&lease, 115000), HA_STANDING_HELD,
		   "another's term: not ours any more");
	done(&lease, 116000, 21);
	is_int(standing(&lease, 116000), HA_STANDING_HELD,
		   "a late answer of our own does not bring the old state back");
	ok(!heartbeat(&lease, 116000, false, &write), "and nothing is renewed");
}

static void
test_seq(void)
{
	HaLease		lease;
	HaLeaseWrite write;
	uint64_t	last = 0;
	int			i;

	begin_leader(&lease);
	last = lease.last.lease.seq;
	for (i = 0; i < 5; i++)
	{
		heartbeat(&lease, 101000 + i * 1000, false, &write);
		ok(write.lease.seq > last, "seq %d was never sent before", i);
		last = write.lease.seq;
		pgha_lease_answer(&lease, HA_OUTCOME_REFUSED, 0, 0,
						  MS(101100 + i * 1000));
		confirm(&lease, 101200 + i * 1000, status(20, "pg2", 8, 100));
	}
}

/* ------------------------------------------------------------------------
 * Release
 * ------------------------------------------------------------------------
 */

static void
test_release(void)
{
	HaLease		lease;
	HaLeaseWrite write;

	begin_leader(&lease);
	ok(release(&lease, 101000, &write) && write.kind == HA_WRITE_RELEASE &&
	   write.check_status_index == 20 && write.lease.released &&
	   write.lease.end_known && write.lease.term == 8,
	   "a release is bound to the state it was decided in");
	is_str(write.lease.successor, "pg3", "it names the successor");
	ok(!pgha_lease_valid(&lease, MS(101000)), "the right ends as it is sent");
	done(&lease, 101100, 21);
	ok(!pgha_lease_ours(&lease) && !pgha_lease_valid(&lease, MS(101100)),
	   "released: not ours");
}

static void
test_release_did_not_land(void)
{
	HaLease		lease;
	HaLeaseWrite write;

	begin_leader(&lease);
	release(&lease, 101000, &write);
	pgha_lease_answer(&lease, HA_OUTCOME_UNKNOWN, 0, 0, MS(102000));
	confirm(&lease, 102100, status(20, "pg2", 8, 100));
	ok(!pgha_lease_valid(&lease, MS(102100)),
	   "a release that did not land: the right stays away");
	ok(heartbeat(&lease, 102200, false, &write) &&
	   write.check_status_index == 20,
	   "who sent one leads again only by a heartbeat");
	ok(!pgha_lease_valid(&lease, MS(102200)), "... that is sent");
	done(&lease, 102300, 21);
	ok(pgha_lease_valid(&lease, MS(102300)), "... and lands");
}

static void
test_named(void)
{
	HaLease		lease;
	HaTime		until;
	HaObservation locked = released(10, 7, "");

	begin(&lease, 0);
	see(&lease, 1000, released(10, 7, "pg3"));
	turns(&lease, 2000, HA_STANDING_NAMED, HA_STANDING_RELEASED,
		  "a lease released to another is free after 1 s");
	pgha_lease_standing(&lease, "pg2", MS(1500), &until);
	is_int(until, MS(2000), "the standing says until when");
	is_int(pgha_lease_standing(&lease, "pg3", MS(1000), &until),
		   HA_STANDING_RELEASED, "to the one named at once");
	see(&lease, 1000, released(11, 7, ""));
	is_int(standing(&lease, 1000), HA_STANDING_RELEASED,
		   "to everybody if nobody is named");

	begin(&lease, 0);
	locked.leader_index = 5;
	keep_seeing(&lease, 1000, WAIT, locked);
	turns(&lease, 1000 + WAIT, HA_STANDING_HELD, HA_STANDING_EXPIRED,
		  "released, but the key is there: somebody has it, wait");
}

static void
test_lower_term_shown(void)
{
	HaLease		lease;
	int64_t		at;

	begin(&lease, 0);
	see(&lease, 1000, status(20, "pg1", 8, 5));
	see(&lease, 2000, status(30, "pg3", 7, 1));
	is_int((int64_t) lease.highest_shown, 8,
		   "a lower term is not believed when it shows up");
	keep_seeing(&lease, 3000, 40000, status(30, "pg3", 7, 1));
	is_int((int64_t) lease.highest_shown, 8,
		   "nor while nobody renews it");
	begin(&lease, 0);
	see(&lease, 1000, status(20, "pg1", 8, 5));
	for (at = 2000; at <= 2000 + TTL; at += 1000)
		see(&lease, at, status((uint64_t) at, "pg3", 7, (uint64_t) at));
	is_int((int64_t) lease.highest_shown, 8,
		   "nor while the higher term's lease could run");
	for (; at <= 4000 + TTL; at += 1000)
		see(&lease, at, status((uint64_t) at, "pg3", 7, (uint64_t) at));
	is_int((int64_t) lease.highest_shown, 7,
		   "renewed for longer than that, it is all there is");
}

/* ------------------------------------------------------------------------
 * ttl
 * ------------------------------------------------------------------------
 */

static void
test_ttl_lowered(void)
{
	HaLease		lease;
	HaLeaseWrite write;

	begin_leader(&lease);
	pgha_lease_set_timeouts(&lease, 3000, 1000);
	heartbeat(&lease, 101000, false, &write);
	is_int(write.lease.ttl_ms, 9000,
		   "a lower ttl does not cut short what was promised");
	pgha_lease_answer(&lease, HA_OUTCOME_UNKNOWN, 0, 0, MS(101100));
	confirm(&lease, 101200, status(20, "pg2", 8, 100));
	heartbeat(&lease, 107001, false, &write);
	is_int(write.lease.ttl_ms, 3000, "it counts when the old promise is over");
	done(&lease, 107100, 21);
	pgha_lease_set_timeouts(&lease, TTL, RETRY);
	heartbeat(&lease, 108000, false, &write);
	is_int(write.lease.ttl_ms, TTL, "a higher one counts at once");

	pgha_lease_answer(&lease, HA_OUTCOME_UNKNOWN, 0, 0, MS(108100));
	confirm(&lease, 108200, status(21, "pg2", 8, 102));
	pgha_lease_set_timeouts(&lease, 3000, 1000);
	heartbeat(&lease, 109000, false, &write);
	is_int(write.lease.ttl_ms, 9000,
		   "a heartbeat that was not answered has promised, too");
}

static void
test_ttl_lowered_between_lives(void)
{
	HaLease		lease;
	HaLeaseWrite write;

	begin(&lease, 8);
	pgha_lease_set_timeouts(&lease, 3000, 1000);
	see(&lease, 101000, status(20, "pg2", 8, 50));
	heartbeat(&lease, 102000, false, &write);
	is_int(write.lease.ttl_ms, 9000,
		   "a new life keeps the promise of the one before: the fence in "
		   "shared memory may still be open by it");
}

/* The launcher is a brain of the same member while it hears of no worker. */
static void
test_ttl_of_the_other_brain(void)
{
	HaLease		lease;
	HaLeaseWrite write;

	begin_leader(&lease);
	pgha_lease_set_timeouts(&lease, 3000, 1000);
	see(&lease, 120000, status(30, "pg2", 8, 2000));
	heartbeat(&lease, 121000, false, &write);
	is_int(write.lease.ttl_ms, 9000,
		   "what the other brain of this member promised is kept, too");
}

/* ------------------------------------------------------------------------
 * Pause
 * ------------------------------------------------------------------------
 */

static void
test_pause(void)
{
	HaLease		lease;
	HaLeaseWrite write;

	begin_leader(&lease);
	heartbeat(&lease, 101000, true, &write);
	ok(write.lease.paused && !lease.paused_in_force,
	   "pause is not in force before its heartbeat is answered");
	done(&lease, 101100, 21);
	ok(lease.paused_in_force && pgha_lease_valid(&lease, MS(9000000)),
	   "then the right has no end");
	heartbeat(&lease, 102000, true, &write);
	ok(lease.paused_in_force, "a further heartbeat keeps it");
	done(&lease, 102100, 22);

	heartbeat(&lease, 103000, false, &write);
	ok(!lease.paused_in_force && pgha_lease_valid(&lease, MS(103000)),
	   "leaving pause: out of force before the write is sent");
	pgha_lease_answer(&lease, HA_OUTCOME_UNKNOWN, 0, 0, MS(103100));
	confirm(&lease, 103200, status(22, "pg2", 8, 102));
	ok(!lease.paused_in_force,
	   "an older heartbeat's pause does not come back by a read");
	ok(!pgha_lease_valid(&lease, MS(102000 + TTL)),
	   "the right has its end again");
}

static void
test_pause_taken_over(void)
{
	HaLease		lease;
	HaLeaseWrite write;

	begin_leader(&lease);
	heartbeat(&lease, 101000, true, &write);
	done(&lease, 101100, 21);
	see(&lease, 200000, status(40, "pg3", 9, 0));
	ok(!pgha_lease_valid(&lease, MS(200000)),
	   "a paused leader that an operator replaced has no right left");
}

static void
test_pause_wiped(void)
{
	HaLease		lease;
	HaLeaseWrite write;

	begin_leader(&lease);
	heartbeat(&lease, 101000, true, &write);
	done(&lease, 101100, 21);
	confirm(&lease, 102000, absent());
	ok(takeover(&lease, 102000, &write) && write.lease.paused,
	   "a wiped status is written again as paused while we are open so");
}

/* ------------------------------------------------------------------------
 * Restored, rebooted, restarted
 * ------------------------------------------------------------------------
 */

static void
test_restored_under_the_leader(void)
{
	HaLease		lease;
	HaLeaseWrite write;

	begin_leader(&lease);
	confirm(&lease, 101000, status(12, "pg1", 7, 3));
	is_int(standing(&lease, 101000), HA_STANDING_RESTORED,
		   "status went back while our lease runs");
	ok(takeover(&lease, 101000, &write) && write.lease.term == 9 &&
	   write.check_status_index == 12,
	   "we take over from it at once, with a term above all");
	done(&lease, 101100, 13);
	is_int(standing(&lease, 101100), HA_STANDING_OURS, "ours again");

	begin_leader(&lease);
	confirm(&lease, 101000, absent());
	ok(standing(&lease, 101000) == HA_STANDING_RESTORED &&
	   takeover(&lease, 101000, &write) && write.check_status_index == 0,
	   "a wiped status is taken over at once as well");

	begin_leader(&lease);
	confirm(&lease, 100000 + TTL, absent());
	is_int(standing(&lease, 100000 + TTL), HA_STANDING_HELD,
		   "not when our lease has run out: we wait like anybody");

	begin_leader(&lease);
	see(&lease, 101000, status(12, "pg1", 7, 3));
	is_int(standing(&lease, 101000), HA_STANDING_HELD,
		   "nor on the word of a read that may be stale");
}

static void
test_restored_under_others(void)
{
	HaLease		lease;
	HaLeaseWrite write;
	HaObservation lower = status(12, "pg1", 7, 3);

	begin(&lease, 7);
	see(&lease, 1000, status(30, "pg3", 8, 0));
	see(&lease, 2000, status(12, "pg2", 7, 3));
	is_int(standing(&lease, 2000), HA_STANDING_HELD,
		   "a former leader does not resume the term a restore gave back");
	ok(!heartbeat(&lease, 2000, false, &write), "and does not renew it");

	begin(&lease, 0);
	see(&lease, 1000, status(30, "pg3", 8, 0));
	lower.lease.ttl_ms = 2000;
	keep_seeing(&lease, 2000, 1000 + WAIT, lower);
	turns(&lease, 2000 + WAIT, HA_STANDING_HELD, HA_STANDING_EXPIRED,
		  "a restored status stands for the last L seen before it");

	begin(&lease, 0);
	see(&lease, 1000, status(30, "pg3", 8, 0));
	keep_seeing(&lease, 2000, 1000 + WAIT, released(12, 7, ""));
	turns(&lease, 2000 + WAIT, HA_STANDING_HELD, HA_STANDING_EXPIRED,
		  "a release from before a later term is not free at once");

	begin(&lease, 0);
	see(&lease, 1000, status(30, "pg3", 8, 5));
	lower = status(12, "pg3", 8, 2003);
	lower.lease.ttl_ms = 2000;
	keep_seeing(&lease, 2000, 1000 + WAIT, lower);
	turns(&lease, 2000 + WAIT, HA_STANDING_HELD, HA_STANDING_EXPIRED,
		  "so does an earlier one of the same term");
}

static void
test_restart(void)
{
	HaLease		lease;
	HaLeaseWrite write;

	begin(&lease, 8);
	see(&lease, 101000, status(20, "pg2", 8, 50));
	is_int(standing(&lease, 101000), HA_STANDING_OURS,
		   "a new life finds its term in status: ours");
	ok(!pgha_lease_valid(&lease, MS(101000)), "but it has no right yet");
	ok(heartbeat(&lease, 101000, false, &write) && write.lease.seq == 100,
	   "it sends a heartbeat of its own block of seqs");
	done(&lease, 101100, 21);
	ok(pgha_lease_valid(&lease, MS(101100)), "and has it when that lands");

	pgha_lease_init(&lease, "pg2", 0, 8, 100);
	pgha_lease_set_timeouts(&lease, TTL, RETRY);
	see(&lease, 101000, status(20, "pg2", 8, 50));
	is_int(standing(&lease, 101000), HA_STANDING_HELD,
		   "after a reboot our own name in it means nothing: we wait");
	is_int((int64_t) pgha_lease_takeover_term(&lease), 9,
		   "and take a higher term");
	pgha_lease_init(&lease, "pg2", 0, 12, 100);
	see(&lease, 101000, status(20, "pg3", 8, 50));
	is_int((int64_t) pgha_lease_takeover_term(&lease), 13,
		   "higher than any the file has ever seen");
}

int
main(void)
{
	test_empty();
	test_expiry();
	test_expiry_of_nothing();
	test_received_not_sent();
	test_gaps();
	test_overtaking_reads();
	test_takeover();
	test_failsafe();
	test_failsafe_not();
	test_failsafe_accept();
	test_claim();
	test_takeover_too_early();
	test_takeover_lost_answer();
	test_takeover_repeated();
	test_same_term_twice();
	test_heartbeat();
	test_heartbeat_did_not_land();
	test_lost_key_and_session();
	test_taken_over();
	test_seq();
	test_release();
	test_release_did_not_land();
	test_named();
	test_lower_term_shown();
	test_ttl_lowered();
	test_ttl_lowered_between_lives();
	test_ttl_of_the_other_brain();
	test_pause();
	test_pause_taken_over();
	test_pause_wiped();
	test_restored_under_the_leader();
	test_restored_under_others();
	test_restart();
	return done_testing();
}
