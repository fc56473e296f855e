/*===- quanta_rt.h - what compiled models ask of the support runtime ------------------------------------------*- C -*-===*
 *
 * This code is compiled to bitcode and linked into every model, so it needs only libc and pthreads, and keeps all state
 * in its instances: several models, each with its own copy of this code, live in one program and may share a pool.
 *===----------------------------------------------------------------------------------------------------------------------===*/
#ifndef QUANTA_RUNTIME_QUANTA_RT_H
#define QUANTA_RUNTIME_QUANTA_RT_H

#include "quanta/Runtime/quanta.h"

#ifdef __cplusplus
#define QUANTA_NORETURN [[noreturn]]
extern "C" {
#else
#define QUANTA_NORETURN _Noreturn
#endif

/* One model instance. */
typedef struct quanta_rt quanta_rt;

/* A model's code for one instruction set. */
typedef struct {
  uint64_t features; /* that the CPU must have, as quanta_cpu_features counts them */
  int (*entry)(quanta_rt *); /* 0, or any other value for a failure that it did not describe */
} quanta_rt_code;

/* What the compiler knows about a model; constant data, shared by all instances. */
typedef struct {
  uint32_t abi; /* QUANTA_ABI */
  quanta_model_info info;
  const int32_t *input_symbols; /* [inputs][8]: index into `symbols`, or -1 for a size that has no name */
  const char *const *symbols;
  int32_t symbol_count;
  const quanta_rt_code *code; /* best first */
  int32_t code_count;
  const void *weights;       /* null: they come from quanta_options::weights_file */
  uint64_t weights_bytes;
  uint64_t weights_hash;
} quanta_rt_desc;

/* A weights file is the weights, `weights_bytes` bytes, followed by this trailer: a file of another model (or of another
 * compilation of the same one) is refused without reading the weights. */
typedef struct {
  char magic[8]; /* QUANTA_WEIGHTS_MAGIC */
  uint64_t hash; /* quanta_rt_desc::weights_hash, little endian */
} quanta_weights_trailer;
#define QUANTA_WEIGHTS_MAGIC "QNTAWTS1"

/* The features of features.def that this CPU has; bit i is the i-th of the architecture's list. */
uint64_t quanta_cpu_features(void);
/* Asks the system for what code with these features needs it to save; 0 if it refuses. Holds for all threads of the process. */
int quanta_cpu_permit(uint64_t features);

/* The public functions of a model are these, with its descriptor. They return a quanta_status. */
int quanta_rt_create(const quanta_rt_desc *desc, const quanta_options *options, quanta_rt **rt);
int quanta_rt_run(quanta_rt *rt, const quanta_tensor *inputs, quanta_tensor *outputs);
int quanta_rt_reset(quanta_rt *rt);
void quanta_rt_destroy(quanta_rt *rt);
const char *quanta_rt_last_error(const quanta_rt *rt); /* null: of this thread's last failed create */

/* The rest is called by an entry, on the thread that runs it, outside of parallel regions. Functions that can fail do not
 * return then: they jump back to quanta_rt_run, which takes every block back. */

const void *quanta_rt_weights(quanta_rt *rt);
/* The caller's data (never written), not readable past its end. */
void *quanta_rt_input(quanta_rt *rt, int32_t input);
int64_t quanta_rt_input_dim(quanta_rt *rt, int32_t input, int32_t dim);
int64_t quanta_rt_symbol(quanta_rt *rt, int32_t symbol);

/* What the instance keeps between runs: info.cache_bytes bytes, aligned to 64, zero in a new instance. */
void *quanta_rt_state(quanta_rt *rt);
/* Positions in the key/value cache when this run began. */
int64_t quanta_rt_cache_length(quanta_rt *rt);
/* Says, before the first write to the cache, that this run appends so many positions. They count from the next run on. */
void quanta_rt_cache_advance(quanta_rt *rt, int64_t positions);

/* A block aligned to 64 bytes whose contents are undefined; 64 bytes past its end may be read, not written. Blocks are
 * kept and reused, so that a run with the shapes of the run before takes nothing from the system. Zero bytes are fine. */
void *quanta_rt_alloc(quanta_rt *rt, int64_t bytes);
void quanta_rt_free(quanta_rt *rt, void *block);

/* Hands output `output` over: `block` comes from quanta_rt_alloc, belongs to the runtime from now on, and holds `shape`.
 * Copies to the caller's buffers happen after the entry has returned, so these may overlap inputs. */
void quanta_rt_output(quanta_rt *rt, int32_t output, void *block, int32_t rank, const int64_t *shape);

QUANTA_NORETURN void quanta_rt_fail(quanta_rt *rt, const char *message);

/* Calls fn on consecutive ranges that cover [0, tasks). How many there are depends on the number of threads (each but the
 * only one has at least `grain` tasks), so a task's result must not depend on its range. fn must not fail. A region inside
 * a region, or while another instance uses the same pool, runs on the calling thread alone. */
void quanta_rt_parallel(quanta_rt *rt, void (*fn)(void *arg, int64_t begin, int64_t end), void *arg, int64_t tasks,
                        int64_t grain);

#ifdef __cplusplus
}
#endif
#endif /* QUANTA_RUNTIME_QUANTA_RT_H */
