/*
 * notify.c
 *	  Words to the service manager.
 *
 * The variable stays the launcher's own: spawn.c keeps it from every child, so
 * that a postmaster does not speak for the unit.
 */
#include "launcher/notify.h"

#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

/* A name that begins with "@" is of the abstract kind. */
static bool
notify_address(const char *name, struct sockaddr_un *address, socklen_t *len)
{
	size_t		n = strlen(name);

	if ((name[0] != '/' && name[0] != '@') || n >= sizeof(address->sun_path))
		return false;
	memset(address, 0, sizeof(*address));
	address->sun_family = AF_UNIX;
	memcpy(address->sun_path, name, n);
	if (name[0] == '@')
		address->sun_path[0] = '\0';
	*len = (socklen_t) (offsetof(struct sockaddr_un, sun_path) + n);
	return true;
}

bool
pgha_notify(const char *state)
{
	const char *name = getenv("NOTIFY_SOCKET");
	struct sockaddr_un address;
	socklen_t	len;
	bool		sent = false;
	int			fd;

	if (name == NULL || !notify_address(name, &address, &len))
		return false;
	fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
	if (fd >= 0)
	{
		sent = sendto(fd, state, strlen(state), MSG_NOSIGNAL | MSG_DONTWAIT,
					  (struct sockaddr *) &address, len) >= 0;
		close(fd);
	}
	return sent;
}
