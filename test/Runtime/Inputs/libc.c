#define _GNU_SOURCE
#ifdef __x86_64__
#include <asm/prctl.h>
#endif
#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#define LIBC_NUMBERS_ONLY
#include "libc.h"

#define SAME(name) _Static_assert(name == LIBC_##name, #name)
#define FITS(type, bytes) _Static_assert(sizeof(type) <= bytes && _Alignof(type) <= 16, #type)

SAME(O_RDONLY);
SAME(O_CLOEXEC);
SAME(SEEK_END);
SAME(PROT_READ);
SAME(MAP_PRIVATE);
SAME(CLOCK_MONOTONIC);
SAME(SIG_SETMASK);
SAME(FUTEX_WAIT_PRIVATE);
SAME(FUTEX_WAKE_PRIVATE);
SAME(SYS_futex);
#ifdef __x86_64__
SAME(SYS_arch_prctl);
#ifdef ARCH_REQ_XCOMP_PERM
SAME(ARCH_REQ_XCOMP_PERM);
#endif
#endif
#ifdef __aarch64__
SAME(SYS_prctl);
SAME(PR_SVE_GET_VL);
SAME(PR_SVE_VL_LEN_MASK);
#endif
SAME(AT_HWCAP);
SAME(AT_HWCAP2);
_Static_assert(_SC_NPROCESSORS_ONLN == LIBC_SC_NPROCESSORS_ONLN, "");
_Static_assert(sizeof(cpu_set_t) * 8 == LIBC_CPUS, "");
FITS(jmp_buf, LIBC_JMP_BUF_BYTES);
FITS(sigset_t, LIBC_SIGSET_BYTES);
FITS(pthread_attr_t, LIBC_THREAD_ATTR_BYTES);
_Static_assert(sizeof(pthread_t) == sizeof(long) && sizeof(off_t) == sizeof(long), "");
_Static_assert(sizeof(struct timespec) == 2 * sizeof(long) && offsetof(struct timespec, tv_nsec) == sizeof(long), "");
