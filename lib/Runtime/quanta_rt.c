/*===- quanta_rt.c - one instance of a compiled model ---------------------------------------------------------*- C -*-===*/
#include "quanta_rt.h"
#include "libc.h"
#include "quanta_pool.h"

#include <stdatomic.h>

#define ALIGNMENT 64
#define SLACK 64
/* A cached block that no run has used for this long goes back to the system. */
#define IDLE_RUNS 16
#define MESSAGE_BYTES 512

/* Precedes each block's data and keeps it aligned. A block is in exactly one of: the list of free blocks, the list of live
 * blocks, an output's `block`. */
typedef struct block_t {
  _Alignas(ALIGNMENT) struct block_t *next;
  struct block_t *previous; /* in the list of live blocks */
  int64_t bytes;            /* what the block can hold, without the slack */
  uint64_t last_run;
} block_t;

typedef struct {
  block_t *block; /* what the last run handed out */
  int rank;
  int64_t shape[QUANTA_MAX_RANK];
  int64_t bytes;
  int owned; /* in this run: the caller gave no buffer */
  int set;
} output_t;

struct quanta_rt {
  const quanta_rt_desc *desc;
  int (*entry)(quanta_rt *);
  quanta_pool *pool;
  int owns_pool;
  const void *weights;
  void *mapping;
  size_t mapping_bytes;

  _Atomic int running;
  jmp_buf failure;
  int status; /* what quanta_rt_run returns after a jump */
  const quanta_tensor *inputs;
  const quanta_tensor *given; /* the caller's outputs, for their capacities */

  void *state, *state_block; /* aligned, and what the system gave */
  int64_t cache_length;
  int64_t cache_appended; /* by this run; -1: it has not touched the cache */
  int cache_undefined;    /* a run failed after it had touched the cache */

  int64_t *symbols; /* -1: not bound yet */
  output_t *outputs;
  block_t *free_blocks; /* most recently used first */
  block_t *live_blocks;
  uint64_t runs;
  char message[MESSAGE_BYTES];
};

static _Thread_local char create_message[MESSAGE_BYTES];

//===- Messages and types -------------------------------------------------------------------------------------------===//

__attribute__((format(printf, 3, 4))) static int report(char *message, int status, const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  vsnprintf(message, MESSAGE_BYTES, format, arguments);
  va_end(arguments);
  return status;
}

static const char *model_name(const quanta_rt *rt) { return rt->desc->info.name; }

static const struct {
  const char *name;
  int bytes;
} types[] = {{"f32", 4}, {"f16", 2}, {"bf16", 2}, {"i8", 1},  {"u8", 1},  {"i16", 2}, {"i32", 4},
             {"i64", 8}, {"bool", 1}, {"f64", 8},  {"u16", 2}, {"u32", 4}, {"u64", 8}};

static int known_type(quanta_type type) { return (unsigned)type < sizeof types / sizeof *types; }

static const char *type_name(quanta_type type) { return known_type(type) ? types[type].name : "an unknown type"; }

/* Bytes of a row-major array, or -1 for a negative size or an overflow. */
static int64_t array_bytes(quanta_type type, int rank, const int64_t *shape) {
  int64_t bytes = types[type].bytes;
  int empty = 0; /* the other sizes of an empty array must make sense, too: strides are computed from them */
  for (int d = 0; d < rank; ++d) {
    empty |= shape[d] == 0;
    if (shape[d] < 0 || (shape[d] && __builtin_mul_overflow(bytes, shape[d], &bytes)))
      return -1;
  }
  return empty ? 0 : bytes;
}

//===- Blocks -------------------------------------------------------------------------------------------------------===//

static void link_live(quanta_rt *rt, block_t *block) {
  block->previous = NULL;
  block->next = rt->live_blocks;
  if (block->next)
    block->next->previous = block;
  rt->live_blocks = block;
}

static void unlink_live(quanta_rt *rt, block_t *block) {
  if (block->previous)
    block->previous->next = block->next;
  else
    rt->live_blocks = block->next;
  if (block->next)
    block->next->previous = block->previous;
}

static void link_free(quanta_rt *rt, block_t *block) {
  block->next = rt->free_blocks;
  rt->free_blocks = block;
}

static void *block_data(block_t *block) { return block + 1; }

static block_t *block_of(void *data) { return (block_t *)data - 1; }

static void release_idle_blocks(quanta_rt *rt) {
  for (block_t **link = &rt->free_blocks; *link;) {
    block_t *block = *link;
    if (rt->runs - block->last_run <= IDLE_RUNS) {
      link = &block->next;
      continue;
    }
    *link = block->next;
    free(block);
  }
}

static void free_live_blocks(quanta_rt *rt) {
  while (rt->live_blocks) {
    block_t *block = rt->live_blocks;
    unlink_live(rt, block);
    link_free(rt, block);
  }
}

static void free_output(quanta_rt *rt, output_t *output) {
  if (output->block)
    link_free(rt, output->block);
  output->block = NULL;
}

_Noreturn static void jump(quanta_rt *rt, int status) {
  rt->status = status;
  longjmp(rt->failure, 1);
}

void *quanta_rt_alloc(quanta_rt *rt, int64_t bytes) {
  if (bytes < 0 || bytes > INT64_MAX / 2)
    jump(rt, report(rt->message, QUANTA_NO_MEMORY,
                    "model '%s': the sizes of its inputs need an array of more than 2^62 bytes", model_name(rt)));
  bytes = (bytes + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT;
  /* Best fit, the most recently used block of equal ones. A small array does not take a large block: the large array that
   * comes next would need another one. */
  block_t **best = NULL;
  for (block_t **link = &rt->free_blocks; *link; link = &(*link)->next) {
    int64_t size = (*link)->bytes;
    if (size < bytes || size > 2 * bytes + 4096 || (best && size >= (*best)->bytes))
      continue;
    best = link;
    if (size == bytes)
      break;
  }
  block_t *block;
  if (best) {
    block = *best;
    *best = block->next;
  } else {
    block = aligned_alloc(ALIGNMENT, sizeof(block_t) + (size_t)bytes + SLACK);
    if (!block)
      jump(rt, report(rt->message, QUANTA_NO_MEMORY, "model '%s': out of memory (%lld bytes more were needed)",
                      model_name(rt), (long long)bytes));
    block->bytes = bytes;
  }
  block->last_run = rt->runs;
  link_live(rt, block);
  return block_data(block);
}

void quanta_rt_free(quanta_rt *rt, void *data) {
  if (!data)
    return;
  unlink_live(rt, block_of(data));
  link_free(rt, block_of(data));
}

//===- What an entry asks for ---------------------------------------------------------------------------------------===//

const void *quanta_rt_weights(quanta_rt *rt) { return rt->weights; }

void *quanta_rt_input(quanta_rt *rt, int32_t input) { return rt->inputs[input].data; }

int64_t quanta_rt_input_dim(quanta_rt *rt, int32_t input, int32_t dim) { return rt->inputs[input].shape[dim]; }

void *quanta_rt_state(quanta_rt *rt) { return rt->state; }

int64_t quanta_rt_cache_length(quanta_rt *rt) { return rt->cache_length; }

void quanta_rt_cache_advance(quanta_rt *rt, int64_t positions) { rt->cache_appended = positions; }

int64_t quanta_rt_symbol(quanta_rt *rt, int32_t symbol) {
  if (rt->symbols[symbol] < 0)
    jump(rt, report(rt->message, QUANTA_FAILED, "model '%s': no input gives the size '%s'", model_name(rt),
                    rt->desc->symbols[symbol]));
  return rt->symbols[symbol];
}

void quanta_rt_fail(quanta_rt *rt, const char *message) {
  jump(rt, report(rt->message, QUANTA_FAILED, "model '%s': %s", model_name(rt), message));
}

void quanta_rt_parallel(quanta_rt *rt, void (*fn)(void *, int64_t, int64_t), void *arg, int64_t tasks, int64_t grain) {
  quanta_pool_run(rt->pool, fn, arg, tasks, grain);
}

void quanta_rt_output(quanta_rt *rt, int32_t index, void *data, int32_t rank, const int64_t *shape) {
  output_t *output = &rt->outputs[index];
  const quanta_port *port = &rt->desc->info.output[index];
  int64_t bytes = rank < 0 || rank > QUANTA_MAX_RANK ? -1 : array_bytes(port->type, rank, shape);
  if (bytes < 0)
    jump(rt, report(rt->message, QUANTA_FAILED, "model '%s': output '%s' has an impossible shape", model_name(rt),
                    port->name));
  if (!output->owned && rt->given[index].bytes < bytes)
    jump(rt, report(rt->message, QUANTA_INVALID, "model '%s': output '%s' needs a buffer of %lld bytes, got %lld",
                    model_name(rt), port->name, (long long)bytes, (long long)rt->given[index].bytes));
  if (output->set) /* an entry that sets an output twice gives the last one */
    free_output(rt, output);
  unlink_live(rt, block_of(data));
  output->block = block_of(data);
  output->set = 1;
  output->rank = rank;
  output->bytes = bytes;
  if (rank)
    memcpy(output->shape, shape, (size_t)rank * sizeof *shape);
}

//===- Checks of a call ---------------------------------------------------------------------------------------------===//

static int bind_symbol(quanta_rt *rt, int32_t symbol, const quanta_port *port, int dim, int64_t size) {
  const quanta_rt_desc *desc = rt->desc;
  if (symbol < 0)
    return QUANTA_OK;
  if (rt->symbols[symbol] < 0)
    rt->symbols[symbol] = size;
  if (rt->symbols[symbol] == size)
    return QUANTA_OK;
  return report(rt->message, QUANTA_INVALID,
                "model '%s': input '%s' has %lld for dimension %d, but that is '%s', which is %lld in an input before it",
                model_name(rt), port->name, (long long)size, dim, desc->symbols[symbol], (long long)rt->symbols[symbol]);
}

static int check_input(quanta_rt *rt, int32_t index, const quanta_tensor *tensor) {
  const quanta_port *port = &rt->desc->info.input[index];
  const char *model = model_name(rt);
  if (tensor->type != port->type)
    return report(rt->message, QUANTA_INVALID, "model '%s': input '%s' must be %s, got %s", model, port->name,
                  type_name(port->type), type_name(tensor->type));
  if (tensor->rank != port->rank)
    return report(rt->message, QUANTA_INVALID, "model '%s': input '%s' must have %d dimensions, got %d", model, port->name,
                  port->rank, tensor->rank);
  for (int d = 0; d < port->rank; ++d) {
    int64_t size = tensor->shape[d];
    if (size < 0)
      return report(rt->message, QUANTA_INVALID, "model '%s': input '%s' has the negative size %lld for dimension %d",
                    model, port->name, (long long)size, d);
    if (port->shape[d] >= 0 && port->shape[d] != size)
      return report(rt->message, QUANTA_INVALID, "model '%s': input '%s' must have %lld for dimension %d, got %lld", model,
                    port->name, (long long)port->shape[d], d, (long long)size);
    if (!rt->desc->input_symbols)
      continue;
    int status = bind_symbol(rt, rt->desc->input_symbols[index * QUANTA_MAX_RANK + d], port, d, size);
    if (status)
      return status;
  }
  int64_t bytes = array_bytes(port->type, port->rank, tensor->shape);
  if (bytes < 0)
    return report(rt->message, QUANTA_INVALID, "model '%s': input '%s' has a shape of more than 2^63 bytes", model,
                  port->name);
  if (tensor->bytes != bytes)
    return report(rt->message, QUANTA_INVALID, "model '%s': input '%s' of this shape has %lld bytes, got %lld", model,
                  port->name, (long long)bytes, (long long)tensor->bytes);
  if (!tensor->data && bytes)
    return report(rt->message, QUANTA_INVALID, "model '%s': input '%s' has no data", model, port->name);
  if ((uintptr_t)tensor->data % (unsigned)types[port->type].bytes)
    return report(rt->message, QUANTA_INVALID, "model '%s': the data of input '%s' must be aligned to %d bytes", model,
                  port->name, types[port->type].bytes);
  return QUANTA_OK;
}

static int holds(block_t *block, const void *data) {
  uintptr_t begin = (uintptr_t)block_data(block), at = (uintptr_t)data;
  return at >= begin && at - begin <= (uintptr_t)block->bytes;
}

/* Takes back what the last run handed out, except what is now an input: that lives until this run ends, in the list of
 * live blocks. */
static void prepare_outputs(quanta_rt *rt, quanta_tensor *outputs) {
  const quanta_model_info *info = &rt->desc->info;
  for (int32_t i = 0; i < info->outputs; ++i) {
    /* A caller who passes the same structures again does not mean last run's buffers to be theirs. */
    int owned = !outputs[i].data;
    for (int32_t j = 0; j < info->outputs && !owned; ++j)
      owned = rt->outputs[j].block && outputs[i].data == block_data(rt->outputs[j].block);
    rt->outputs[i].owned = owned;
    rt->outputs[i].set = 0;
    if (owned)
      outputs[i].data = NULL;
  }
  for (int32_t j = 0; j < info->outputs; ++j) {
    output_t *output = &rt->outputs[j];
    int kept = 0;
    for (int32_t i = 0; i < info->inputs && output->block; ++i)
      kept |= holds(output->block, rt->inputs[i].data);
    if (!kept) {
      free_output(rt, output);
      continue;
    }
    output->block->last_run = rt->runs;
    link_live(rt, output->block);
    output->block = NULL;
  }
}

static void hand_over(quanta_rt *rt, quanta_tensor *outputs) {
  for (int32_t i = 0; i < rt->desc->info.outputs; ++i) {
    output_t *output = &rt->outputs[i];
    quanta_tensor *tensor = &outputs[i];
    tensor->type = rt->desc->info.output[i].type;
    tensor->rank = output->rank;
    memcpy(tensor->shape, output->shape, (size_t)output->rank * sizeof *tensor->shape);
    tensor->bytes = output->bytes;
    if (output->owned) {
      tensor->data = block_data(output->block);
      continue;
    }
    memcpy(tensor->data, block_data(output->block), (size_t)output->bytes);
    free_output(rt, output);
  }
}

/* Runs the entry; returns a quanta_status. In a function of its own because setjmp restricts its caller's variables. */
static int call_entry(quanta_rt *rt) {
  if (setjmp(rt->failure))
    return rt->status;
  int result = rt->entry(rt);
  if (result)
    return report(rt->message, QUANTA_FAILED, "model '%s': failed with code %d", model_name(rt), result);
  for (int32_t i = 0; i < rt->desc->info.outputs; ++i)
    if (!rt->outputs[i].set)
      return report(rt->message, QUANTA_FAILED, "model '%s': output '%s' was not computed", model_name(rt),
                    rt->desc->info.output[i].name);
  return QUANTA_OK;
}

static int run(quanta_rt *rt, const quanta_tensor *inputs, quanta_tensor *outputs) {
  const quanta_model_info *info = &rt->desc->info;
  if ((info->inputs && !inputs) || (info->outputs && !outputs))
    return report(rt->message, QUANTA_INVALID, "model '%s': needs %d input(s) and %d output(s), got a null pointer",
                  model_name(rt), info->inputs, info->outputs);
  if (rt->cache_undefined)
    return report(rt->message, QUANTA_INVALID,
                  "model '%s': an earlier run failed while it changed the key/value cache; reset the model first",
                  model_name(rt));
  for (int32_t s = 0; s < rt->desc->symbol_count; ++s)
    rt->symbols[s] = -1;
  for (int32_t i = 0; i < info->inputs; ++i) {
    int status = check_input(rt, i, &inputs[i]);
    if (status)
      return status;
  }
  ++rt->runs;
  rt->inputs = inputs;
  rt->given = outputs;
  rt->cache_appended = -1;
  prepare_outputs(rt, outputs);
  release_idle_blocks(rt);
  int status = call_entry(rt);
  free_live_blocks(rt);
  if (rt->cache_appended >= 0) {
    if (status == QUANTA_OK)
      rt->cache_length += rt->cache_appended;
    else
      rt->cache_undefined = 1;
  }
  if (status == QUANTA_OK)
    hand_over(rt, outputs);
  else
    for (int32_t i = 0; i < info->outputs; ++i)
      free_output(rt, &rt->outputs[i]);
  return status;
}

int quanta_rt_run(quanta_rt *rt, const quanta_tensor *inputs, quanta_tensor *outputs) {
  if (!rt)
    return QUANTA_INVALID;
  /* The message belongs to the run in progress, so a second thread gets only the code. */
  if (atomic_exchange_explicit(&rt->running, 1, memory_order_acquire))
    return QUANTA_INVALID;
  rt->message[0] = 0;
  int status = run(rt, inputs, outputs);
  atomic_store_explicit(&rt->running, 0, memory_order_release);
  return status;
}

//===- Instances ----------------------------------------------------------------------------------------------------===//

static int map_weights(quanta_rt *rt, const char *path) {
  const quanta_rt_desc *desc = rt->desc;
  const char *model = model_name(rt);
  if (!path)
    return report(create_message, QUANTA_INVALID,
                  "model '%s': its weights are in a file of their own; name it in quanta_options.weights_file", model);
  int file = open(path, O_RDONLY | O_CLOEXEC);
  long size = file < 0 ? -1 : lseek(file, 0, SEEK_END);
  if (size < 0) {
    int status = report(create_message, QUANTA_INVALID, "model '%s': cannot open the weights file '%s': %s", model, path,
                        strerror(errno));
    if (file >= 0)
      close(file);
    return status;
  }
  uint64_t expected = desc->weights_bytes + sizeof(quanta_weights_trailer);
  if ((uint64_t)size != expected) {
    close(file);
    return report(create_message, QUANTA_INVALID, "model '%s': the weights file '%s' must have %llu bytes, has %lld", model,
                  path, (unsigned long long)expected, (long long)size);
  }
  void *mapping = mmap(NULL, expected, PROT_READ, MAP_PRIVATE, file, 0);
  close(file);
  if (mapping == MAP_FAILED)
    return report(create_message, QUANTA_NO_MEMORY, "model '%s': cannot map the weights file '%s': %s", model, path,
                  strerror(errno));
  rt->mapping = mapping;
  rt->mapping_bytes = expected;
  rt->weights = mapping;
  quanta_weights_trailer trailer;
  memcpy(&trailer, (const char *)mapping + desc->weights_bytes, sizeof trailer);
  if (memcmp(trailer.magic, QUANTA_WEIGHTS_MAGIC, sizeof trailer.magic) || trailer.hash != desc->weights_hash)
    return report(create_message, QUANTA_INVALID,
                  "model '%s': the weights file '%s' was written for another compilation of the model", model, path);
  return QUANTA_OK;
}

static int initialise(quanta_rt *rt, const quanta_options *options) {
  const quanta_rt_desc *desc = rt->desc;
  const char *model = model_name(rt);
  uint64_t features = quanta_cpu_features();
  for (int32_t i = 0; i < desc->code_count && !rt->entry; ++i)
    if (!(desc->code[i].features & ~features) && quanta_cpu_permit(desc->code[i].features))
      rt->entry = desc->code[i].entry;
  if (!rt->entry)
    return report(create_message, QUANTA_FAILED,
                  "model '%s': this CPU does not have all instructions of the one that it was compiled for (%s), or the system does "
                  "not let programs use them", model, desc->info.target);
  rt->symbols = calloc((size_t)desc->symbol_count + 1, sizeof *rt->symbols);
  rt->outputs = calloc((size_t)desc->info.outputs + 1, sizeof *rt->outputs);
  if (!rt->symbols || !rt->outputs)
    return report(create_message, QUANTA_NO_MEMORY, "model '%s': out of memory", model);
  if (desc->info.cache_bytes) {
    /* Pages that no position has reached yet take no memory. */
    rt->state_block = calloc(1, (size_t)desc->info.cache_bytes + ALIGNMENT + SLACK);
    if (!rt->state_block)
      return report(create_message, QUANTA_NO_MEMORY, "model '%s': out of memory for a key/value cache of %lld bytes", model,
                    (long long)desc->info.cache_bytes);
    rt->state = (void *)(((uintptr_t)rt->state_block + ALIGNMENT - 1) / ALIGNMENT * ALIGNMENT);
  }
  rt->weights = desc->weights;
  if (!rt->weights && desc->weights_bytes) {
    int status = map_weights(rt, options->weights_file);
    if (status)
      return status;
  }
  if (options->pool && !quanta_pool_compatible(options->pool))
    return report(create_message, QUANTA_INVALID, "model '%s': the pool was made by another version of Quanta", model);
  rt->pool = options->pool ? options->pool : quanta_pool_create(options->threads, options->pin);
  rt->owns_pool = !options->pool;
  if (!rt->pool)
    return report(create_message, QUANTA_NO_MEMORY, "model '%s': out of memory for threads", model);
  return QUANTA_OK;
}

int quanta_rt_create(const quanta_rt_desc *desc, const quanta_options *options, quanta_rt **result) {
  static const quanta_options defaults;
  create_message[0] = 0;
  if (!options)
    options = &defaults;
  if (!result)
    return report(create_message, QUANTA_INVALID, "model '%s': nowhere to put the instance", desc->info.name);
  *result = NULL;
  if (desc->abi != QUANTA_ABI)
    return report(create_message, QUANTA_INVALID, "model '%s': has interface version %u, its runtime has %u",
                  desc->info.name, (unsigned)desc->abi, QUANTA_ABI);
  if (options->threads < 0)
    return report(create_message, QUANTA_INVALID, "model '%s': cannot use %d threads; 0 means all CPUs", desc->info.name,
                  options->threads);
  quanta_rt *rt = calloc(1, sizeof *rt);
  if (!rt)
    return report(create_message, QUANTA_NO_MEMORY, "model '%s': out of memory", desc->info.name);
  rt->desc = desc;
  int status = initialise(rt, options);
  if (status) {
    quanta_rt_destroy(rt);
    return status;
  }
  *result = rt;
  return QUANTA_OK;
}

int quanta_rt_reset(quanta_rt *rt) {
  if (!rt || atomic_load_explicit(&rt->running, memory_order_acquire))
    return QUANTA_INVALID;
  rt->message[0] = 0;
  rt->cache_length = 0;
  rt->cache_undefined = 0;
  return QUANTA_OK;
}

void quanta_rt_destroy(quanta_rt *rt) {
  if (!rt)
    return;
  if (rt->owns_pool)
    quanta_pool_destroy(rt->pool);
  if (rt->outputs)
    for (int32_t i = 0; i < rt->desc->info.outputs; ++i)
      free(rt->outputs[i].block);
  for (block_t *block = rt->free_blocks, *next; block; block = next) {
    next = block->next;
    free(block);
  }
  if (rt->mapping)
    munmap(rt->mapping, rt->mapping_bytes);
  free(rt->state_block);
  free(rt->outputs);
  free(rt->symbols);
  free(rt);
}

const char *quanta_rt_last_error(const quanta_rt *rt) { return rt ? rt->message : create_message; }
