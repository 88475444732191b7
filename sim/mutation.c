/*
 * mutation.c
 *	  The safeguards that can be switched off, one at a time.
 */
#include "sim.h"

#include <string.h>

const SimMutation sim_mutations[] = {
	/* takes the most seeds, hence first */
	{"takeover-index", HA_MUTATE_TAKEOVER_INDEX,
	"check-index in the takeover", false},
	{"heartbeat-index", HA_MUTATE_HEARTBEAT_INDEX,
	"check-index in the heartbeat", false},
	{"release-index", HA_MUTATE_RELEASE_INDEX,
	"check-index in the release", true},
	{"wait", HA_MUTATE_WAIT,
	"a takeover waits until the index has stood for L", false},
	{"margin", HA_MUTATE_MARGIN,
	"... and the margin for clock rates", false},
	{"send-time", HA_MUTATE_SEND_TIME,
	"a lease runs from when its write was sent", false},
	{"durable-term", HA_MUTATE_DURABLE_TERM,
	"the term is durable before the takeover is sent", false},
	{"remember", SIM_MUTATE_REMEMBER,
	"the file keeps the highest term ever seen", false},
	{"file", SIM_MUTATE_FILE,
	"a node's two brains merge what they write to the file", false},
	{"ttl-promise", HA_MUTATE_TTL_PROMISE,
	"a lower ttl counts when all that was promised is over", false},
	{"empty-clock", HA_MUTATE_EMPTY_CLOCK,
	"a gap in Consul's answers begins the wait anew", true},
	{"absent", HA_MUTATE_ABSENT,
	"an absent status must stand for L, too", false},
	{"name", HA_MUTATE_NAME,
	"a lease is ours by its term, not by a name", false},
	{"resume", HA_MUTATE_RESUME,
	"a term below the highest known is not resumed", false},
	{"release-end", SIM_MUTATE_RELEASE_END,
	"a release tells the end of WAL", false},
	{"kill", SIM_MUTATE_KILL,
	"a release waits until no process is left", false},
	{"stop", SIM_MUTATE_STOP,
	"a leader whose instance hangs gives up in the end", true},
	{"pause", HA_MUTATE_PAUSE,
	"nobody takes over a paused lease", false},
	{"pause-config", SIM_MUTATE_PAUSE_CONFIG,
	"a pause is in the lease before the fence opens for it", false},
	{"pause-late", SIM_MUTATE_PAUSE_LATE,
	"only the latest heartbeat's answer tells of a pause", true},
	{"pause-end", SIM_MUTATE_PAUSE_END,
	"the fence shuts before the heartbeat that ends a pause", true},
	{"permits", SIM_MUTATE_PERMITS,
	"a lease says paused until the commits of the pause are done", false},
	{"fence", SIM_MUTATE_FENCE,
	"the fence at the commit", false},
	{"ack", SIM_MUTATE_ACK,
	"the fence is looked at again before the acknowledgement", false},
	{"demote", SIM_MUTATE_DEMOTE,
	"only a consistent read ends a leadership", false},
	{"timeline", SIM_MUTATE_TIMELINE,
	"a candidate has the cluster's last timeline", false},
	{"claim", HA_MUTATE_CLAIM,
	"a takeover claims the number of its timeline", false},
	{"clock", SIM_MUTATE_CLOCK,
	"a brain does not inherit another one's clock", true},
	{"electorate", HA_MUTATE_ELECTORATE,
	"only a member of the lease's electorate takes over", false},
	{"promise", HA_MUTATE_PROMISE,
	"a member that accepted failsafe waits anew", false},
	{"refusal", HA_MUTATE_REFUSAL,
	"a member refuses failsafe of a lower term than its own", false},
	{"list-change", HA_MUTATE_LIST_CHANGE,
	"no failsafe while another electorate may have landed", true},
};

const int	sim_nmutations = sizeof(sim_mutations) / sizeof(sim_mutations[0]);

const SimMutation *
sim_mutation(const char *name)
{
	for (int i = 0; i < sim_nmutations; i++)
	{
		if (strcmp(sim_mutations[i].name, name) == 0)
			return &sim_mutations[i];
	}
	return NULL;
}
