/* The runtime functions that lowered modules call, for tests: one thread, uneven ranges of tasks, filled buffers. */
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

typedef struct { void *data; int32_t rank; int64_t shape[8]; } tensor;
typedef struct quanta_rt {
  tensor input[16], output[16];
  void *weights;
  int live, launches;
  const char *error;
  jmp_buf escape;
} quanta_rt;

void *quanta_rt_weights(quanta_rt *rt) { return rt->weights; }
void *quanta_rt_input(quanta_rt *rt, int32_t i) { return rt->input[i].data; }
int64_t quanta_rt_input_dim(quanta_rt *rt, int32_t i, int32_t d) { return rt->input[i].shape[d]; }
void *quanta_rt_alloc(quanta_rt *rt, int64_t bytes) {
  int64_t size = (bytes + 127) / 64 * 64;
  ++rt->live;
  return memset(aligned_alloc(64, size), 0xcd, size); /* a read before a write shows up as a strange number */
}
void quanta_rt_free(quanta_rt *rt, void *block) {
  --rt->live;
  free(block);
}
void quanta_rt_output(quanta_rt *rt, int32_t i, void *block, int32_t rank, const int64_t *shape) {
  --rt->live;
  rt->output[i].data = block;
  rt->output[i].rank = rank;
  memcpy(rt->output[i].shape, shape, rank * sizeof(int64_t));
}
void quanta_rt_fail(quanta_rt *rt, const char *message) {
  rt->error = message;
  longjmp(rt->escape, 1);
}
void quanta_rt_parallel(quanta_rt *rt, void (*fn)(void *, int64_t, int64_t), void *arg, int64_t tasks, int64_t grain) {
  ++rt->launches;
  for (int64_t begin = 0, n = 1; begin < tasks; begin += n, n += 2)
    fn(arg, begin, begin + n < tasks ? begin + n : tasks);
}

int quanta_entry(quanta_rt *rt);
int test_run(quanta_rt *rt) { return setjmp(rt->escape) ? 1 : quanta_entry(rt); }
