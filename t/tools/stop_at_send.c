/*
 * stop_at_send.c
 *	  Preloaded by the dynamic linker into a server: whoever finds the file
 *	  $STOP_AT_SEND removes it and stops inside send(), before anything left.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <dlfcn.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

ssize_t
send(int fd, const void *data, size_t len, int flags)
{
	static ssize_t (*real) (int, const void *, size_t, int);
	const char *file = getenv("STOP_AT_SEND");

	if (real == NULL)
		real = (ssize_t (*) (int, const void *, size_t, int))
			dlsym(RTLD_NEXT, "send");
	if (file != NULL && unlink(file) == 0)
		kill(getpid(), SIGSTOP);
	return real(fd, data, len, flags);
}
