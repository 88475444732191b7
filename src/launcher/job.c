/*
 * job.c
 *	  One child program at a time, without ever waiting for it.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "dcs/documents.h"
#include "launcher/job.h"
#include "launcher/spawn.h"

#define JOB_LINE_MAX 1024		/* longer lines are cut */
#define JOB_READ_BYTES (256 * 1024) /* per call and pipe: the loop goes on */

/*
 * After the program's end its pipes hold at most a pipe's capacity (64 kB).  A
 * grandchild may go on writing: this bounds how long it is listened to.
 */
#define JOB_DRAIN_BYTES (1024 * 1024)

typedef struct JobStream
{
	int			fd;				/* -1 = closed */
	bool		is_stderr;
	bool		cut;			/* the rest of a long line is skipped */
	size_t		len;
	char		line[JOB_LINE_MAX + 1];
} JobStream;

struct HaJob
{
	HaJob	   *next;			/* list of all jobs */
	pid_t		pid;			/* 0 = not running */
	int			pidfd;
	int			status;
	JobStream	out;
	JobStream	err;
	HaJobLine	line;
	HaJobEnd	end;
	void	   *arg;
};

static HaJob *jobs = NULL;

static void
stream_open(JobStream *stream, int fd, bool is_stderr)
{
	stream->fd = fd;
	stream->is_stderr = is_stderr;
	stream->cut = false;
	stream->len = 0;
}

static void
stream_close(JobStream *stream)
{
	if (stream->fd >= 0)
		close(stream->fd);
	stream->fd = -1;
}

static void
stream_end_line(HaJob *job, JobStream *stream)
{
	size_t		len = stream->len;

	stream->len = 0;
	stream->cut = false;
	if (len == 0)
		return;
	stream->line[len] = '\0';
	job->line(job->arg, stream->is_stderr, stream->line);
}

/* \r ends a line as well: progress is written over itself. */
static void
stream_add(HaJob *job, JobStream *stream, const char *data, size_t len)
{
	while (len > 0)
	{
		size_t		part = 0;
		size_t		room = JOB_LINE_MAX - stream->len;

		while (part < len && data[part] != '\n' && data[part] != '\r')
			part++;
		if (!stream->cut)
		{
			stream->cut = part > room;
			memcpy(stream->line + stream->len, data, part < room ? part : room);
			stream->len += part < room ? part : room;
		}
		if (part < len)
		{
			stream_end_line(job, stream);
			part++;
		}
		data += part;
		len -= part;
	}
}

static void
stream_read(HaJob *job, JobStream *stream, size_t budget)
{
	char		data[16384];

	while (stream->fd >= 0 && budget > 0)
	{
		ssize_t		got = read(stream->fd, data, sizeof(data));

		if (got < 0 && errno == EINTR)
			continue;
		if (got < 0 && errno == EAGAIN)
			return;
		if (got <= 0)
		{
			stream_close(stream);
			return;
		}
		stream_add(job, stream, data, (size_t) got);
		budget -= (size_t) got < budget ? (size_t) got : budget;
	}
}

/* A pipe of which only the reading end is ours and doesn't block. */
static bool
job_pipe(int fds[2], char *why)
{
	if (pipe2(fds, O_CLOEXEC) == 0)
	{
		if (fcntl(fds[0], F_SETFL, O_NONBLOCK) == 0)
			return true;
		close(fds[0]);
		close(fds[1]);
	}
	snprintf(why, HA_WHY_MAX, "could not create pipe: %s", strerror(errno));
	return false;
}

/* A file in memory with the program's input; -1 = failed. */
static int
job_input(const char *input, char *why)
{
	size_t		len = strlen(input);
	int			fd = memfd_create("pg_ha input", MFD_CLOEXEC);

	if (fd >= 0 && write(fd, input, len) == (ssize_t) len &&
		lseek(fd, 0, SEEK_SET) == 0)
		return fd;
	snprintf(why, HA_WHY_MAX, "could not create a file in memory: %s",
			 strerror(errno));
	if (fd >= 0)
		close(fd);
	return -1;
}

static bool
job_spawn(HaJob *job, HaSpawn *spawn, char *why)
{
	int			out[2];
	int			err[2];

	if (!job_pipe(out, why))
		return false;
	if (!job_pipe(err, why))
	{
		close(out[0]);
		close(out[1]);
		return false;
	}
	spawn->stdout_fd = out[1];
	spawn->stderr_fd = err[1];
	job->pid = pgha_spawn(spawn, &job->pidfd, why);
	close(out[1]);
	close(err[1]);
	stream_open(&job->out, out[0], false);
	stream_open(&job->err, err[0], true);
	if (job->pid > 0)
		return true;
	stream_close(&job->out);
	stream_close(&job->err);
	return false;
}

bool
pgha_job_next(HaJob *job, const HaJobOptions *options,
			  const char *const *argv, const char *const *env, char *why)
{
	HaSpawn		spawn = {.argv = argv,.env = env,.stdin_fd = -1,
		.lock_file = options->lock_file,.ends_with_launcher = true
	};
	bool		started;

	if (options->input)
	{
		spawn.stdin_fd = job_input(options->input, why);
		if (spawn.stdin_fd < 0)
			return false;
	}
	started = job_spawn(job, &spawn, why);
	if (spawn.stdin_fd >= 0)
		close(spawn.stdin_fd);
	return started;
}

HaJob *
pgha_job_start_with(const HaJobOptions *options, const char *const *argv,
					const char *const *env, HaJobLine line, HaJobEnd end,
					void *arg, char *why)
{
	HaJob	   *job = calloc(1, sizeof(HaJob));

	if (!job)
	{
		snprintf(why, HA_WHY_MAX, "out of memory");
		return NULL;
	}
	job->line = line;
	job->end = end;
	job->arg = arg;
	if (!pgha_job_next(job, options, argv, env, why))
	{
		free(job);
		return NULL;
	}
	job->next = jobs;
	jobs = job;
	return job;
}

HaJob *
pgha_job_start(const char *const *argv, const char *const *env,
			   HaJobLine line, HaJobEnd end, void *arg, char *why)
{
	HaJobOptions options = {0};

	return pgha_job_start_with(&options, argv, env, line, end, arg, why);
}

int
pgha_job_fds(const HaJob *job, struct pollfd *fds)
{
	const int	all[HA_JOB_FDS] = {job->pidfd, job->out.fd, job->err.fd};
	int			n = 0;

	for (int i = 0; i < HA_JOB_FDS; i++)
		if (all[i] >= 0)
			fds[n++] = (struct pollfd) {.fd = all[i],.events = POLLIN};
	return n;
}

/*
 * Reap the program if it has ended.  What it left of its process group (the
 * WAL receiving half of a killed pg_basebackup) is killed first, while the
 * group's id can't be anybody else's: nothing goes on writing behind `end`.
 */
static bool
job_exited(HaJob *job)
{
	siginfo_t	info = {0};

	if (waitid(P_PID, (id_t) job->pid, &info,
			   WEXITED | WNOHANG | WNOWAIT) == 0 && info.si_pid == 0)
		return false;
	if (info.si_pid == job->pid)
		kill(-job->pid, SIGKILL);
	if (waitpid(job->pid, &job->status, WNOHANG) != job->pid)
		job->status = 255 << 8; /* somebody else reaped it: not a success */
	return true;
}

static void
job_finish_program(HaJob *job)
{
	stream_read(job, &job->out, JOB_DRAIN_BYTES);
	stream_read(job, &job->err, JOB_DRAIN_BYTES);
	stream_end_line(job, &job->out);
	stream_end_line(job, &job->err);
	stream_close(&job->out);
	stream_close(&job->err);
	close(job->pidfd);
	job->pidfd = -1;
	job->pid = 0;
}

static void
job_free(HaJob *job)
{
	HaJob	  **link = &jobs;

	while (*link != job)
		link = &(*link)->next;
	*link = job->next;
	free(job);
}

bool
pgha_job_process(HaJob *job)
{
	stream_read(job, &job->out, JOB_READ_BYTES);
	stream_read(job, &job->err, JOB_READ_BYTES);
	if (!job_exited(job))
		return true;
	job_finish_program(job);
	job->end(job->arg, job->status);
	if (job->pid > 0)
		return true;			/* `end` started the next program */
	job_free(job);
	return false;
}

void
pgha_job_kill(HaJob *job, int signo)
{
	/* a session of its own is a process group too; not reaped: not reused */
	if (job->pid > 0)
		kill(-job->pid, signo);
}

pid_t
pgha_job_pid(const HaJob *job)
{
	return job->pid;
}

bool
pgha_job_owns(pid_t pid)
{
	for (const HaJob *job = jobs; job; job = job->next)
		if (job->pid > 0 && (job->pid == pid || getpgid(pid) == job->pid))
			return true;
	return false;
}
