/*
 * clock_step.c
 *	  Preloaded by the dynamic linker: the wall clock is off by as many seconds
 *	  as the file $CLOCK_STEP says.  Other clocks are what they are, as when an
 *	  operator sets the date.
 */
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif

#include <dlfcn.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

static long
step(void)
{
	const char *name = getenv("CLOCK_STEP");
	char		text[32] = "";
	int			file = name == NULL ? -1 : open(name, O_RDONLY | O_CLOEXEC);

	if (file >= 0)
	{
		if (read(file, text, sizeof(text) - 1) < 0)
			text[0] = '\0';
		close(file);
	}
	return atol(text);
}

#define REAL(name) ((__typeof__(&name)) dlsym(RTLD_NEXT, #name))

int
clock_gettime(clockid_t clock, struct timespec *now)
{
	int			result = REAL(clock_gettime) (clock, now);

	if (result == 0 &&
		(clock == CLOCK_REALTIME || clock == CLOCK_REALTIME_COARSE))
		now->tv_sec += step();
	return result;
}

int
gettimeofday(struct timeval *restrict now, void *restrict zone)
{
	int			result = REAL(gettimeofday) (now, zone);

	if (result == 0)
		now->tv_sec += step();
	return result;
}

time_t
time(time_t *out)
{
	struct timespec now;

	clock_gettime(CLOCK_REALTIME, &now);
	if (out != NULL)
		*out = now.tv_sec;
	return now.tv_sec;
}
