/*
 * notify.h
 *	  Words to the service manager: sd_notify(3)'s protocol, a datagram to the
 *	  socket that NOTIFY_SOCKET names.  Without one nothing is said.
 */
#ifndef PGHA_NOTIFY_H
#define PGHA_NOTIFY_H

#include <stdbool.h>

/* "READY=1", "STATUS=...", several separated by newlines; false: not sent */
extern bool pgha_notify(const char *state);

#endif							/* PGHA_NOTIFY_H */
