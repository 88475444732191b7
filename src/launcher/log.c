/*
 * log.c
 *	  The launcher's log: one line on stderr for each change, and its events.
 */
#include "launcher/launcher.h"

#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

static const char *log_name = "";
static HaReportLevel log_level = HA_REPORT_INFO;

void
launcher_log_open(const char *name, const char *level)
{
	log_name = name;
	if (strcmp(level, "debug") == 0)
		log_level = HA_REPORT_DEBUG;
	else if (strcmp(level, "info") == 0)
		log_level = HA_REPORT_INFO;
	else
		log_level = HA_REPORT_WARNING;
}

static void
log_line(HaReportLevel level, const char *text)
{
	static const char *const names[] = {"debug", "info", "warning"};
	struct timespec now;
	struct tm	utc;
	char		stamp[32];

	if (level < log_level)
		return;
	clock_gettime(CLOCK_REALTIME, &now);
	gmtime_r(&now.tv_sec, &utc);
	strftime(stamp, sizeof(stamp), "%Y-%m-%dT%H:%M:%S", &utc);
	fprintf(stderr, "%s.%03ldZ pg_ha_launcher member=%s level=%s %s\n", stamp,
			now.tv_nsec / 1000000, log_name, names[level], text);
}

void
launcher_log(HaReportLevel level, const char *format,...)
{
	char		text[1024];
	va_list		args;

	va_start(args, format);
	vsnprintf(text, sizeof(text), format, args);
	va_end(args);
	log_line(level, text);
}

void
launcher_report(void *arg, HaReportLevel level, const char *text)
{
	(void) arg;
	log_line(level, text);
}

void
launcher_event(const HaLauncher *launcher, int rule, const char *action,
			   const char *what)
{
	const HaView *view = &launcher->view;
	HaEvent		event = {launcher->node->name, rule, action, what, NULL, true};
	char		why[HA_WHY_MAX];

	event.facts = json_pack("{s:I, s:s, s:i, s:I, s:i}",
							"term", (json_int_t) view->lease_term,
							"leader", view->leader,
							"timeline", (int) view->tli,
							"lsn", (json_int_t) view->lsn,
							"instance", (int) launcher->instance);
	if (!pgha_event_append(launcher->node->state_directory, &event, why))
		launcher_log(HA_REPORT_WARNING, "could not store an event: %s", why);
	json_decref(event.facts);
}
