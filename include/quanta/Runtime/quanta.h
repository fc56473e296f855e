/*===- quanta.h - C interface of models compiled by Quanta ----------------------------------------------------*- C -*-===*
 *
 * Every compiled model NAME has these functions; the header that `quantc --emit=header` writes declares them:
 *
 *   int  NAME_create(const quanta_options *options, NAME_model **model);
 *   int  NAME_run(NAME_model *model, const quanta_tensor *inputs, quanta_tensor *outputs);
 *   int  NAME_reset(NAME_model *model);
 *   void NAME_destroy(NAME_model *model);
 *   const quanta_model_info *NAME_info(void);
 *   const char *NAME_last_error(const NAME_model *model);
 *
 * Functions that return `int` return a quanta_status; on failure NAME_last_error says why in one sentence that stays
 * valid until the next call with that model. With a null model it is about the calling thread's last failed create.
 * Nothing aborts the process. Several instances may run at the same time; one instance serves one thread at a time.
 *===----------------------------------------------------------------------------------------------------------------------===*/
#ifndef QUANTA_RUNTIME_QUANTA_H
#define QUANTA_RUNTIME_QUANTA_H

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Version of this interface; quanta_api::abi of a library must be equal to it. */
#define QUANTA_ABI 2u
#define QUANTA_MAX_RANK 8

typedef enum {
  QUANTA_OK = 0,
  QUANTA_INVALID = 1, /* the caller passed something the model cannot take; nothing was computed */
  QUANTA_NO_MEMORY = 2,
  QUANTA_FAILED = 3 /* the model failed while running; outputs hold nothing */
} quanta_status;

typedef enum {
  QUANTA_F32 = 0,
  QUANTA_F16 = 1,
  QUANTA_BF16 = 2,
  QUANTA_I8 = 3,
  QUANTA_U8 = 4,
  QUANTA_I16 = 5,
  QUANTA_I32 = 6,
  QUANTA_I64 = 7,
  QUANTA_BOOL = 8, /* one byte, 0 or 1 */
  QUANTA_F64 = 9,
  QUANTA_U16 = 10,
  QUANTA_U32 = 11,
  QUANTA_U64 = 12
} quanta_type;

/* A dense row-major array. `bytes` is the size of what `data` points to; for an input it must be exactly the product of
 * the shape and the element size, for an output with a buffer of the caller's it is that buffer's capacity. */
typedef struct {
  void *data; /* aligned to its element type */
  quanta_type type;
  int32_t rank;
  int64_t shape[QUANTA_MAX_RANK];
  int64_t bytes;
} quanta_tensor;

/* Worker threads, shared by any number of models and instances. */
typedef struct quanta_pool quanta_pool;

/* Zero-initialised = defaults; a null pointer means the same. */
typedef struct {
  int32_t threads;          /* 0: as many as the process may use CPUs; counts the calling thread; unused with `pool` */
  int32_t pin;              /* not 0: bind each worker thread to one CPU (never the caller's thread) */
  const char *weights_file; /* needed only by models compiled with separate weights */
  quanta_pool *pool;        /* null: the instance makes its own; else it must outlive the instance */
} quanta_options;

typedef struct {
  const char *name;
  quanta_type type;
  int32_t rank;
  int64_t shape[QUANTA_MAX_RANK]; /* -1 = any size */
} quanta_port;

typedef struct {
  const char *name, *target, *recipe;
  int32_t inputs, outputs;
  const quanta_port *input, *output;
  /* Key/value cache: positions that fit (0: the model has none), and the bytes that each instance keeps for it. A run
   * appends its tokens behind those of the runs before. A run that does not fit fails and changes nothing; one that fails
   * later leaves the cache undefined, and runs are refused until it is reset. */
  int64_t cache_capacity, cache_bytes;
} quanta_model_info;

/* The functions of one model, for programs that load a library at run time: a shared library made by quantc exports one
 * object of this type called `quanta_api_table`. `abi` is always the first field. */
typedef struct {
  uint32_t abi;
  /* Makes an instance. */
  int (*create)(const quanta_options *options, void **model);
  /* Runs it once. An output whose `data` is null, or still points to a buffer of this instance from an earlier run, gets
   * the model's own buffer, which stays valid until the next run of the instance returns, so that it may be an input of
   * that run; its shape and bytes are set. Any other output is copied to the caller's buffer if that is large enough. */
  int (*run)(void *model, const quanta_tensor *inputs, quanta_tensor *outputs);
  /* Forgets all state: the key/value cache becomes empty. */
  int (*reset)(void *model);
  void (*destroy)(void *model);
  const quanta_model_info *(*info)(void);
  const char *(*last_error)(const void *model);
} quanta_api;

#if defined(__GNUC__)
#define QUANTA_EXPORT __attribute__((visibility("default")))
#else
#define QUANTA_EXPORT
#endif

/* A pool of `threads` threads, the calling one included (0: as many as the process may use CPUs); null without memory.
 * When the system refuses threads the pool is smaller. Idle threads spin for about 50 us, then sleep. A model whose
 * shared library defined the pool's code must stay loaded while the pool lives. */
QUANTA_EXPORT quanta_pool *quanta_pool_create(int threads, int pin);
/* Joins the threads. No model may be using the pool. Null is allowed. */
QUANTA_EXPORT void quanta_pool_destroy(quanta_pool *pool);

#ifdef __cplusplus
}
#endif
#endif /* QUANTA_RUNTIME_QUANTA_H */
