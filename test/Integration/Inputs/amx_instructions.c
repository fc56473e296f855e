/*===- amx_instructions.c - AMX's instructions compared with what the manual says -----------------------------*- C -*-===*
 *
 * amx_instructions          tiles of several sizes loaded, multiplied and stored; 1 if something differs
 * amx_instructions FAULT    does what is not allowed: permission, unconfigured, palette, rows, tile, twice, sizes
 *===----------------------------------------------------------------------------------------------------------------------===*/
#define _GNU_SOURCE
#include <immintrin.h>
#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

typedef struct {
  uint8_t palette, start_row, reserved[14];
  uint16_t colsb[16];
  uint8_t rows[16];
} Config;

static uint64_t random_state = 1;
static uint32_t next_random(void) {
  random_state = random_state * 6364136223846793005u + 1442695040888963407u;
  return (uint32_t)(random_state >> 32);
}

/* Sums of tile 0 [m, n], tile 3 [m, k words], tile 6 [k, n]; the others have the largest size. */
static void configure(int m, int n, int k) {
  Config config = {.palette = 1}, stored;
  for (int i = 0; i < 8; ++i)
    config.rows[i] = 16, config.colsb[i] = 64;
  config.rows[0] = config.rows[3] = (uint8_t)m, config.rows[6] = (uint8_t)k;
  config.colsb[0] = config.colsb[6] = (uint16_t)(4 * n), config.colsb[3] = (uint16_t)(4 * k);
  _tile_loadconfig(&config);
  _tile_storeconfig(&stored);
  if (memcmp(&config, &stored, sizeof config))
    puts("the configuration changed"), exit(1);
}

enum { STRIDE = 80 };
typedef union {
  uint8_t u8[16][STRIDE];
  int8_t s8[16][STRIDE];
  int32_t s32[16][STRIDE / 4];
  uint32_t u32[16][STRIDE / 4];
  uint16_t bf16[16][STRIDE / 2];
  float f32[16][STRIDE / 4];
} Matrix;
static Matrix sums, a, b, result;

static void expect(const char *name, int m, int n, int is_equal) {
  if (!is_equal)
    printf("%s differs at [%d, %d]\n", name, m, n), exit(1);
}

/* Elements that are stored equal those that are wanted; what lies beside them is as it was. */
static void check(const char *name, int m, int n, const Matrix *wanted) {
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < STRIDE / 4; ++j)
      expect(name, i, j, result.u32[i][j] == (i < m && j < n ? wanted->u32[i][j] : 0xabababab));
}

/* The barrier: gcc does not know that loads of tiles read memory. */
#define MULTIPLY(instruction)                                                                                                  \
  do {                                                                                                                         \
    memset(&result, 0xab, sizeof result);                                                                                      \
    __asm__ volatile("" : : : "memory");                                                                                       \
    _tile_loadd(0, sums.u8, STRIDE);                                                                                           \
    _tile_loadd(3, a.u8, STRIDE);                                                                                              \
    _tile_stream_loadd(6, b.u8, STRIDE);                                                                                       \
    instruction(0, 3, 6);                                                                                                      \
    _tile_stored(0, result.u8, STRIDE);                                                                                        \
  } while (0)
#define CHECK_BYTES(instruction, A, B)                                                                                         \
  do {                                                                                                                         \
    MULTIPLY(instruction);                                                                                                     \
    Matrix wanted = sums;                                                                                                      \
    for (int i = 0; i < m; ++i)                                                                                                \
      for (int j = 0; j < n; ++j)                                                                                              \
        for (int l = 0; l < 4 * k; ++l)                                                                                        \
          wanted.u32[i][j] += (uint32_t)(a.A[i][l] * b.B[l / 4][4 * j + l % 4]);                                               \
    check(#instruction, m, n, &wanted);                                                                                        \
  } while (0)

static float from_bf16(uint16_t bits) {
  uint32_t wide = (uint32_t)bits << 16;
  float value;
  memcpy(&value, &wide, 4);
  return value;
}

static void test_bf16(int m, int n, int k) {
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < STRIDE / 2; ++j) {
      a.bf16[i][j] = (uint16_t)((next_random() & 0x80ff) | 0x3f00);
      b.bf16[i][j] = (uint16_t)((next_random() & 0x83ff) | 0x3c00);
      if (j < STRIDE / 4)
        sums.f32[i][j] = (float)(int32_t)next_random() * 0x1p-29f;
    }
  a.bf16[0][0] = 1;          /* denormal: counts as zero */
  b.bf16[0][0] = 0x7e00;     /* 2^125 */
  a.bf16[m - 1][1] = 0x0080; /* 2^-126; the product with 2^-2 is denormal, hence zero */
  b.bf16[0][2 * n - 1] = 0x3e80;
  MULTIPLY(_tile_dpbf16ps);
  Matrix wanted = sums;
  for (int i = 0; i < m; ++i)
    for (int j = 0; j < n; ++j) {
      float pair[2] = {0, 0};
      for (int l = 0; l < 2 * k; ++l) {
        float x = from_bf16(a.bf16[i][l]), y = from_bf16(b.bf16[l / 2][2 * j + l % 2]);
        float sum = fmaf(fabsf(x) < 0x1p-126f ? 0 : x, y, pair[l % 2]);
        pair[l % 2] = fabsf(sum) < 0x1p-126f ? 0 : sum;
      }
      wanted.f32[i][j] += pair[0] + pair[1];
    }
  check("_tile_dpbf16ps", m, n, &wanted);
}

static void test(int m, int n, int k) {
  configure(m, n, k);
  for (int i = 0; i < 16; ++i)
    for (int j = 0; j < STRIDE; ++j)
      a.u8[i][j] = (uint8_t)next_random(), b.u8[i][j] = (uint8_t)next_random(), sums.u8[i][j] = (uint8_t)next_random();
  CHECK_BYTES(_tile_dpbssd, s8, s8);
  CHECK_BYTES(_tile_dpbsud, s8, u8);
  CHECK_BYTES(_tile_dpbusd, u8, s8);
  CHECK_BYTES(_tile_dpbuud, u8, u8);
  test_bf16(m, n, k);
  Matrix none;
  memset(&none, 0, sizeof none);
  _tile_loadd(0, sums.u8, STRIDE);
  _tile_zero(0);
  memset(&result, 0xab, sizeof result);
  _tile_stored(0, result.u8, STRIDE);
  check("_tile_zero", m, n, &none);
}

static uint8_t memory[64][STRIDE];
static Config config = {.palette = 1, .colsb = {64, 64}, .rows = {16, 16}};

static void check_address(const char *name, const uint8_t *from, long step) {
  memset(&result, 0xab, sizeof result);
  _tile_stored(1, result.u8, STRIDE);
  for (int i = 0; i < 16; ++i)
    expect(name, i, 0, !memcmp(result.u8[i], from + i * step, 64));
}

/* Displacements of one and four bytes, scaled indices, registers from r8 on, no base, no index, a negative stride. */
static void test_addresses(void) {
  for (int i = 0; i < 64 * STRIDE; ++i)
    memory[i / STRIDE][i % STRIDE] = (uint8_t)next_random();
  uint8_t *rows = memory[20];
  __asm__ volatile("ldtilecfg %0" : : "m"(config)); /* relative to the instruction */
#define CHECK_ADDRESS(instructions, first, step)                                                                               \
  __asm__ volatile(instructions : : "a"(rows), "d"((long)STRIDE) : "memory", "r8", "r12", "r13", "r15");                       \
  check_address(instructions, rows + (first), step)
  CHECK_ADDRESS("tileloadd 4(%0,%1,1), %%tmm1", 4, STRIDE);
  CHECK_ADDRESS("mov %1, %%r8\n shr $3, %%r8\n tileloadd 160(%0,%%r8,8), %%tmm1", 160, STRIDE);
  CHECK_ADDRESS("mov %0, %%r13\n mov %1, %%r15\n tileloadd (%%r13,%%r15,2), %%tmm1", 0, 2 * STRIDE);
  CHECK_ADDRESS("mov %0, %%r12\n tileloaddt1 -16(%%r12,%1,1), %%tmm1", -16, STRIDE);
  CHECK_ADDRESS("mov %1, %%r8\n neg %%r8\n tileloadd (%0,%%r8,1), %%tmm1", 0, -STRIDE);
  CHECK_ADDRESS("tileloadd (%0), %%tmm1", 0, 0);
  __asm__ volatile("tileloadd memory+8(,%0,1), %%tmm1" : : "d"((long)STRIDE) : "memory"); /* not position independent */
  check_address("no base", memory[0] + 8, STRIDE);
}

static void do_fault(const char *fault) {
  if (!strcmp(fault, "unconfigured"))
    _tile_zero(1);
  if (!strcmp(fault, "palette"))
    config.palette = 2;
  if (!strcmp(fault, "rows"))
    config.rows[1] = 17;
  __asm__ volatile("ldtilecfg %0" : : "m"(config));
  if (!strcmp(fault, "tile"))
    _tile_zero(2);
  if (!strcmp(fault, "twice"))
    __asm__ volatile(".byte 0xc4, 0xe2, 0x73, 0x5e, 0xc0"); /* tdpbssd tmm0, tmm0, tmm1, which assemblers refuse */
  if (!strcmp(fault, "sizes")) {
    configure(16, 16, 15);
    _tile_dpbssd(1, 0, 6);
  }
}

int main(int count, char **arguments) {
  const char *fault = count > 1 ? arguments[1] : "";
  if (strcmp(fault, "permission") && syscall(SYS_arch_prctl, 0x1023, 18))
    return puts("the system refuses permission"), 1;
  if (count > 1) {
    do_fault(fault);
    return 0;
  }
  static const int sizes[][3] = {{16, 16, 16}, {1, 1, 1}, {5, 16, 16}, {16, 3, 16}, {16, 16, 7}, {9, 12, 11}};
  for (size_t i = 0; i < sizeof sizes / sizeof *sizes; ++i)
    test(sizes[i][0], sizes[i][1], sizes[i][2]);
  test_addresses();
  _tile_release();
  return 0;
}
