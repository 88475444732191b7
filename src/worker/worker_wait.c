/*
 * worker_wait.c
 *	  {"command": "condition", "condition": TEXT}: is it met, and if not, what
 *	  is missing (core/condition.h).  It answers at once; a backend that waits
 *	  asks again.
 */
#include "worker_private.h"

#include "core/condition.h"

void
worker_condition_run(HaWorker *worker, HaCommand *command)
{
	const char *text = json_string_value(json_object_get(command->request,
														 "condition"));
	HaCondition condition;
	HaMissing	missing;

	if (text == NULL || !pgha_condition_parse(text, &condition))
	{
		worker_command_fail(command, "22023",
							"Conditions are leader, leader(NAME), member_streaming(NAME), nothing_pending and healthy.",
							"unknown condition \"%s\"", text != NULL ? text : "");
		return;
	}
	missing = pgha_condition_missing(&worker->view, &condition);
	if (missing.what == NULL)
		worker_command_answer(command, json_null());
	else
		worker_command_answer(command, json_sprintf("%s%s%s", missing.what,
													missing.member[0] != '\0' ? " " : "",
													missing.member));
}
