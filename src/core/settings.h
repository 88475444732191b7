/*
 * settings.h
 *	  The node settings: one table for everybody who needs them.
 *
 * The worker defines its GUCs from this table, the launcher checks its file
 * against it, and the README's table is printed from it
 * (pg_ha_launcher --settings-table).
 */
#ifndef PGHA_SETTINGS_H
#define PGHA_SETTINGS_H

#include "core/types.h"

typedef enum HaSettingType
{
	HA_SETTING_STRING,
	HA_SETTING_BOOL,
	HA_SETTING_INT,
	HA_SETTING_ENUM,
} HaSettingType;

#define HA_SETTING_REQUIRED 0x1 /* no default: scope, name, ... */
#define HA_SETTING_RELOAD	0x2 /* SIGHUP is enough; else a restart */
#define HA_SETTING_SECRET	0x4 /* the path is for superusers only */

typedef struct HaSetting
{
	const char *name;			/* "pg_ha.scope" */
	HaSettingType type;
	const char *fallback;		/* default, as text; "" = empty */
	int64_t		min;			/* HA_SETTING_INT only */
	int64_t		max;
	const char *unit;			/* "ms" or NULL */
	const char *const *values;	/* HA_SETTING_ENUM only, NULL-terminated */
	int			flags;
	const char *description;	/* one line */
} HaSetting;

extern const HaSetting *pgha_settings(int *nsettings);
extern const HaSetting *pgha_setting(const char *name);

#endif							/* PGHA_SETTINGS_H */
