/* SPDX-License-Identifier: MIT
 *
 * sandbox.c - runs a program under a seccomp filter: sandbox ANSWER[,CALL...] PROGRAM [ARGUMENT...]
 * Allowed is what glibc's malloc calls, and what the start, the threads and the output of any dynamic program need. For
 * all else ANSWER is eperm, enosys, or kill. CALL: membarrier, getaffinity - taken off the list or put on it (see
 * below).
 */
#define _GNU_SOURCE
#include <errno.h>
#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "test/programs/check.h"

/* clang-format off */
static const int kAllowed[] = {
    /* glibc's malloc: arenas, locks, tcache's random key, the number of CPUs for the number of arenas */
    SYS_brk, SYS_mmap, SYS_munmap, SYS_mremap, SYS_mprotect, SYS_madvise, SYS_futex, SYS_getrandom,
    SYS_sched_getaffinity,
    /* the start of a program, and its end */
    SYS_execve, SYS_openat, SYS_read, SYS_pread64, SYS_close, SYS_fstat, SYS_newfstatat,
    SYS_set_tid_address, SYS_set_robust_list, SYS_rseq, SYS_prlimit64, SYS_exit, SYS_exit_group,
    /* output, threads, processes, signals */
    SYS_write, SYS_lseek, SYS_ioctl, SYS_clone, SYS_clone3, SYS_wait4, SYS_gettid, SYS_getpid, SYS_tgkill,
    SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_clock_nanosleep, SYS_setitimer, SYS_restart_syscall,
    /* what the programs of the test do besides */
    SYS_pipe2, SYS_fcntl, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid, SYS_getppid, SYS_uname, SYS_getcwd,
#if defined(__x86_64__)
    /* calls that newer architectures do without */
    SYS_access, SYS_readlink, SYS_arch_prctl, SYS_vfork, SYS_alarm, SYS_dup2, SYS_unlink,
#endif
};
/* clang-format on */
enum { kCount = sizeof kAllowed / sizeof kAllowed[0], kMax = 2 * kCount + 8 };

int main(int argc, char** argv) {
  CHECK(argc >= 3);
  const unsigned denial = strncmp(argv[1], "kill", 4) == 0     ? SECCOMP_RET_KILL_PROCESS
                          : strncmp(argv[1], "enosys", 6) == 0 ? SECCOMP_RET_ERRNO | ENOSYS
                                                               : SECCOMP_RET_ERRNO | EPERM;
  const int with_membarrier = strstr(argv[1], ",membarrier") != NULL;
  const int without_affinity = strstr(argv[1], ",no-getaffinity") != NULL;
  struct sock_filter code[kMax];
  unsigned short n = 0;
  code[n++] = (struct sock_filter)BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr));
  for (int i = 0; i < kCount; ++i) {
    if (without_affinity && kAllowed[i] == SYS_sched_getaffinity) continue;
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)kAllowed[i], 0, 1);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  }
  if (with_membarrier) {
    code[n++] = (struct sock_filter)BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_membarrier, 0, 1);
    code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
  }
  code[n++] = (struct sock_filter)BPF_STMT(BPF_RET | BPF_K, denial);
  const struct sock_fprog program = {n, code};
  /* For the program, not for this one. */
  const char* preload = getenv("SANDBOX_PRELOAD");
  if (preload != NULL) CHECK(setenv("LD_PRELOAD", preload, 1) == 0);
  CHECK(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0);
  CHECK(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) == 0);
  execv(argv[2], argv + 2);
  return 9;
}
