/*
 * needed.c
 *	  The settings that a standby must not have smaller than the primary.
 *
 * A standby starts with max(configured, its pg_control, the leader's), and its
 * files always say so: what waits for a restart is seen by comparing them with
 * what runs.  So they are rendered again when one of these changes: a leader
 * that was restarted with less, a standby that became one.
 */
#include "launcher/launcher.h"

#include <signal.h>
#include <string.h>

#include "dcs/json.h"
#include "launcher/directory.h"

/* how often a running standby's pg_control is looked at */
#define NEEDED_LOOK_MS 1000

bool
launcher_is_primary(const HaLauncher *launcher)
{
	const char *role = json_string_value(json_object_get(launcher->worker_state,
														 "role"));

	if (!launcher->state_fresh || role == NULL)
		return launcher->started_primary;
	return strcmp(role, "primary") == 0;
}

/* A primary needs nothing of others: it may shrink. */
static void
needed_find(const HaLauncher *launcher, bool as_primary,
			HaControlSettings *needed)
{
	memset(needed, 0, sizeof(*needed));
	if (as_primary)
		return;
	if (launcher->control.valid)
		pgha_critical_raise(needed, &launcher->control.settings);
	pgha_critical_raise(needed, &launcher->leaders);
}

const HaControlSettings *
launcher_needed(HaLauncher *launcher, bool as_primary)
{
	needed_find(launcher, as_primary, &launcher->needed);
	return &launcher->needed;
}

/* What others run with is known to the brain, be it the worker or ours. */
static void
needed_look_at_leader(HaLauncher *launcher)
{
	const HaMember *leader = pgha_view_member(&launcher->view,
											  launcher->view.leader);
	const json_t *told = json_object_get(launcher->worker_state,
										 "leader_settings");

	/* a leader that does not run says nothing: what it said last counts */
	if (leader != NULL && leader->settings.max_connections > 0)
		launcher->leaders = leader->settings;
	if (launcher->brain != NULL || !json_is_object(told))
		return;
	for (int i = 0; i < HA_CRITICALS; i++)
		*pgha_critical(&launcher->leaders, i) = (int)
			json_integer_value(json_object_get(told, pgha_critical_name(i)));
}

void
launcher_look_needed(HaLauncher *launcher, HaTime now)
{
	bool		primary = launcher_is_primary(launcher);
	HaControlSettings needed;
	HaControl	control;
	char		why[HA_WHY_MAX];

	needed_look_at_leader(launcher);
	if (launcher->instance != HA_INSTANCE_RUNNING ||
		!launcher->state_fresh ||
		now < launcher->needed_at + NEEDED_LOOK_MS * HA_NS_PER_MS)
		return;
	launcher->needed_at = now;
	if (!primary && pgha_directory_read_control(launcher->node, &control, why))
		launcher->control = control;
	needed_find(launcher, primary, &needed);
	if (memcmp(&needed, &launcher->needed, sizeof(needed)) == 0)
		return;
	if (launcher_render(launcher, primary, why))
		pgha_postmaster_signal(&launcher->postmaster, SIGHUP);
	else
		launcher_log(HA_REPORT_WARNING, "could not render configuration: %s",
					 why);
}
