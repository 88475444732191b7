/*
 * instance.c
 *	  Which processes of the instance are left, and their end.
 *
 * "Gone" is what leases are released on, so it is said only when two
 * independent witnesses agree: the lock's file is unlocked, and no process is
 * attached to the shared memory that postmaster.pid names (which also sees an
 * instance started by hand, and one whose lock file somebody removed).
 */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/ipc.h>
#include <sys/shm.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dcs/state.h"
#include "launcher/instance.h"
#include "launcher/job.h"
#include "launcher/postmaster.h"
#include "launcher/spawn.h"

#define PID_FILE_MAX 8192
/* lines of it: LOCK_FILE_LINE_... of miscadmin.h */
#define PID_FILE_PORT_LINE 4
#define PID_FILE_SOCKET_LINE 5	/* the first socket's directory */
#define PID_FILE_SHM_LINE 7		/* "key id" */
#define CHILDREN_MAX 4096		/* looked at per call; the next one goes on */
#define PROC_PATH_MAX 64

/* The lock file, as a descriptor found in /proc can be compared with it. */
typedef struct LockFile
{
	char		path[PATH_MAX];
	bool		exists;
	dev_t		dev;
	ino_t		ino;
} LockFile;

void
pgha_instance_lock_path(const HaNode *node, char path[PATH_MAX])
{
	snprintf(path, PATH_MAX, "%s/%s.lock", node->run_directory, node->name);
}

static void
lock_file_init(LockFile *lock, const HaNode *node)
{
	char		path[PATH_MAX];
	struct stat st;

	pgha_instance_lock_path(node, path);
	if (!realpath(path, lock->path))
		strcpy(lock->path, path);
	lock->exists = stat(path, &st) == 0;
	lock->dev = lock->exists ? st.st_dev : 0;
	lock->ino = lock->exists ? st.st_ino : 0;
}

bool
pgha_instance_locked(const HaNode *node)
{
	char		path[PATH_MAX];
	bool		locked;
	int			fd;

	pgha_instance_lock_path(node, path);
	fd = open(path, O_RDWR | O_CLOEXEC);
	if (fd < 0)
		return errno != ENOENT;
	locked = flock(fd, LOCK_EX | LOCK_NB) < 0;
	close(fd);
	return locked;
}

/* The n-th line of a text, from 1; "" if there are fewer. */
static const char *
text_line(const char *text, int n)
{
	while (--n > 0)
	{
		text = strchr(text, '\n');
		if (!text)
			return "";
		text++;
	}
	return text;
}

static void
pid_file_socket(HaPidFile *file, const char *text)
{
	const char *directory = text_line(text, PID_FILE_SOCKET_LINE);
	int			len = (int) strcspn(directory, "\n");
	int			port = atoi(text_line(text, PID_FILE_PORT_LINE));

	if (len > 0 && len < PATH_MAX - 32 && port > 0)
		snprintf(file->socket_lock, sizeof(file->socket_lock),
				 "%.*s/.s.PGSQL.%d.lock", len, directory, port);
}

pid_t
pgha_instance_lock_file_pid(const char *path)
{
	char		why[HA_WHY_MAX];
	bool		missing;
	size_t		len;
	char	   *text = pgha_file_read(path, PID_FILE_MAX, &len, &missing, why);
	pid_t		pid = text ? (pid_t) strtol(text, NULL, 10) : 0;

	free(text);
	return pid;
}

bool
pgha_instance_read_pid_file(const HaNode *node, HaPidFile *file, char *why)
{
	char		path[PATH_MAX];
	bool		missing;
	size_t		len;
	char	   *text;

	memset(file, 0, sizeof(*file));
	snprintf(path, sizeof(path), "%s/postmaster.pid", node->data_directory);
	text = pgha_file_read(path, PID_FILE_MAX, &len, &missing, why);
	if (!text)
		return missing;
	file->present = true;
	file->pid = (pid_t) strtol(text, NULL, 10);
	if (sscanf(text_line(text, PID_FILE_SHM_LINE), "%lu %ld", &file->shm_key,
			   &file->shm_id) != 2)
		file->shm_key = 0;
	pid_file_socket(file, text);
	free(text);
	return true;
}

/*
 * The segment must have been made by the postmaster of that file: after a
 * reboot its id may be another instance's.
 */
static bool
shm_attached(const HaNode *node)
{
	HaPidFile	file;
	char		why[HA_WHY_MAX];
	struct shmid_ds shm;

	if (!pgha_instance_read_pid_file(node, &file, why))
		return true;
	if (file.shm_key == 0 || shmctl((int) file.shm_id, IPC_STAT, &shm) < 0)
		return false;
	return (unsigned long) (unsigned int) shm.shm_perm.__key == file.shm_key &&
		shm.shm_cpid == file.pid && shm.shm_nattch > 0;
}

bool
pgha_instance_gone(const HaNode *node)
{
	return !pgha_instance_locked(node) && !shm_attached(node);
}

/* Does the link in /proc lead to the lock file, also after its removal? */
static bool
link_is_lock(const LockFile *lock, const char *link)
{
	char		target[PATH_MAX];
	size_t		path_len = strlen(lock->path);
	ssize_t		len = readlink(link, target, sizeof(target) - 1);
	struct stat st;

	if (len < 0)
		return false;
	target[len] = '\0';
	if (strncmp(target, lock->path, path_len) == 0 &&
		(target[path_len] == '\0' ||
		 strcmp(target + path_len, " (deleted)") == 0))
		return true;

	/* other names for the same file: only paths are worth a look */
	return target[0] == '/' && lock->exists && stat(link, &st) == 0 &&
		st.st_dev == lock->dev && st.st_ino == lock->ino;
}

/* Other users' processes can't be looked into, and can't be killed either. */
static bool
process_has_lock(const LockFile *lock, pid_t pid)
{
	char		path[PROC_PATH_MAX + NAME_MAX];
	struct dirent *entry;
	bool		found;
	DIR		   *dir;

	/* where it is in all of PostgreSQL's own processes */
	snprintf(path, sizeof(path), "/proc/%d/fd/%d", (int) pid, HA_LOCK_FD);
	if (link_is_lock(lock, path))
		return true;
	snprintf(path, sizeof(path), "/proc/%d/fd", (int) pid);
	dir = opendir(path);
	if (!dir)
		return false;
	found = false;
	while (!found && (entry = readdir(dir)) != NULL)
	{
		snprintf(path, sizeof(path), "/proc/%d/fd/%s", (int) pid,
				 entry->d_name);
		found = link_is_lock(lock, path);
	}
	closedir(dir);
	return found;
}

bool
pgha_instance_holds_lock(const HaNode *node, pid_t pid)
{
	LockFile	lock;

	lock_file_init(&lock, node);
	return process_has_lock(&lock, pid);
}

bool
pgha_instance_works_in(const HaNode *node, pid_t pid)
{
	char		path[PROC_PATH_MAX];
	struct stat cwd;
	struct stat dir;

	snprintf(path, sizeof(path), "/proc/%d/cwd", (int) pid);
	return stat(path, &cwd) == 0 && stat(node->data_directory, &dir) == 0 &&
		cwd.st_dev == dir.st_dev && cwd.st_ino == dir.st_ino;
}

static bool
remove_stale(const char *path, char *why)
{
	if (unlink(path) == 0 || errno == ENOENT)
		return true;
	snprintf(why, HA_WHY_MAX, "could not remove stale \"%.120s\": %s", path,
			 strerror(errno));
	return false;
}

/*
 * postmaster.pid of a server that is gone may name a process of these days:
 * after a reboot, or in a container, pids come again; or a zombie nobody reaps.
 * PostgreSQL would refuse to start for ever then.  The file, and the socket's
 * lock file with it, is removed when it is proven stale: nobody holds the lock,
 * nobody is attached to its shared memory (pgha_instance_gone), and the process
 * it names doesn't have the data directory as its own, as a server always has.
 * Processes of other users PostgreSQL ignores by itself.
 */
static bool
check_pid_file(const HaNode *node, char *why)
{
	HaPidFile	file;
	char		path[PATH_MAX];
	pid_t		pid;

	if (!pgha_instance_read_pid_file(node, &file, why))
		return false;
	pid = file.pid < 0 ? -file.pid : file.pid;
	if (!file.present || pid == 0 || kill(pid, 0) < 0)
		return true;
	if (pgha_instance_works_in(node, pid))
	{
		snprintf(why, HA_WHY_MAX, "data directory is in use by another "
				 "postmaster, pid %d", (int) pid);
		return false;
	}
	snprintf(path, sizeof(path), "%s/postmaster.pid", node->data_directory);
	if (file.socket_lock[0] != '\0' &&
		pgha_instance_lock_file_pid(file.socket_lock) == file.pid &&
		!remove_stale(file.socket_lock, why))
		return false;
	return remove_stale(path, why);
}

static bool
check_gone(const HaNode *node, char *why)
{
	HaPidFile	file;

	if (pgha_instance_gone(node))
		return true;
	if (pgha_instance_locked(node))
		snprintf(why, HA_WHY_MAX, "processes of the instance are left, or its "
				 "lock file in \"%.80s\" can't be used", node->run_directory);
	else if (pgha_instance_read_pid_file(node, &file, why))
		snprintf(why, HA_WHY_MAX, "data directory is in use by another "
				 "postmaster, pid %d, or by what it left behind",
				 (int) file.pid);
	return false;
}

bool
pgha_instance_ready(const HaNode *node, char *why)
{
	return check_gone(node, why) && check_pid_file(node, why);
}

/* Append the children of one thread of this process. */
static int
thread_children(const char *tid, pid_t *pids, int n)
{
	char		path[PROC_PATH_MAX + NAME_MAX];
	FILE	   *file;
	int			pid;

	snprintf(path, sizeof(path), "/proc/self/task/%s/children", tid);
	file = fopen(path, "re");
	if (!file)
		return n;
	while (n < CHILDREN_MAX && fscanf(file, "%d", &pid) == 1)
		pids[n++] = pid;
	fclose(file);
	return n;
}

static int
own_children(pid_t *pids)
{
	DIR		   *dir = opendir("/proc/self/task");
	struct dirent *entry;
	int			n = 0;

	while (dir && (entry = readdir(dir)) != NULL)
		if (isdigit((unsigned char) entry->d_name[0]))
			n = thread_children(entry->d_name, pids, n);
	if (dir)
		closedir(dir);
	return n;
}

static bool
child_is_zombie(pid_t pid)
{
	siginfo_t	info = {0};

	return waitid(P_PID, (id_t) pid, &info, WEXITED | WNOHANG | WNOWAIT) == 0 &&
		info.si_pid == pid;
}

typedef struct PidList
{
	int			n;
	pid_t		pids[CHILDREN_MAX];
} PidList;

static bool
list_has(const PidList *list, pid_t pid)
{
	for (int i = 0; i < list->n; i++)
		if (list->pids[i] == pid)
			return true;
	return false;
}

/* Whoever the postmaster left behind, holding the lock or not. */
static int
kill_children(const PidList *children)
{
	int			killed = 0;

	for (int i = 0; i < children->n; i++)
		if (!pgha_job_owns(children->pids[i]) &&
			!child_is_zombie(children->pids[i]) &&
			kill(children->pids[i], SIGKILL) == 0)
			killed++;
	return killed;
}

/* A backend of a server that was started by hand, and is gone itself. */
static bool
process_is_left_over(const HaNode *node, pid_t pid)
{
	char		path[PROC_PATH_MAX];
	char		name[16] = "";
	FILE	   *file;

	if (!pgha_instance_works_in(node, pid))
		return false;
	snprintf(path, sizeof(path), "/proc/%d/comm", (int) pid);
	file = fopen(path, "re");
	if (!file)
		return false;
	if (!fgets(name, sizeof(name), file))
		name[0] = '\0';
	fclose(file);
	return strcmp(name, "postgres\n") == 0;
}

/*
 * Whoever else holds the lock: programs that backends started, and everybody
 * if the instance was adopted.
 */
static int
kill_holders(const HaNode *node, const LockFile *lock,
			 const PidList *children)
{
	DIR		   *dir = opendir("/proc");
	struct dirent *entry;
	pid_t		self = getpid();
	int			killed = 0;

	while (dir && (entry = readdir(dir)) != NULL)
	{
		pid_t		pid = (pid_t) atoi(entry->d_name);
		bool		known = pid <= 1 || pid == self ||
			(list_has(children, pid) && !pgha_job_owns(pid));

		if (!known &&
			(process_has_lock(lock, pid) || process_is_left_over(node, pid)) &&
			kill(pid, SIGKILL) == 0)
			killed++;
	}
	if (dir)
		closedir(dir);
	return killed;
}

/*
 * The postmaster goes first: it would take its children's deaths for crashes
 * and start new ones.  Then those that need no search, because they compete for
 * the processor with the search.  Who was forked meanwhile is found by the next
 * call.
 */
int
pgha_instance_kill(const HaNode *node)
{
	LockFile	lock;
	HaPidFile	file;
	PidList		children;
	char		why[HA_WHY_MAX];
	int			killed;

	lock_file_init(&lock, node);
	if (pgha_instance_read_pid_file(node, &file, why) && file.pid > 1 &&
		process_has_lock(&lock, file.pid))
		kill(file.pid, SIGKILL);
	children.n = own_children(children.pids);
	killed = kill_children(&children);
	return killed + kill_holders(node, &lock, &children);
}

void
pgha_reap_orphans(const HaPostmaster *postmaster, pid_t job)
{
	pid_t		pids[CHILDREN_MAX];
	int			npids = own_children(pids);

	for (int i = 0; i < npids; i++)
		if (pids[i] != postmaster->pid && pids[i] != job)
			waitpid(pids[i], NULL, WNOHANG);
}
