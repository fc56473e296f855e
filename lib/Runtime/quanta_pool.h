/*===- quanta_pool.h - the thread pool's use inside the runtime ----------------------------------------------*- C -*-===*/
#ifndef QUANTA_RUNTIME_QUANTA_POOL_H
#define QUANTA_RUNTIME_QUANTA_POOL_H

#include "quanta/Runtime/quanta.h"

/* Not 0 if the pool was made by code with the same layout of its structures: models linked into one program may come from
 * different versions of Quanta. */
int quanta_pool_compatible(const quanta_pool *pool);

/* See quanta_rt_parallel. */
void quanta_pool_run(quanta_pool *pool, void (*fn)(void *, int64_t, int64_t), void *arg, int64_t tasks, int64_t grain);

#endif /* QUANTA_RUNTIME_QUANTA_POOL_H */
