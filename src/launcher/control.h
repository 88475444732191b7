/*
 * control.h
 *	  The unix socket between the launcher and the worker.
 *
 * RUN/<name>.sock, mode 0600; newline-delimited JSON objects, at most 256 kB
 * each, the first of each side a hello with the protocol's version:
 *
 *	worker to launcher
 *		{"type":"hello","version":1,"pid":N,"postmaster":N}
 *		{"type":"state", ...}	when something changed, or each second; see below
 *		{"type":"act","action":"promote"|"rejoin"|"kill"|"restart"|"hand over",
 *		 "rule":N,"why":"...","target":"member","timeline":N,"claimed":N}
 *		{"type":"failsafe","id":N,"accepted":bool}	the answer to that
 *		{"type":"config","config":{...},"index":N}	to be rendered, reloaded
 *
 *	launcher to worker
 *		{"type":"hello","version":1,"pid":N}
 *		{"type":"alive","fell_back":bool}	each second
 *		{"type":"failsafe","id":N,"term":N,"seq":N,"ttl_ms":N}	asked by REST
 *		{"type":"done","action":"...","error":"..."}	error absent = done
 *		{"type":"applied","index":N,"left_out":{"name":"why"}}
 *
 *	state
 *		"role":"primary"|"standby", "accepts_reads":bool, "timeline":N,
 *		"lsn":N (primary: flushed; standby: max of received and replayed),
 *		"received":N, "replayed":N, "replay_paused":bool,
 *		"replication_state":"streaming"|"", "term":N, "deadline":N (ns of
 *		CLOCK_BOOTTIME; 0 = none), "open_without_end":bool, "paused":bool,
 *		"session":"...", "leader":"name", "leader_timeline":N, "ttl_ms":N,
 *		"consul_seen":N (s since the epoch, 0 = never), "optime":N,
 *		"pending_restart":bool, "sysid":"N", "started":"timestamp",
 *		"started_us":N, "server_version":150006, "rule":N,
 *		"leader_settings":{"max_connections":N, ...}	absent = not known
 *
 * A newer version is answered with {"type":"error","error":"..."} and closed.
 */
#ifndef PGHA_CONTROL_H
#define PGHA_CONTROL_H

#include <jansson.h>
#include <poll.h>

#include "core/types.h"

#define HA_CONTROL_VERSION 1
#define HA_CONTROL_LINE_MAX (256 * 1024)

typedef struct HaControlServer HaControlServer;

/* a message of the connected worker; message is borrowed */
typedef void (*HaControlMessage) (void *arg, const char *type, json_t *message);
/* the worker came (true) or went (false) */
typedef void (*HaControlPresence) (void *arg, bool present);

extern HaControlServer *pgha_control_listen(const char *path,
											HaControlMessage message,
											HaControlPresence presence,
											void *arg, char *why);
extern void pgha_control_free(HaControlServer *server);
#define HA_CONTROL_FDS 2
extern int	pgha_control_fds(const HaControlServer *server, struct pollfd *fds);
extern void pgha_control_process(HaControlServer *server);
extern bool pgha_control_connected(const HaControlServer *server);
/* Queue a message for the worker; false if none is there or it doesn't read. */
extern bool pgha_control_send(HaControlServer *server, json_t *message);

#endif							/* PGHA_CONTROL_H */
