/* Continues a prompt greedily, a token at a time, with a decoder that keeps its keys and values:
 *
 *   quantc model_kv.onnx --recipe 'kv{capacity=512}' --name decoder -o decoder.o
 *   quantc model_kv.onnx --recipe 'kv{capacity=512}' --name decoder -o decoder.h
 *   cc main.c decoder.o -lm -lpthread -o generate
 *   ./generate 16 1 530 27 ...      # 16 tokens behind these
 *
 * The inputs are those of a graph exported with its cache, less the past: the new tokens, a mask of all positions, and the new
 * tokens' positions. */
#include "decoder.h"
#include <stdio.h>
#include <stdlib.h>

static int64_t best(const float *logits, int64_t count) {
  int64_t token = 0;
  for (int64_t i = 1; i < count; ++i)
    if (logits[i] > logits[token])
      token = i;
  return token;
}

int main(int argc, char **argv) {
  if (argc < 3) {
    fprintf(stderr, "usage: %s COUNT TOKEN...\n", argv[0]);
    return 1;
  }
  decoder_model *model;
  if (decoder_create(NULL, &model) != QUANTA_OK) {
    fprintf(stderr, "%s\n", decoder_last_error(NULL));
    return 1;
  }
  int64_t count = atoll(argv[1]), prompt = argc - 2, capacity = decoder_info()->cache_capacity;
  int64_t *tokens = malloc(3 * (size_t)(capacity + prompt) * sizeof *tokens);
  if (!tokens)
    return 1;
  int64_t *mask = tokens + capacity + prompt, *positions = mask + capacity + prompt;
  for (int64_t i = 0; i < capacity + prompt; ++i) {
    mask[i] = 1;
    positions[i] = i;
  }
  for (int64_t i = 0; i < prompt; ++i)
    tokens[i] = atoll(argv[2 + i]);

  int64_t past = 0, fresh = prompt; /* the first run takes the whole prompt, each later one a token */
  quanta_tensor logits = {0};       /* the model's own buffer */
  for (int64_t step = 0; step < count; ++step) {
    quanta_tensor inputs[] = {{tokens, QUANTA_I64, 2, {1, fresh}, fresh * 8},
                              {mask, QUANTA_I64, 2, {1, past + fresh}, (past + fresh) * 8},
                              {positions + past, QUANTA_I64, 2, {1, fresh}, fresh * 8}};
    if (past + fresh > capacity || decoder_run(model, inputs, &logits) != QUANTA_OK) {
      fprintf(stderr, "%s\n", past + fresh > capacity ? "the cache is full" : decoder_last_error(model));
      return 1;
    }
    int64_t vocabulary = logits.shape[2];
    tokens[0] = best((const float *)logits.data + (fresh - 1) * vocabulary, vocabulary);
    printf("%lld%c", (long long)tokens[0], step + 1 < count ? ' ' : '\n');
    past += fresh;
    fresh = 1;
  }
  free(tokens);
  decoder_destroy(model);
  return 0;
}
