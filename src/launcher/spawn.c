/*
 * spawn.c
 *	  fork and exec as the launcher wants them for every child.
 *
 * Between fork and exec only async-signal-safe functions are called: all that
 * needs memory is made before.  What goes wrong there comes back through a
 * pipe that exec closes.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "dcs/documents.h"
#include "launcher/spawn.h"

#ifndef CLOSE_RANGE_CLOEXEC
#define CLOSE_RANGE_CLOEXEC (1U << 2)
#endif

/*
 * Somebody who only looks whether the lock is free (pg_ha_launcher --check)
 * holds it for microseconds: a few tries tell him from an instance.
 */
#define SPAWN_LOCK_TRIES 5
#define SPAWN_LOCK_PAUSE_NS (20 * 1000 * 1000)

extern char **environ;

/* where a child failed before it became the program */
typedef enum SpawnStage
{
	SPAWN_STDIO,
	SPAWN_LOCK_OPEN,
	SPAWN_LOCK,
	SPAWN_EXEC,
} SpawnStage;

typedef struct SpawnFailure
{
	SpawnStage	stage;
	int			error;			/* errno */
} SpawnFailure;

/*
 * Names a child doesn't inherit: they would override or add to what is said on
 * its command line, or belong to the launcher's own parent.
 */
static const char *const spawn_unset[] = {
	"NOTIFY_SOCKET", "WATCHDOG_PID", "WATCHDOG_USEC",
	"LISTEN_FDS", "LISTEN_PID", "LISTEN_FDNAMES",
	"PGDATA", "PGPORT", "PGHOST", "PGHOSTADDR", "PGUSER", "PGPASSWORD",
	"PGDATABASE", "PGSERVICE", "PGOPTIONS", "PGAPPNAME",
	"PGTARGETSESSIONATTRS", "PGDATESTYLE", "PGTZ", "PGCLIENTENCODING",
	"PG_COLOR", NULL
};

int
pgha_pidfd_open(pid_t pid)
{
	/* pidfds are close-on-exec by definition */
	return (int) syscall(SYS_pidfd_open, pid, 0);
}

int
pgha_pidfd_signal(int pidfd, int signo)
{
	return (int) syscall(SYS_pidfd_send_signal, pidfd, signo, NULL, 0);
}

/* "NAME=value" or "NAME": same names? */
static bool
spawn_same_name(const char *a, const char *b)
{
	size_t		len = strcspn(a, "=");

	return len == strcspn(b, "=") && strncmp(a, b, len) == 0;
}

static bool
spawn_name_in(const char *entry, const char *const *names)
{
	for (int i = 0; names && names[i]; i++)
		if (spawn_same_name(entry, names[i]))
			return true;
	return false;
}

/* The child's environment: an array to be freed, its strings borrowed. */
static char **
spawn_environment(const char *const *add)
{
	size_t		n = 0;
	size_t		k = 0;
	char	  **result;

	for (char **e = environ; *e; e++)
		n++;
	for (int i = 0; add && add[i]; i++)
		n++;
	result = calloc(n + 1, sizeof(char *));
	if (!result)
		return NULL;
	for (char **e = environ; *e; e++)
		if (!spawn_name_in(*e, spawn_unset) && !spawn_name_in(*e, add))
			result[k++] = *e;
	for (int i = 0; add && add[i]; i++)
		result[k++] = (char *) add[i];
	return result;
}

static void
child_fail(int report_fd, SpawnStage stage)
{
	SpawnFailure failure = {.stage = stage, .error = errno};

	if (write(report_fd, &failure, sizeof(failure)) < 0)
		_exit(126);
	_exit(127);
}

static void
child_reset_signals(void)
{
	sigset_t	none;

	for (int signo = 1; signo < NSIG; signo++)
		signal(signo, SIG_DFL);
	sigemptyset(&none);
	sigprocmask(SIG_SETMASK, &none, NULL);
}

static void
child_stdio(const HaSpawn *spawn, int report_fd)
{
	int			in = spawn->stdin_fd;

	if (in < 0)
		in = open("/dev/null", O_RDONLY | O_CLOEXEC);
	if (in < 0 || dup2(in, STDIN_FILENO) < 0 ||
		(spawn->stdout_fd >= 0 && dup2(spawn->stdout_fd, STDOUT_FILENO) < 0) ||
		(spawn->stderr_fd >= 0 && dup2(spawn->stderr_fd, STDERR_FILENO) < 0))
		child_fail(report_fd, SPAWN_STDIO);
}

/* An open file description of the child's own, so that the lock is too. */
static void
child_take_lock(const char *path, int report_fd)
{
	struct timespec pause = {.tv_nsec = SPAWN_LOCK_PAUSE_NS};
	int			fd = open(path, O_RDWR | O_CREAT, 0600);

	if (fd < 0)
		child_fail(report_fd, SPAWN_LOCK_OPEN);
	for (int try = 1; flock(fd, LOCK_EX | LOCK_NB) < 0; try++)
	{
		if (errno != EWOULDBLOCK || try == SPAWN_LOCK_TRIES)
			child_fail(report_fd, SPAWN_LOCK);
		nanosleep(&pause, NULL);
	}
	if (fd == HA_LOCK_FD)
		return;
	if (dup2(fd, HA_LOCK_FD) < 0)
		child_fail(report_fd, SPAWN_LOCK_OPEN);
	close(fd);
}

static void
child_run(const HaSpawn *spawn, char **envp, pid_t launcher, int report_fd)
{
	/* out of the way of the lock's number */
	report_fd = fcntl(report_fd, F_DUPFD_CLOEXEC, HA_LOCK_FD + 1);
	if (report_fd < 0)
		_exit(126);
	setsid();
	if (spawn->ends_with_launcher)
	{
		prctl(PR_SET_PDEATHSIG, SIGKILL);
		if (getppid() != launcher)
			_exit(126);
	}
	child_reset_signals();
	child_stdio(spawn, report_fd);

	/*
	 * Whatever a library left open without close-on-exec stays here.  Kernels
	 * before 5.11 don't know it; our own descriptors have the flag anyway.
	 */
	syscall(SYS_close_range, 3, ~0U, CLOSE_RANGE_CLOEXEC);
	if (spawn->lock_file)
		child_take_lock(spawn->lock_file, report_fd);
	execve(spawn->argv[0], (char *const *) spawn->argv, envp);
	child_fail(report_fd, SPAWN_EXEC);
}

static void
spawn_describe(const HaSpawn *spawn, const SpawnFailure *failure, char *why)
{
	const char *error = strerror(failure->error);

	switch (failure->stage)
	{
		case SPAWN_STDIO:
			snprintf(why, HA_WHY_MAX, "could not set up standard files for "
					 "\"%.100s\": %s", spawn->argv[0], error);
			break;
		case SPAWN_LOCK_OPEN:
			snprintf(why, HA_WHY_MAX, "could not open lock file \"%.100s\": %s",
					 spawn->lock_file, error);
			break;
		case SPAWN_LOCK:
			if (failure->error == EWOULDBLOCK)
				error = "processes of the instance are left";
			snprintf(why, HA_WHY_MAX, "could not lock \"%.100s\": %s",
					 spawn->lock_file, error);
			break;
		case SPAWN_EXEC:
			snprintf(why, HA_WHY_MAX, "could not execute \"%.120s\": %s",
					 spawn->argv[0], error);
			break;
	}
}

/* Wait until the child is the program: true, or has said why it isn't. */
static bool
spawn_confirm(const HaSpawn *spawn, pid_t pid, int report_fd, char *why)
{
	SpawnFailure failure;
	ssize_t		got;

	do
		got = read(report_fd, &failure, sizeof(failure));
	while (got < 0 && errno == EINTR);
	if (got == 0)
		return true;
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	if (got == (ssize_t) sizeof(failure))
		spawn_describe(spawn, &failure, why);
	else
		snprintf(why, HA_WHY_MAX, "could not start \"%.120s\"",
				 spawn->argv[0]);
	return false;
}

static pid_t
spawn_fork(const HaSpawn *spawn, char **envp, char *why)
{
	pid_t		launcher = getpid();
	pid_t		pid;
	int			report[2];
	bool		running;

	if (pipe2(report, O_CLOEXEC) < 0)
	{
		snprintf(why, HA_WHY_MAX, "could not create pipe: %s",
				 strerror(errno));
		return 0;
	}
	pid = fork();
	if (pid == 0)
		child_run(spawn, envp, launcher, report[1]);
	close(report[1]);
	if (pid < 0)
	{
		snprintf(why, HA_WHY_MAX, "could not fork: %s", strerror(errno));
		close(report[0]);
		return 0;
	}
	running = spawn_confirm(spawn, pid, report[0], why);
	close(report[0]);
	return running ? pid : 0;
}

pid_t
pgha_spawn(const HaSpawn *spawn, int *pidfd, char *why)
{
	char	  **envp = spawn_environment(spawn->env);
	pid_t		pid;

	if (!envp)
	{
		snprintf(why, HA_WHY_MAX, "out of memory");
		return 0;
	}
	pid = spawn_fork(spawn, envp, why);
	free(envp);
	if (pid == 0)
		return 0;
	*pidfd = pgha_pidfd_open(pid);
	if (*pidfd >= 0)
		return pid;

	/* a child that can't be watched is worse than none */
	snprintf(why, HA_WHY_MAX, "could not watch process %d: %s", (int) pid,
			 strerror(errno));
	kill(-pid, SIGKILL);
	while (waitpid(pid, NULL, 0) < 0 && errno == EINTR)
		;
	return 0;
}
