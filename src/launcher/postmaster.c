/*
 * postmaster.c
 *	  The postmaster: started, adopted, watched, promoted.
 */
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dcs/http.h"
#include "dcs/state.h"
#include "launcher/directory.h"
#include "launcher/instance.h"
#include "launcher/postmaster.h"
#include "launcher/spawn.h"

void
pgha_postmaster_init(HaPostmaster *postmaster)
{
	*postmaster = (HaPostmaster) {.pidfd = -1,.exit_status = -1};
}

static void
describe_other_launcher(const HaNode *node, int fd, char *why)
{
	char		pid[16] = "";
	ssize_t		len = pread(fd, pid, sizeof(pid) - 1, 0);

	if (len > 0)
		pid[strspn(pid, "0123456789")] = '\0';
	snprintf(why, HA_WHY_MAX, "another pg_ha_launcher runs for member "
			 "\"%.63s\" (pid %s)", node->name, len > 0 ? pid : "unknown");
}

/* The descriptor is kept until the process ends: it is the lock. */
static bool
take_launcher_lock(const HaNode *node, char *why)
{
	char		path[PATH_MAX];
	int			fd;

	snprintf(path, sizeof(path), "%s/%s.launcher.lock", node->run_directory,
			 node->name);
	fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
	if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0)
	{
		/* the pid is only for the message above */
		if (ftruncate(fd, 0) < 0 || dprintf(fd, "%d\n", (int) getpid()) < 0)
			errno = 0;
		return true;
	}
	if (fd >= 0 && errno == EWOULDBLOCK)
		describe_other_launcher(node, fd, why);
	else
		snprintf(why, HA_WHY_MAX, "could not lock \"%.120s\": %s", path,
				 strerror(errno));
	if (fd >= 0)
		close(fd);
	return false;
}

bool
pgha_postmaster_prepare(const HaNode *node, char *why)
{
	if (prctl(PR_SET_CHILD_SUBREAPER, 1) < 0)
	{
		snprintf(why, HA_WHY_MAX, "could not become a subreaper: %s",
				 strerror(errno));
		return false;
	}
	return take_launcher_lock(node, why);
}

static bool
check_whole(const HaNode *node, char *why)
{
	HaNodeFile	file;

	if (!pgha_state_read_node(node->state_directory, &file, why))
		return false;
	if (file.half_done[0] == '\0')
		return true;
	snprintf(why, HA_WHY_MAX, "data directory is half-done: a %s did not "
			 "finish", file.half_done);
	return false;
}

static bool
set_signal_files(const HaNode *node, bool as_primary, char *why)
{
	if (as_primary && pgha_directory_has(node, "recovery.signal"))
	{
		snprintf(why, HA_WHY_MAX, "data directory has a recovery.signal: a "
				 "point-in-time recovery has to be finished by hand");
		return false;
	}
	pgha_directory_forget_skipped(node);
	return pgha_directory_set_standby(node, !as_primary, why);
}

bool
pgha_postmaster_start(HaPostmaster *postmaster, const HaNode *node,
					  bool as_primary, char *why)
{
	char		lock_file[PATH_MAX];
	char	  **argv;
	HaSpawn		spawn = {.stdin_fd = -1,.stdout_fd = -1,.stderr_fd = -1};

	if (!check_whole(node, why) || !pgha_instance_ready(node, why) ||
		!set_signal_files(node, as_primary, why))
		return false;
	argv = pgha_render_argv(node);
	if (!argv)
	{
		snprintf(why, HA_WHY_MAX, "out of memory");
		return false;
	}
	pgha_instance_lock_path(node, lock_file);
	spawn.argv = (const char *const *) argv;
	spawn.lock_file = lock_file;
	pgha_postmaster_init(postmaster);
	postmaster->pid = pgha_spawn(&spawn, &postmaster->pidfd, why);
	postmaster->child = postmaster->pid > 0;
	postmaster->started_at = pgha_now();
	for (int i = 0; argv[i]; i++)
		free(argv[i]);
	free(argv);
	return postmaster->child;
}

bool
pgha_postmaster_adopt(HaPostmaster *postmaster, const HaNode *node, char *why)
{
	HaPidFile	file;
	int			pidfd;

	if (!pgha_instance_read_pid_file(node, &file, why))
		return false;
	if (!file.present || file.pid <= 0)
	{
		snprintf(why, HA_WHY_MAX, "no postmaster runs in \"%.100s\"",
				 node->data_directory);
		return false;
	}
	pidfd = pgha_pidfd_open(file.pid);

	/* looked at after the pidfd holds on to it: it is this process */
	if (pidfd < 0 || !pgha_instance_works_in(node, file.pid) ||
		!pgha_instance_holds_lock(node, file.pid))
	{
		snprintf(why, HA_WHY_MAX, "process %d of postmaster.pid is %s",
				 (int) file.pid, pidfd < 0 ? "gone" :
				 "no postmaster that pg_ha_launcher started");
		if (pidfd >= 0)
			close(pidfd);
		return false;
	}
	pgha_postmaster_init(postmaster);
	postmaster->pid = file.pid;
	postmaster->pidfd = pidfd;
	postmaster->started_at = pgha_now();
	return true;
}

static bool
reap_child(HaPostmaster *postmaster)
{
	int			status;
	pid_t		pid = waitpid(postmaster->pid, &status, WNOHANG);

	if (pid == 0 || (pid < 0 && errno == EINTR))
		return false;
	postmaster->exit_status = pid > 0 ? status : -1;
	return true;
}

static bool
adopted_ended(HaPostmaster *postmaster)
{
	struct pollfd fd = {.fd = postmaster->pidfd,.events = POLLIN};

	if (poll(&fd, 1, 0) != 1)
		return false;
	postmaster->exit_status = -1;
	return true;
}

bool
pgha_postmaster_ended(HaPostmaster *postmaster)
{
	if (postmaster->pid == 0)
		return false;
	if (!(postmaster->child ? reap_child(postmaster) :
		  adopted_ended(postmaster)))
		return false;
	close(postmaster->pidfd);
	postmaster->pidfd = -1;
	postmaster->pid = 0;
	postmaster->child = false;
	return true;
}

void
pgha_postmaster_signal(const HaPostmaster *postmaster, int signo)
{
	/* through the pidfd: an adopted one's pid may be reused */
	if (postmaster->pid > 0)
		pgha_pidfd_signal(postmaster->pidfd, signo);
}

bool
pgha_postmaster_stuck(const HaPostmaster *postmaster)
{
	char		path[64];
	char		text[512];
	const char *state = NULL;
	size_t		len;
	FILE	   *file;

	if (postmaster->pid <= 0)
		return false;
	snprintf(path, sizeof(path), "/proc/%d/stat", (int) postmaster->pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	len = fread(text, 1, sizeof(text) - 1, file);
	fclose(file);
	text[len] = '\0';
	/* "pid (name) S ...": the name may hold anything */
	state = strrchr(text, ')');
	return state && state[1] == ' ' && strchr("TtD", state[2]) && state[2];
}

bool
pgha_postmaster_promote(const HaPostmaster *postmaster, const HaNode *node,
						char *why)
{
	char		path[PATH_MAX];
	int			fd;

	if (!pgha_directory_path(node, "promote", path, why))
		return false;
	fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
	if (fd < 0)
	{
		snprintf(why, HA_WHY_MAX, "could not create \"%.120s\": %s", path,
				 strerror(errno));
		return false;
	}
	close(fd);
	if (postmaster->pid > 0 &&
		pgha_pidfd_signal(postmaster->pidfd, SIGUSR1) == 0)
		return true;
	snprintf(why, HA_WHY_MAX, "could not signal the postmaster: it is gone");
	unlink(path);
	return false;
}
