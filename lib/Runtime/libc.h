/*===- libc.h - what the runtime uses of the C library --------------------------------------------------------*- C -*-===*
 *
 * The runtime is compiled for every target when Quanta is built, and a cross compiler's C library is not there then. So it
 * declares what it uses itself: functions of POSIX and Linux whose binary interface glibc and musl share on all 64-bit
 * architectures. A structure whose size depends on the architecture is opaque here and larger than any of them.
 * test/Runtime/libc.test compares the numbers with the system's headers.
 *===----------------------------------------------------------------------------------------------------------------------===*/
#ifndef QUANTA_RUNTIME_LIBC_H
#define QUANTA_RUNTIME_LIBC_H

/* The numbers, for the test under names that do not collide with the system's. */
#define LIBC_O_RDONLY 0
#define LIBC_O_CLOEXEC 02000000
#define LIBC_SEEK_END 2
#define LIBC_PROT_READ 1
#define LIBC_MAP_PRIVATE 2
#define LIBC_CLOCK_MONOTONIC 1
#define LIBC_SC_NPROCESSORS_ONLN 84
#define LIBC_SIG_SETMASK 2
#define LIBC_FUTEX_WAIT_PRIVATE 128
#define LIBC_FUTEX_WAKE_PRIVATE 129
#if defined(__x86_64__)
#define LIBC_SYS_futex 202
#define LIBC_SYS_arch_prctl 158
#define LIBC_ARCH_REQ_XCOMP_PERM 0x1023
#define LIBC_XFEATURE_XTILEDATA 18 /* bit of XCR0 */
#else /* the numbering that newer architectures share */
#define LIBC_SYS_futex 98
#define LIBC_SYS_prctl 167
#define LIBC_PR_SVE_GET_VL 51
#define LIBC_PR_SVE_VL_LEN_MASK 0xffff
#endif
#define LIBC_AT_HWCAP 16
#define LIBC_AT_HWCAP2 26
#define LIBC_CPUS 1024            /* that an affinity mask holds */
#define LIBC_JMP_BUF_BYTES 512    /* at least; aligned to 16 bytes */
#define LIBC_SIGSET_BYTES 128     /* at least */
#define LIBC_THREAD_ATTR_BYTES 128 /* at least */

#ifndef LIBC_NUMBERS_ONLY
#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

_Static_assert(sizeof(long) == 8 && sizeof(void *) == 8, "a 64-bit Linux is expected");

/* <errno.h> */
int *__errno_location(void);
#define errno (*__errno_location())

/* <fcntl.h>, <unistd.h>, <sys/mman.h> */
#define O_RDONLY LIBC_O_RDONLY
#define O_CLOEXEC LIBC_O_CLOEXEC
#define SEEK_END LIBC_SEEK_END
#define PROT_READ LIBC_PROT_READ
#define MAP_PRIVATE LIBC_MAP_PRIVATE
#define MAP_FAILED ((void *)-1)
int open(const char *path, int flags, ...);
int close(int file);
long lseek(int file, long offset, int whence);
void *mmap(void *address, size_t bytes, int protection, int flags, int file, long offset);
int munmap(void *address, size_t bytes);
#define _SC_NPROCESSORS_ONLN LIBC_SC_NPROCESSORS_ONLN
long sysconf(int name);
#define SYS_futex LIBC_SYS_futex
#define SYS_arch_prctl LIBC_SYS_arch_prctl
#define SYS_prctl LIBC_SYS_prctl
#define PR_SVE_GET_VL LIBC_PR_SVE_GET_VL
#define PR_SVE_VL_LEN_MASK LIBC_PR_SVE_VL_LEN_MASK
#define ARCH_REQ_XCOMP_PERM LIBC_ARCH_REQ_XCOMP_PERM
#define XFEATURE_XTILEDATA LIBC_XFEATURE_XTILEDATA
#define FUTEX_WAIT_PRIVATE LIBC_FUTEX_WAIT_PRIVATE
#define FUTEX_WAKE_PRIVATE LIBC_FUTEX_WAKE_PRIVATE
long syscall(long number, ...);

/* <sys/auxv.h> */
#define AT_HWCAP LIBC_AT_HWCAP
#define AT_HWCAP2 LIBC_AT_HWCAP2
unsigned long getauxval(unsigned long type);

/* <stdlib.h>, <string.h> */
void *calloc(size_t count, size_t bytes);
void *aligned_alloc(size_t alignment, size_t bytes);
void free(void *data);
_Noreturn void exit(int status);
int atoi(const char *text);
long atol(const char *text);
long long strtoll(const char *restrict text, char **restrict end, int base);
void *memcpy(void *restrict to, const void *restrict from, size_t bytes);
void *memset(void *data, int value, size_t bytes);
int memcmp(const void *a, const void *b, size_t bytes);
size_t strlen(const char *text);
int strcmp(const char *a, const char *b);
int strncmp(const char *a, const char *b, size_t most);
char *strchr(const char *text, int character);
char *strstr(const char *text, const char *part);
char *strerror(int number);

/* <stdio.h> */
typedef struct _IO_FILE FILE;
extern FILE *stderr;
FILE *fopen(const char *restrict path, const char *restrict mode);
int fclose(FILE *file);
int ferror(FILE *file);
int fputc(int character, FILE *file);
size_t fwrite(const void *restrict data, size_t bytes, size_t count, FILE *restrict file);
long ftello(FILE *file);
int printf(const char *restrict format, ...) __attribute__((format(printf, 1, 2)));
int fprintf(FILE *restrict file, const char *restrict format, ...) __attribute__((format(printf, 2, 3)));
int vfprintf(FILE *restrict file, const char *restrict format, va_list arguments) __attribute__((format(printf, 2, 0)));
int snprintf(char *restrict text, size_t bytes, const char *restrict format, ...) __attribute__((format(printf, 3, 4)));
int vsnprintf(char *restrict text, size_t bytes, const char *restrict format, va_list arguments)
    __attribute__((format(printf, 3, 0)));

/* <setjmp.h> */
typedef struct {
  _Alignas(16) unsigned char bytes[LIBC_JMP_BUF_BYTES];
} jmp_buf[1];
int _setjmp(jmp_buf environment) __attribute__((returns_twice));
_Noreturn void longjmp(jmp_buf environment, int value);
#define setjmp(environment) _setjmp(environment)

/* <time.h> */
#define CLOCK_MONOTONIC LIBC_CLOCK_MONOTONIC
struct timespec {
  long tv_sec, tv_nsec;
};
int clock_gettime(int clock, struct timespec *time);

/* <sched.h>, <signal.h>, <pthread.h> */
typedef struct {
  unsigned long bits[LIBC_CPUS / 64];
} cpu_set_t;
typedef struct {
  _Alignas(16) unsigned char bytes[LIBC_SIGSET_BYTES];
} sigset_t;
typedef struct {
  _Alignas(16) unsigned char bytes[LIBC_THREAD_ATTR_BYTES];
} pthread_attr_t;
typedef unsigned long pthread_t;
#define SIG_SETMASK LIBC_SIG_SETMASK
int sched_getaffinity(int process, size_t bytes, cpu_set_t *set);
int sigfillset(sigset_t *set);
int pthread_sigmask(int how, const sigset_t *restrict set, sigset_t *restrict before);
int pthread_attr_init(pthread_attr_t *attributes);
int pthread_attr_destroy(pthread_attr_t *attributes);
int pthread_attr_setstacksize(pthread_attr_t *attributes, size_t bytes);
int pthread_attr_setaffinity_np(pthread_attr_t *attributes, size_t bytes, const cpu_set_t *set);
int pthread_create(pthread_t *restrict thread, const pthread_attr_t *restrict attributes, void *(*function)(void *),
                   void *restrict argument);
int pthread_join(pthread_t thread, void **result);

#endif /* LIBC_NUMBERS_ONLY */
#endif
