/*
 * disk_fault.c
 *	  Preloaded by the dynamic linker into a server: while the file $DISK_FAULT
 *	  exists, writing WAL fails or hangs, as the file's first letter says.
 *
 *		f	full: ENOSPC
 *		h	hang: until the file is gone
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/uio.h>
#include <unistd.h>

static int
is_wal(int fd)
{
	char		link[64];
	char		path[4096];
	ssize_t		len;

	snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
	len = readlink(link, path, sizeof(path) - 1);
	if (len <= 0)
		return 0;
	path[len] = '\0';
	return strstr(path, "/pg_wal/") != NULL;
}

/* 'f', or 0 once there is no fault (any more). */
static char
fault(int fd)
{
	const char *file = getenv("DISK_FAULT");
	char		kind = 0;

	while (file != NULL && access(file, F_OK) == 0 && is_wal(fd))
	{
		int			control = open(file, O_RDONLY | O_CLOEXEC);

		kind = 0;
		if (control < 0 || read(control, &kind, 1) != 1)
			kind = 0;
		if (control >= 0)
			close(control);
		if (kind != 'h')
			return kind;
		usleep(20000);
	}
	return 0;
}

#define REAL(name) ((__typeof__(&name)) dlsym(RTLD_NEXT, #name))

ssize_t
pwrite(int fd, const void *data, size_t len, off_t offset)
{
	if (fault(fd) == 'f')
	{
		errno = ENOSPC;
		return -1;
	}
	return REAL(pwrite) (fd, data, len, offset);
}

ssize_t
pwrite64(int fd, const void *data, size_t len, off_t offset)
{
	return pwrite(fd, data, len, offset);
}

ssize_t
pwritev(int fd, const struct iovec *data, int n, off_t offset)
{
	if (fault(fd) == 'f')
	{
		errno = ENOSPC;
		return -1;
	}
	return REAL(pwritev) (fd, data, n, offset);
}

ssize_t
pwritev64(int fd, const struct iovec *data, int n, off_t offset)
{
	return pwritev(fd, data, n, offset);
}

int
fdatasync(int fd)
{
	(void) fault(fd);
	return REAL(fdatasync) (fd);
}
