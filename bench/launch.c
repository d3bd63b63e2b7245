/* SPDX-License-Identifier: MIT
 *
 * launch FD TIMEOUT REPEAT PRELOAD PROGRAM ARGS... - runs a program and measures it.
 *
 * Runs PROGRAM (found in PATH) REPEAT times, one after the other, with LD_PRELOAD=PRELOAD ("" for none), and writes one
 * line to the file descriptor FD:
 *     status seconds user_seconds system_seconds peak_kib minor_faults major_faults voluntary involuntary
 * status: 0, the first exit code that was not 0, 128 + signal, or 124 after TIMEOUT seconds in all. The sums are
 * over all runs and their waited-for children; peak_kib is the largest of any single process among them.
 *
 * Why a program of its own: ru_maxrss of a child starts at the resident size of the process that called exec, so a
 * runner as large as python3 would hide what small programs use. This one is static and below 1 MiB.
 * Programs of bench/ do not depend on it; bench/ab runs everything through it. Where the runner ends, or it is told to
 * end, so does the program: a run that nobody waits for would disturb the next one.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now(void) {
  struct timespec time;
  clock_gettime(CLOCK_MONOTONIC, &time);
  return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

static double seconds_of(struct timeval time) {
  return (double)time.tv_sec + (double)time.tv_usec * 1e-6;
}

static long number(const char* text) {
  char* end = NULL;
  const long value = strtol(text, &end, 10);
  if (end == text || *end != '\0' || value < 0) {
    fprintf(stderr, "launch: not a number: '%s'\n", text);
    exit(2);
  }
  return value;
}

/* Waits for `child` until `deadline`. Returns what `status` in the head comment says. */
static int wait_for(pid_t child, double deadline, const sigset_t* child_ended, struct rusage* usage) {
  int state;
  for (;;) {
    const pid_t ended = wait4(child, &state, WNOHANG, usage);
    const double left = deadline - now();
    struct timespec wait;
    if (ended == child) break;
    if (ended < 0 && errno != EINTR) return 125;
    if (left <= 0) {
      kill(-child, SIGKILL);
      while (wait4(child, &state, 0, usage) < 0 && errno == EINTR) continue;
      return 124;
    }
    wait.tv_sec = (time_t)left;
    wait.tv_nsec = (long)((left - (double)wait.tv_sec) * 1e9);
    const int signal = sigtimedwait(child_ended, NULL, &wait);
    if (signal == SIGTERM || signal == SIGINT) deadline = 0;
  }
  return WIFEXITED(state) ? WEXITSTATUS(state) : 128 + WTERMSIG(state);
}

/* What a run of the program looks like to posix_spawnp: an own process group (to be killed as a whole), the caller's
 * signal mask, not our report's descriptor. */
static posix_spawnattr_t g_attributes;
static posix_spawn_file_actions_t g_actions;

int main(int argc, char** argv) {
  double wall = 0, user = 0, system_time = 0, deadline;
  long peak = 0, minor = 0, major = 0, voluntary = 0, involuntary = 0, run, repeat;
  int status = 0, fd;
  sigset_t child_ended, before;
  if (argc < 6) {
    fprintf(stderr, "usage: launch FD TIMEOUT REPEAT PRELOAD PROGRAM ARGS...\n");
    return 2;
  }
  fd = (int)number(argv[1]);
  deadline = now() + (double)number(argv[2]);
  repeat = number(argv[3]);
  if (argv[4][0] != '\0') {
    setenv("LD_PRELOAD", argv[4], 1);
  } else {
    unsetenv("LD_PRELOAD");
  }
  sigemptyset(&child_ended);
  sigaddset(&child_ended, SIGCHLD);
  sigaddset(&child_ended, SIGTERM);
  sigaddset(&child_ended, SIGINT);
  prctl(PR_SET_PDEATHSIG, SIGTERM);
  sigprocmask(SIG_BLOCK, &child_ended, &before);
  posix_spawnattr_init(&g_attributes);
  posix_spawnattr_setpgroup(&g_attributes, 0);
  posix_spawnattr_setsigmask(&g_attributes, &before);
  posix_spawnattr_setflags(&g_attributes, POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGMASK);
  posix_spawn_file_actions_init(&g_actions);
  posix_spawn_file_actions_addclose(&g_actions, fd);

  for (run = 0; run < repeat && status == 0; ++run) {
    struct rusage usage;
    const double start = now();
    pid_t child;
    /* glibc's posix_spawn is a vfork: no page tables are copied, which would count into the measured time. */
    const int error = posix_spawnp(&child, argv[5], &g_actions, &g_attributes, argv + 5, environ);
    if (error != 0) {
      fprintf(stderr, "launch: %s: %s\n", argv[5], strerror(error));
      status = 127;
      break;
    }
    status = wait_for(child, deadline, &child_ended, &usage);
    wall += now() - start;
    user += seconds_of(usage.ru_utime);
    system_time += seconds_of(usage.ru_stime);
    if (usage.ru_maxrss > peak) peak = usage.ru_maxrss;
    minor += usage.ru_minflt;
    major += usage.ru_majflt;
    voluntary += usage.ru_nvcsw;
    involuntary += usage.ru_nivcsw;
  }
  if (dprintf(fd, "%d %.6f %.6f %.6f %ld %ld %ld %ld %ld\n", status, wall, user, system_time, peak, minor, major,
              voluntary, involuntary) < 0) {
    perror("launch: the report could not be written");
    return 2;
  }
  return 0;
}
