/* SPDX-License-Identifier: MIT
 *
 * as_secure.c - runs a program as the kernel would start a setuid one: with AT_SECURE set in its auxiliary vector.
 * Usage: as_secure 0|1 PROGRAM [ARGUMENT...]. Exits as the program does. Needs no rights: it stops the program at its
 * first instruction by ptrace and writes the wanted value there. test/options/secure.sh runs it.
 */
#define _GNU_SOURCE
#include <elf.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/uio.h>
#include <sys/user.h>
#include <sys/wait.h>

#include "test/programs/check.h"

static uintptr_t stack_pointer(pid_t child) {
  struct user_regs_struct registers;
  struct iovec space = {&registers, sizeof registers};
  CHECK(ptrace(PTRACE_GETREGSET, child, (void*)NT_PRSTATUS, &space) == 0);
#if defined(__x86_64__)
  return registers.rsp;
#else
  return registers.sp;
#endif
}

static uintptr_t peek(pid_t child, uintptr_t address) {
  errno = 0;
  const long word = ptrace(PTRACE_PEEKDATA, child, (void*)address, NULL);
  CHECK(errno == 0);
  return (uintptr_t)word;
}

/* On the stack of a new program: argc, argv..., 0, envp..., 0, pairs of the auxiliary vector. */
static void set_secure(pid_t child, uintptr_t value) {
  uintptr_t at = stack_pointer(child);
  at += (peek(child, at) + 2) * sizeof(uintptr_t);
  while (peek(child, at) != 0) at += sizeof(uintptr_t);
  at += sizeof(uintptr_t);
  while (peek(child, at) != AT_SECURE) {
    CHECK(peek(child, at) != AT_NULL);
    at += 2 * sizeof(uintptr_t);
  }
  CHECK(ptrace(PTRACE_POKEDATA, child, (void*)(at + sizeof(uintptr_t)), (void*)value) == 0);
}

int main(int argc, char** argv) {
  CHECK(argc >= 3);
  const pid_t child = fork();
  CHECK(child >= 0);
  if (child == 0) {
    CHECK(ptrace(PTRACE_TRACEME, 0, NULL, NULL) == 0);
    execv(argv[2], argv + 2);
    _exit(127);
  }
  int status = 0;
  CHECK(waitpid(child, &status, 0) == child);
  CHECK(WIFSTOPPED(status) && WSTOPSIG(status) == SIGTRAP);
  set_secure(child, strtoul(argv[1], NULL, 10));
  CHECK(ptrace(PTRACE_DETACH, child, NULL, NULL) == 0);
  CHECK(waitpid(child, &status, 0) == child);
  return WIFEXITED(status) ? WEXITSTATUS(status) : 128;
}
