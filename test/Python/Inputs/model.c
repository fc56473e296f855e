/* A model as quantc would write it: y = SCALE * x, or x for any other type than float; runs = start + how often it has
 * run since it was made or reset. NAME, TYPE, SCALE and ABI come from the command line. */
#include "quanta_rt.h"

#include <stdlib.h>
#include <string.h>

static const quanta_port inputs[] = {{"x", TYPE, 2, {-1, 3}}, {"start.0", QUANTA_I64, 0, {0}}};
static const quanta_port outputs[] = {{"y", TYPE, 2, {-1, 3}}, {"runs", QUANTA_I64, 0, {0}}};
static const int32_t symbols_of_inputs[] = {0, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1};
static const char *const symbols[] = {"batch"};
static const int sizes[] = {4, 2, 2, 1, 1, 2, 4, 8, 1, 8, 2, 4, 8};

typedef struct {
  quanta_rt *rt;
  int64_t runs;
} model_t;
static _Thread_local model_t *current;

typedef struct {
  const char *x;
  char *y;
} job_t;

static void scale(void *argument, int64_t begin, int64_t end) {
  const job_t *job = argument;
  if (TYPE != QUANTA_F32) {
    memcpy(job->y + begin * sizes[TYPE], job->x + begin * sizes[TYPE], (size_t)((end - begin) * sizes[TYPE]));
    return;
  }
  for (int64_t i = begin; i < end; ++i)
    ((float *)job->y)[i] = SCALE * ((const float *)job->x)[i];
}

static int entry(quanta_rt *rt) {
  int64_t start = *(const int64_t *)quanta_rt_input(rt, 1), shape[] = {quanta_rt_symbol(rt, 0), 3};
  if (start < 0)
    quanta_rt_fail(rt, "cannot start below zero");
  job_t job = {quanta_rt_input(rt, 0), quanta_rt_alloc(rt, shape[0] * 3 * sizes[TYPE])};
  quanta_rt_parallel(rt, scale, &job, shape[0] * 3, 64);
  int64_t *runs = quanta_rt_alloc(rt, sizeof *runs);
  *runs = start + ++current->runs;
  quanta_rt_output(rt, 0, job.y, 2, shape);
  quanta_rt_output(rt, 1, runs, 0, NULL);
  return 0;
}

static const quanta_rt_code code[] = {{0, entry}};
static const quanta_rt_desc desc = {
    QUANTA_ABI, {NAME, "any", "none", 2, 2, inputs, outputs, 0, 0}, symbols_of_inputs, symbols, 1, code, 1, "", 1, 0};

static int create(const quanta_options *options, void **result) {
  model_t *model = calloc(1, sizeof *model);
  int status = quanta_rt_create(&desc, options, &model->rt);
  if (status != QUANTA_OK)
    free(model);
  else
    *result = model;
  return status;
}
static int run(void *model, const quanta_tensor *in, quanta_tensor *out) {
  current = model;
  return quanta_rt_run(current->rt, in, out);
}
static int reset(void *model) {
  ((model_t *)model)->runs = 0;
  return quanta_rt_reset(((model_t *)model)->rt);
}
static void destroy(void *model) {
  quanta_rt_destroy(((model_t *)model)->rt);
  free(model);
}
static const quanta_model_info *info(void) { return &desc.info; }
static const char *last_error(const void *model) {
  return quanta_rt_last_error(model ? ((const model_t *)model)->rt : NULL);
}

QUANTA_EXPORT const quanta_api quanta_api_table = {ABI, create, run, reset, destroy, info, last_error};
