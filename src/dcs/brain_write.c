/*
 * brain_write.c
 *	  The leader's transactions: heartbeat, takeover, release, initialize.
 *
 * Each is a compare-and-set on `status`, so that a late, repeated or reordered
 * one fails.  The lock takes a lost leader key again: losing the session or the
 * key is not losing the lease.
 */
#include "dcs/brain_private.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* a failed write is looked into after at least so long */
#define BRAIN_WRITE_RETRY_MS 100

typedef struct BrainTxn
{
	int			nops;
	HaTxnOp		ops[12];
	char		status_key[BRAIN_KEY_MAX];
	char		leader_key[BRAIN_KEY_MAX];
	char		history_key[BRAIN_KEY_MAX];
	char		initialize_key[BRAIN_KEY_MAX];
	char		config_key[BRAIN_KEY_MAX];
	char		failsafe_key[BRAIN_KEY_MAX];
	char	   *failsafe;		/* malloc'd, or NULL */
	char		sysid[24];
} BrainTxn;

static HaTxnOp *
txn_add(BrainTxn *txn, HaTxnVerb verb, const char *key)
{
	HaTxnOp    *op = &txn->ops[txn->nops++];

	memset(op, 0, sizeof(*op));
	op->verb = verb;
	op->key = key;
	return op;
}

static void
txn_begin(const HaBrain *brain, BrainTxn *txn)
{
	memset(txn, 0, sizeof(*txn));
	brain_key(brain, "status", txn->status_key);
	brain_key(brain, "leader", txn->leader_key);
	brain_key(brain, "history", txn->history_key);
	brain_key(brain, "initialize", txn->initialize_key);
	brain_key(brain, "config", txn->config_key);
	brain_key(brain, "failsafe", txn->failsafe_key);
}

static void
txn_check_status(BrainTxn *txn, const HaLeaseWrite *write)
{
	if (write->check_status_index == 0)
		txn_add(txn, HA_TXN_CHECK_NOT_EXISTS, txn->status_key);
	else
		txn_add(txn, HA_TXN_CHECK_INDEX, txn->status_key)->index =
			write->check_status_index;
}

/*
 * Get the leader key out of the way if it is not locked with our session: a
 * takeover deletes what it saw, a holder what a lost session left behind.
 */
static void
txn_lock_leader(const HaBrain *brain, BrainTxn *txn, const HaLeaseWrite *write)
{
	const HaObservation *seen = &brain->lease.seen;
	HaTxnOp    *op;

	if (write->check_leader_index != 0 &&
		(write->kind == HA_WRITE_TAKEOVER ||
		 strcmp(seen->leader_session, brain->session) != 0 ||
		 strcmp(seen->leader, brain->name) != 0))
		txn_add(txn, HA_TXN_DELETE_CAS, txn->leader_key)->index =
			write->check_leader_index;
	else if (write->kind == HA_WRITE_TAKEOVER)
		txn_add(txn, HA_TXN_CHECK_NOT_EXISTS, txn->leader_key);
	op = txn_add(txn, HA_TXN_LOCK, txn->leader_key);
	op->session = brain->session;
	op->value = brain->name;
}

static void
txn_add_extras(const HaBrain *brain, BrainTxn *txn, const HaLeaderWrite *write)
{
	txn->failsafe = brain_failsafe_text(brain);
	if (txn->failsafe != NULL)
		txn_add(txn, HA_TXN_SET, txn->failsafe_key)->value = txn->failsafe;
	if (write->history != NULL)
		txn_add(txn, HA_TXN_SET, txn->history_key)->value = write->history;
	if (!brain->initialize_present && write->sysid != 0)
	{
		snprintf(txn->sysid, sizeof(txn->sysid), "%llu",
				 (unsigned long long) write->sysid);
		txn_add(txn, HA_TXN_SET, txn->initialize_key)->value = txn->sysid;
	}
}

static char *
brain_status_text(const HaBrain *brain, const HaLeaseRecord *lease,
				  const HaLeaderWrite *write)
{
	HaStatusDoc status = brain->status;

	status.lease = *lease;
	if (write->optime != 0)
		status.optime = write->optime;
	if (write->nslots >= 0)
	{
		status.nslots = write->nslots;
		memcpy(status.slots, write->slots,
			   sizeof(HaSlotPosition) * (size_t) write->nslots);
	}
	return pgha_status_print(&status, brain->status_text,
							 brain->status_text != NULL ?
							 strlen(brain->status_text) : 0);
}

static uint64_t
txn_index_of(const HaConsulAnswer *answer, const char *key)
{
	int			i;
	uint64_t	index = 0;

	for (i = 0; i < answer->nkeys; i++)
	{
		if (strcmp(answer->keys[i].key, key) == 0)
			index = answer->keys[i].modify_index;
	}
	return index;
}

static void
brain_written(void *arg, const HaConsulAnswer *answer)
{
	HaBrain    *brain = arg;
	char		status_key[BRAIN_KEY_MAX];
	char		leader_key[BRAIN_KEY_MAX];
	HaWriteOutcome outcome = HA_OUTCOME_UNKNOWN;
	uint64_t	index = 0;
	int			retry_ms = answer->retry_after_ms;

	brain->write.id = 0;
	brain_answered(brain, answer);
	brain_key(brain, "status", status_key);
	brain_key(brain, "leader", leader_key);
	if (answer->result == HA_CONSUL_OK)
	{
		index = txn_index_of(answer, status_key);
		/* an answer without the index is no answer */
		outcome = index != 0 ? HA_OUTCOME_DONE : HA_OUTCOME_UNKNOWN;
	}
	else if (answer->result == HA_CONSUL_REFUSED ||
			 answer->result == HA_CONSUL_BAD_SESSION)
		outcome = HA_OUTCOME_REFUSED;
	if (answer->result == HA_CONSUL_BAD_SESSION)
		brain_session_lost(brain);

	if (outcome == HA_OUTCOME_DONE)
		brain->heartbeat_due = brain->lease.last.sent_at +
			brain->timeouts.loop_wait_ms * HA_NS_PER_MS;
	else
	{
		if (retry_ms < BRAIN_WRITE_RETRY_MS)
			retry_ms = BRAIN_WRITE_RETRY_MS;
		brain->heartbeat_due = answer->received_at + retry_ms * HA_NS_PER_MS;
		brain_report(brain, HA_REPORT_DEBUG, "lease write: %s",
					 answer->text != NULL ? answer->text : "refused");
	}
	pgha_lease_answer(&brain->lease, outcome, index,
					  txn_index_of(answer, leader_key), answer->received_at);
}

static bool
brain_send(HaBrain *brain, BrainTxn *txn, const HaLeaseWrite *lease_write,
		   const HaLeaderWrite *write)
{
	char	   *text = brain_status_text(brain, &lease_write->lease, write);
	HaTxnOp    *op;

	if (text != NULL)
	{
		op = txn_add(txn, HA_TXN_SET, txn->status_key);
		op->value = text;
		if (lease_write->kind == HA_WRITE_RELEASE)
			txn_add(txn, HA_TXN_DELETE, txn->leader_key);
		brain->write.id = pgha_consul_txn(brain->config.consul, txn->ops,
										  txn->nops, brain_timeout_ms(brain),
										  brain_written, brain);
	}
	free(text);
	free(txn->failsafe);
	if (brain->write.id == 0)
	{
		/* never left this process: a read settles it all the same */
		pgha_lease_answer(&brain->lease, HA_OUTCOME_UNKNOWN, 0, 0, pgha_now());
		return false;
	}
	return true;
}

/* Sequence numbers come from a reserved block: never sent twice. */
bool
brain_reserve_seq(HaBrain *brain)
{
	return brain->lease.next_seq < brain->seq_reserved ||
		brain_store_term(brain, HA_TERM_RESERVE);
}

bool
pgha_brain_heartbeat(HaBrain *brain, const HaLeaderWrite *write)
{
	HaLeaseWrite lease_write;
	BrainTxn	txn;

	brain->lease.timeline = write->timeline;
	brain_list_electorate(brain);
	if (!brain->session_held || !brain_reserve_seq(brain) ||
		!pgha_lease_prepare_heartbeat(&brain->lease, pgha_now(), brain->name,
									  brain->session, write->paused,
									  &lease_write))
		return false;
	txn_begin(brain, &txn);
	txn_check_status(&txn, &lease_write);
	txn_lock_leader(brain, &txn, &lease_write);
	txn_add_extras(brain, &txn, write);
	brain_restore_config(brain);
	return brain_send(brain, &txn, &lease_write, write);
}

/* Store the term of a takeover durably; false leaves everything as it was. */
static bool
brain_claim_term(HaBrain *brain)
{
	bool		repeats = pgha_lease_takeover_term(&brain->lease) ==
		brain->lease.my_term;

	brain->file.index = brain->lease.seen.status_index;
	return brain_store_term(brain, repeats ? HA_TERM_STORE : HA_TERM_CLAIM);
}

static bool
brain_takeover(HaBrain *brain, const HaLeaderWrite *write, const char *config,
			   bool found)
{
	HaLeaseWrite lease_write;
	BrainTxn	txn;

	brain->lease.timeline = write->timeline;
	brain->lease.promotes = write->promotes;
	brain->lease.ordered = write->ordered;
	brain_list_electorate(brain);
	if (!brain->session_held || brain->write.id != 0 ||
		!brain_reserve_seq(brain) || !brain_claim_term(brain) ||
		!pgha_lease_prepare_takeover(&brain->lease, pgha_now(), brain->name,
									 brain->session, &lease_write))
		return false;
	txn_begin(brain, &txn);
	txn_check_status(&txn, &lease_write);
	if (found)
		txn_add(&txn, HA_TXN_CHECK_NOT_EXISTS, txn.initialize_key);
	txn_lock_leader(brain, &txn, &lease_write);
	txn_add_extras(brain, &txn, write);
	if (config != NULL)
		txn_add(&txn, HA_TXN_SET, txn.config_key)->value = config;
	return brain_send(brain, &txn, &lease_write, write);
}

bool
pgha_brain_takeover(HaBrain *brain, const HaLeaderWrite *write)
{
	return brain_takeover(brain, write, NULL, false);
}

bool
pgha_brain_initialize(HaBrain *brain, const HaLeaderWrite *write,
					  const char *config)
{
	return brain_takeover(brain, write, config, true);
}

bool
pgha_brain_release(HaBrain *brain, const char *successor,
				   const HaLeaderWrite *write, bool end_known)
{
	HaLeaseWrite lease_write;
	BrainTxn	txn;

	brain->lease.timeline = write->timeline;
	if (!brain->session_held || !brain_reserve_seq(brain) ||
		!pgha_lease_prepare_release(&brain->lease, pgha_now(), brain->name,
									brain->session, successor, end_known,
									&lease_write))
		return false;
	txn_begin(brain, &txn);
	txn_check_status(&txn, &lease_write);
	txn_lock_leader(brain, &txn, &lease_write);
	txn_add_extras(brain, &txn, write);
	return brain_send(brain, &txn, &lease_write, write);
}
