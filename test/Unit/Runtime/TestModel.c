/*===- TestModel.c - A model written by hand, as quantc would write it ----------------------------------------*- C -*-===*/
#include "TestModel.h"

#include <stddef.h>

static const float weights[16] __attribute__((aligned(64))) = {2, 3};
static const quanta_port inputs[] = {{"a", QUANTA_F32, 2, {-1, 3}}, {"b", QUANTA_F32, 2, {-1, 3}}};
static const quanta_port outputs[] = {{"y", QUANTA_F32, 2, {-1, 3}}, {"block", QUANTA_I64, 1, {1}}};
static const int32_t symbols_of_inputs[] = {0, -1, -1, -1, -1, -1, -1, -1, 0, -1, -1, -1, -1, -1, -1, -1};
static const char *const symbols[] = {"batch"};

typedef struct {
  quanta_rt *rt;
  const float *w, *a, *b;
  float *y;
  int nested;
} job_t;

static void add(void *argument, int64_t begin, int64_t end) {
  const job_t *job = argument;
  if (job->nested && end - begin > 1) {
    for (int64_t i = begin; i < end; ++i) { /* ranges of an inner region count from 0 */
      job_t one = {job->rt, job->w, job->a + i, job->b + i, job->y + i, 0};
      quanta_rt_parallel(job->rt, add, &one, 1, 1);
    }
    return;
  }
  for (int64_t i = begin; i < end; ++i)
    job->y[i] = job->w[0] * job->a[i] + job->b[i];
}

static int entry(quanta_rt *rt) {
  int64_t batch = quanta_rt_symbol(rt, 0);
  const float *a = quanta_rt_input(rt, 0), *b = quanta_rt_input(rt, 1);
  float trouble = batch > 0 ? a[0] : 0;
  float *temporary = quanta_rt_alloc(rt, 1000);
  int64_t shape[] = {quanta_rt_input_dim(rt, 0, 0), 3}, one = 1;
  float *y = quanta_rt_alloc(rt, batch * 12);
  if (trouble == TEST_FAIL)
    quanta_rt_fail(rt, "it was asked to");
  if (trouble == TEST_CODE)
    return 7;
  if (trouble == TEST_MEMORY)
    quanta_rt_alloc(rt, INT64_MAX);
  job_t job = {rt, quanta_rt_weights(rt), a, b, y, trouble == TEST_NESTED};
  quanta_rt_parallel(rt, add, &job, batch * 3, 4);
  int64_t *block = quanta_rt_alloc(rt, 8);
  *block = (int64_t)(intptr_t)temporary;
  quanta_rt_free(rt, temporary);
  quanta_rt_output(rt, 0, y, 2, shape);
  if (trouble != TEST_FORGET)
    quanta_rt_output(rt, 1, block, 1, &one);
  return 0;
}

/* Outputs: the sum of all positions, and the number of them. */
static int cache_entry(quanta_rt *rt) {
  int64_t rows = quanta_rt_symbol(rt, 0), past = quanta_rt_cache_length(rt), one[] = {1, 1};
  float *cache = quanta_rt_state(rt), sum = 0;
  const float *a = quanta_rt_input(rt, 0);
  if (past + rows > 8)
    quanta_rt_fail(rt, "full");
  quanta_rt_cache_advance(rt, rows);
  for (int64_t i = 0; i < rows; ++i)
    cache[past + i] = a[3 * i];
  for (int64_t i = 0; i < past + rows; ++i)
    sum += cache[i];
  if (rows && a[0] == TEST_FAIL)
    quanta_rt_fail(rt, "it was asked to");
  float *y = quanta_rt_alloc(rt, 4);
  int64_t *count = quanta_rt_alloc(rt, 8);
  *y = sum;
  *count = past + rows;
  quanta_rt_output(rt, 0, y, 2, one);
  quanta_rt_output(rt, 1, count, 1, one);
  return 0;
}

#define INFO {"hand", "any", "none", 2, 2, inputs, outputs, 0, 0}
static const quanta_rt_code code[] = {{~0ull, NULL}, {0, entry}}; /* the first is for a CPU that does not exist */
static const quanta_rt_code future[] = {{1ull << 63, entry}};
const quanta_rt_desc test_model_desc_future = {QUANTA_ABI, INFO, symbols_of_inputs, symbols, 1, future, 1, weights, sizeof weights, 0};
const quanta_rt_desc test_model_desc = {QUANTA_ABI, INFO, symbols_of_inputs, symbols, 1, code, 2, weights, sizeof weights, 0};
const quanta_rt_desc test_model_desc_external = {QUANTA_ABI, INFO, symbols_of_inputs, symbols, 1, code, 2, NULL, 8, 99};
static const quanta_rt_code cache_code[] = {{0, cache_entry}};
const quanta_rt_desc test_model_desc_cache = {
    QUANTA_ABI, {"hand", "any", "none", 2, 2, inputs, outputs, 8, 32}, symbols_of_inputs, symbols, 1, cache_code, 1, weights, sizeof weights, 0};

static int create(const quanta_options *options, void **model) {
  return quanta_rt_create(&test_model_desc, options, (quanta_rt **)model);
}
static int run(void *model, const quanta_tensor *in, quanta_tensor *out) { return quanta_rt_run(model, in, out); }
static int reset(void *model) { return quanta_rt_reset(model); }
static void destroy(void *model) { quanta_rt_destroy(model); }
static const quanta_model_info *info(void) { return &test_model_desc.info; }
static const char *last_error(const void *model) { return quanta_rt_last_error(model); }

__attribute__((visibility("default"))) const quanta_api quanta_api_table = {QUANTA_ABI, create, run,       reset,
                                                                           destroy,    info,   last_error};
