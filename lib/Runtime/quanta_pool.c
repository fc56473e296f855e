/*===- quanta_pool.c - threads that spin for a while, then sleep ----------------------------------------------*- C -*-===*
 *
 * Each worker has a mailbox on a cache line of its own: a turn counter that the caller of a region advances. Workers that
 * a small region does not need are never disturbed, and a worker cannot miss a turn because the caller waits for it.
 * Sleeping and waking is Dekker's protocol on (turn, asleep) and (pending, caller_asleep): each side writes its own word,
 * then reads the other's, all sequentially consistent.
 *===----------------------------------------------------------------------------------------------------------------------===*/
#include "quanta_pool.h"
#include "libc.h"

#include <stdatomic.h>

#define POOL_MAGIC 0x314c4f5051554155ull /* changes with the layout of the structures below */
#define CACHE_LINE 64
#define SPIN_NANOSECONDS 50000
#define STACK_BYTES (8u << 20)
#define MAX_THREADS 1024

typedef struct {
  _Alignas(CACHE_LINE) _Atomic uint32_t turn;
  _Atomic uint32_t asleep;
  int index; /* 1 .. threads - 1; the caller of a region is 0 */
  pthread_t thread;
  quanta_pool *pool;
} worker_t;

struct quanta_pool {
  uint64_t magic;
  int threads;      /* the caller included */
  _Atomic int busy; /* held for the length of a region */
  /* The region, constant while its workers run. */
  void (*fn)(void *, int64_t, int64_t); /* null: the thread ends */
  void *arg;
  int64_t tasks;
  int used;
  /* Workers that have not finished. */
  _Alignas(CACHE_LINE) _Atomic uint32_t pending;
  _Atomic uint32_t caller_asleep;
  worker_t workers[];
};

static void relax(void) {
#if defined(__x86_64__) || defined(__i386__)
  __builtin_ia32_pause();
#elif defined(__aarch64__)
  __asm__ volatile("isb" ::: "memory"); /* `yield` is a no-op on most cores */
#endif
}

static int64_t nanoseconds(void) {
  struct timespec t;
  clock_gettime(CLOCK_MONOTONIC, &t);
  return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void futex_wait(_Atomic uint32_t *word, uint32_t value) {
  syscall(SYS_futex, word, FUTEX_WAIT_PRIVATE, value, NULL, NULL, 0);
}

static void futex_wake(_Atomic uint32_t *word) { syscall(SYS_futex, word, FUTEX_WAKE_PRIVATE, 1, NULL, NULL, 0); }

/* Waits until *word differs from `value` and returns what it then is. */
static uint32_t await_change(_Atomic uint32_t *word, uint32_t value, _Atomic uint32_t *asleep) {
  uint32_t now;
  int64_t start = 0;
  for (unsigned i = 1; (now = atomic_load_explicit(word, memory_order_acquire)) == value; ++i) {
    relax();
    if (i % 32)
      continue;
    int64_t t = nanoseconds();
    if (!start)
      start = t;
    if (t - start < SPIN_NANOSECONDS)
      continue;
    atomic_store(asleep, 1);
    while ((now = atomic_load(word)) == value)
      futex_wait(word, value);
    atomic_store(asleep, 0);
    break;
  }
  return now;
}

static void run_share(const quanta_pool *pool, int index) {
  int64_t base = pool->tasks / pool->used, rest = pool->tasks % pool->used;
  int64_t begin = index * base + (index < rest ? index : rest);
  pool->fn(pool->arg, begin, begin + base + (index < rest));
}

static void *worker_main(void *argument) {
  worker_t *self = argument;
  quanta_pool *pool = self->pool;
  uint32_t seen = 0;
  for (;;) {
    seen = await_change(&self->turn, seen, &self->asleep);
    if (!pool->fn)
      return NULL;
    run_share(pool, self->index);
    if (atomic_fetch_sub(&pool->pending, 1) == 1 && atomic_load(&pool->caller_asleep))
      futex_wake(&pool->pending);
  }
}

static void give_turn(worker_t *worker) {
  atomic_fetch_add(&worker->turn, 1);
  if (atomic_load(&worker->asleep))
    futex_wake(&worker->turn);
}

static int contains_cpu(const cpu_set_t *set, int cpu) { return (int)(set->bits[cpu / 64] >> cpu % 64 & 1); }

static int count_cpus(const cpu_set_t *set) {
  int count = 0;
  for (int i = 0; i < LIBC_CPUS / 64; ++i)
    count += __builtin_popcountl(set->bits[i]);
  return count;
}

static int available_cpus(cpu_set_t *set) {
  memset(set, 0, sizeof *set);
  if (sched_getaffinity(0, sizeof *set, set) == 0)
    return count_cpus(set);
  memset(set, 0, sizeof *set); /* more CPUs than the set holds: count them, pin nothing */
  long n = sysconf(_SC_NPROCESSORS_ONLN);
  return n > 0 ? (int)n : 1;
}

/* Restricts `attributes` to the index-th CPU of `set`. */
static void pin_to(pthread_attr_t *attributes, const cpu_set_t *set, int index) {
  int count = count_cpus(set);
  if (count == 0)
    return;
  index %= count;
  for (int cpu = 0; cpu < LIBC_CPUS; ++cpu) {
    if (!contains_cpu(set, cpu) || index-- > 0)
      continue;
    cpu_set_t one = {{0}};
    one.bits[cpu / 64] = 1ul << cpu % 64;
    pthread_attr_setaffinity_np(attributes, sizeof one, &one);
    return;
  }
}

__attribute__((weak)) quanta_pool *quanta_pool_create(int threads, int pin) {
  cpu_set_t cpus;
  int available = available_cpus(&cpus);
  if (threads <= 0)
    threads = available;
  if (threads > MAX_THREADS)
    threads = MAX_THREADS;
  size_t bytes = sizeof(quanta_pool) + (size_t)(threads - 1) * sizeof(worker_t);
  quanta_pool *pool = aligned_alloc(CACHE_LINE, (bytes + CACHE_LINE - 1) / CACHE_LINE * CACHE_LINE);
  if (!pool)
    return NULL;
  memset(pool, 0, bytes);
  pool->magic = POOL_MAGIC;
  pool->threads = 1;

  /* Signals belong to the program's own threads. */
  sigset_t all, before;
  sigfillset(&all);
  pthread_sigmask(SIG_SETMASK, &all, &before);
  for (int i = 1; i < threads; ++i) {
    worker_t *worker = &pool->workers[i - 1];
    worker->index = i;
    worker->pool = pool;
    pthread_attr_t attributes;
    if (pthread_attr_init(&attributes) != 0)
      break;
    pthread_attr_setstacksize(&attributes, STACK_BYTES);
    if (pin)
      pin_to(&attributes, &cpus, i);
    int failed = pthread_create(&worker->thread, &attributes, worker_main, worker);
    pthread_attr_destroy(&attributes);
    if (failed)
      break;
    pool->threads = i + 1;
  }
  pthread_sigmask(SIG_SETMASK, &before, NULL);
  return pool;
}

__attribute__((weak)) void quanta_pool_destroy(quanta_pool *pool) {
  if (!pool)
    return;
  pool->fn = NULL;
  for (int i = 1; i < pool->threads; ++i)
    give_turn(&pool->workers[i - 1]);
  for (int i = 1; i < pool->threads; ++i)
    pthread_join(pool->workers[i - 1].thread, NULL);
  free(pool);
}

int quanta_pool_compatible(const quanta_pool *pool) { return pool->magic == POOL_MAGIC; }

void quanta_pool_run(quanta_pool *pool, void (*fn)(void *, int64_t, int64_t), void *arg, int64_t tasks, int64_t grain) {
  if (tasks <= 0)
    return;
  int64_t used = tasks / (grain > 1 ? grain : 1);
  if (used > pool->threads)
    used = pool->threads;
  if (used <= 1 || atomic_exchange_explicit(&pool->busy, 1, memory_order_acquire)) {
    fn(arg, 0, tasks);
    return;
  }
  pool->fn = fn;
  pool->arg = arg;
  pool->tasks = tasks;
  pool->used = (int)used;
  atomic_store_explicit(&pool->pending, (uint32_t)used - 1, memory_order_relaxed);
  for (int i = 1; i < used; ++i)
    give_turn(&pool->workers[i - 1]);
  run_share(pool, 0);
  uint32_t left = atomic_load(&pool->pending);
  while (left)
    left = await_change(&pool->pending, left, &pool->caller_asleep);
  atomic_store_explicit(&pool->busy, 0, memory_order_release);
}
