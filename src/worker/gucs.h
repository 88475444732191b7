/*
 * gucs.h
 *	  The settings of the module; node settings come from core/settings.h.
 */
#ifndef PGHA_GUCS_H
#define PGHA_GUCS_H

#include "postgres.h"

/* Define every node setting as a GUC of its name. */
extern void pgha_gucs_define(void);

extern PGDLLEXPORT char *pgha_guc_scope;	/* "" = not configured */
extern PGDLLEXPORT char *pgha_guc_name;
extern PGDLLEXPORT char *pgha_guc_namespace;
extern PGDLLEXPORT char *pgha_guc_connect_address;
extern PGDLLEXPORT char *pgha_guc_state_directory;
extern PGDLLEXPORT char *pgha_guc_run_directory;
extern PGDLLEXPORT char *pgha_guc_consul_urls;
extern PGDLLEXPORT char *pgha_guc_consul_token_file;
extern PGDLLEXPORT char *pgha_guc_consul_ca_file;
extern PGDLLEXPORT char *pgha_guc_consul_cert_file;
extern PGDLLEXPORT char *pgha_guc_consul_key_file;
extern PGDLLEXPORT char *pgha_guc_consul_datacenter;
extern PGDLLEXPORT char *pgha_guc_restapi_listen;
extern PGDLLEXPORT char *pgha_guc_restapi_connect_address;
extern PGDLLEXPORT char *pgha_guc_restapi_username;
extern PGDLLEXPORT char *pgha_guc_restapi_password_file;
extern PGDLLEXPORT char *pgha_guc_restapi_cert_file;
extern PGDLLEXPORT char *pgha_guc_superuser;
extern PGDLLEXPORT char *pgha_guc_replication_user;
extern PGDLLEXPORT char *pgha_guc_rewind_user;
extern PGDLLEXPORT char *pgha_guc_passfile;
extern PGDLLEXPORT char *pgha_guc_tags;
extern PGDLLEXPORT int pgha_guc_fence_wait_ms;
extern PGDLLEXPORT bool pgha_guc_fence_reads;
extern PGDLLEXPORT bool pgha_guc_managed;

#endif							/* PGHA_GUCS_H */
