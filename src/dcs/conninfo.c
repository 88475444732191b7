/*
 * conninfo.c
 *	  How a node connects to another one.
 */
#include "dcs/conninfo.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool
pgha_address_split(const char *address, char *host, size_t size, int *port)
{
	const char *colon = strrchr(address, ':');
	const char *begin = address;
	const char *end = colon;
	char	   *rest;
	long		number;

	if (colon == NULL)
		return false;
	if (address[0] == '[')
	{
		begin = address + 1;
		end = strchr(address, ']');
		if (end == NULL || end + 1 != colon)
			return false;
	}
	number = strtol(colon + 1, &rest, 10);
	if (rest == colon + 1 || *rest != '\0' || number < 1 || number > 65535 ||
		end == begin || (size_t) (end - begin) >= size)
		return false;
	memcpy(host, begin, (size_t) (end - begin));
	host[end - begin] = '\0';
	*port = (int) number;
	return true;
}

bool
pgha_conn_url_split(const char *conn_url, char *host, size_t size, int *port)
{
	char		address[HA_ADDRESS_MAX + 1];
	const char *begin = strstr(conn_url, "://");
	size_t		len;

	if (begin == NULL)
		return false;
	begin += 3;
	len = strcspn(begin, "/?");
	if (len >= sizeof(address))
		return false;
	memcpy(address, begin, len);
	address[len] = '\0';
	if (strchr(address, '@') != NULL)
		memmove(address, strchr(address, '@') + 1,
				strlen(strchr(address, '@') + 1) + 1);
	return pgha_address_split(address, host, size, port);
}

/* Append "name='value' ", quoted as libpq wants it. */
static bool
conninfo_add(char *conninfo, const char *name, const char *value)
{
	size_t		len = strlen(conninfo);
	const char *c;

	if (len + strlen(name) + 2 * strlen(value) + 4 >= HA_CONNINFO_MAX)
		return false;
	len += (size_t) sprintf(conninfo + len, "%s%s='", len > 0 ? " " : "", name);
	for (c = value; *c != '\0'; c++)
	{
		if (*c == '\'' || *c == '\\')
			conninfo[len++] = '\\';
		conninfo[len++] = *c;
	}
	conninfo[len++] = '\'';
	conninfo[len] = '\0';
	return true;
}

bool
pgha_conninfo(const char *conn_url, const char *user, const char *passfile,
			  const char *application_name, const char *dbname, char *conninfo)
{
	char		host[HA_ADDRESS_MAX + 1];
	char		port_text[8];
	int			port;

	conninfo[0] = '\0';
	if (!pgha_conn_url_split(conn_url, host, sizeof(host), &port))
		return false;
	snprintf(port_text, sizeof(port_text), "%d", port);
	return conninfo_add(conninfo, "host", host) &&
		conninfo_add(conninfo, "port", port_text) &&
		conninfo_add(conninfo, "user", user) &&
		(dbname == NULL || conninfo_add(conninfo, "dbname", dbname)) &&
		(passfile == NULL || passfile[0] == '\0' ||
		 conninfo_add(conninfo, "passfile", passfile)) &&
		conninfo_add(conninfo, "application_name", application_name) &&
		conninfo_add(conninfo, "connect_timeout", "3") &&
		conninfo_add(conninfo, "keepalives_idle", "3") &&
		conninfo_add(conninfo, "keepalives_interval", "1") &&
		conninfo_add(conninfo, "keepalives_count", "3") &&
		conninfo_add(conninfo, "tcp_user_timeout", "5000");
}
