/* Two compiled models in one program, with one pool. */
#include "first.h"
#include "second.h"
#include <stdio.h>

int main(void) {
  float x[8] = {1, 2, 3, 4, 5, 6, 7, 8}, mine[8];
  quanta_tensor in = {.data = x, .type = QUANTA_F32, .rank = 1, .shape = {8}, .bytes = sizeof x};
  quanta_tensor out = {0}, filled = {.data = mine, .bytes = sizeof mine};
  quanta_options options = {0};
  options.pool = quanta_pool_create(2, 0);

  first_model *first;
  second_model *second;
  if (first_create(&options, &first))
    return puts(first_last_error(NULL)), 1;
  if (second_create(&options, &second))
    return puts(second_last_error(NULL)), 1;
  if (first_run(first, &in, &out))
    return puts(first_last_error(first)), 1;
  if (second_run(second, &in, &filled))
    return puts(second_last_error(second)), 1;
  printf("first:");
  for (int i = 0; i < 8; ++i)
    printf(" %g", ((float *)out.data)[i]);
  printf("\nsecond:");
  for (int i = 0; i < 8; ++i)
    printf(" %g", mine[i]);
  in.type = QUANTA_I32;
  if (first_run(first, &in, &out) != QUANTA_INVALID)
    return 1;
  printf("\nwrong type: %s\n", first_last_error(first));
  printf("%s %s %d\n", first_info()->name, second_info()->target, first_info()->inputs);
  first_destroy(first);
  second_destroy(second);
  quanta_pool_destroy(options.pool);
  return 0;
}
