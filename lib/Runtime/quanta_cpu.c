/*===- quanta_cpu.c - What the CPU can do ---------------------------------------------------------------------*- C -*-===*/
#include "quanta_rt.h"
#include "libc.h"

/* The words that features.def takes bits from. */
enum { LEAF_1_ECX, LEAF_EXTENDED_ECX, LEAF_7_EBX, LEAF_7_ECX, LEAF_7_EDX, LEAF_7_1_EAX, HWCAP, HWCAP2, SVE_LENGTH, WORDS };
enum { NONE, YMM = 0x6, ZMM = 0xe6, TILES = 0x600e6 }; /* bits of XCR0 */

static const struct {
  int word, bit, state;
} features[] = {
#define QUANTA_FEATURE(name, word, bit, state) {word, bit, state},
#if defined(__x86_64__)
#define QUANTA_X86_FEATURES
#elif defined(__aarch64__)
#define QUANTA_ARM_FEATURES
#endif
#include "features.def"
};

#if defined(__x86_64__)
#include <cpuid.h>

static unsigned read_words(unsigned *words) {
  unsigned a, b, c, d;
  if (__get_cpuid(1, &a, &b, &c, &d))
    words[LEAF_1_ECX] = c;
  if (__get_cpuid(0x80000001, &a, &b, &c, &d))
    words[LEAF_EXTENDED_ECX] = c;
  if (__get_cpuid_count(7, 0, &a, &b, &c, &d)) {
    words[LEAF_7_EBX] = b;
    words[LEAF_7_ECX] = c;
    words[LEAF_7_EDX] = d;
    if (a >= 1 && __get_cpuid_count(7, 1, &a, &b, &c, &d))
      words[LEAF_7_1_EAX] = a;
  }
  unsigned state = 0, high = 0;
  if (words[LEAF_1_ECX] >> 27 & 1) /* the system uses xsave and lets programs ask what it saves */
    __asm__("xgetbv" : "=a"(state), "=d"(high) : "c"(0));
  return state;
}

/* Registers so large that the system saves them only for processes that ask. */
static int permit_tiles(void) { return !syscall(SYS_arch_prctl, (long)ARCH_REQ_XCOMP_PERM, (long)XFEATURE_XTILEDATA); }
#else
static unsigned read_words(unsigned *words) {
  words[HWCAP] = (unsigned)getauxval(AT_HWCAP);
  words[HWCAP2] = (unsigned)getauxval(AT_HWCAP2);
  /* Of this thread, which those of the pool inherit; the system may have made it shorter than the CPU's. */
  long length = syscall(SYS_prctl, (long)PR_SVE_GET_VL);
  for (unsigned bytes = 1; length > 0 && bytes <= (length & PR_SVE_VL_LEN_MASK); bytes *= 2)
    words[SVE_LENGTH] |= bytes; /* bit i: 2^i bytes or more */
  return 0;
}

static int permit_tiles(void) { return 0; }
#endif

uint64_t quanta_cpu_features(void) {
  unsigned words[WORDS] = {0}, state = read_words(words);
  uint64_t found = 0;
  for (size_t i = 0; i < sizeof features / sizeof *features; ++i) {
    unsigned needed = (unsigned)features[i].state;
    if (words[features[i].word] >> features[i].bit & 1 && (state & needed) == needed)
      found |= (uint64_t)1 << i;
  }
  return found;
}

int quanta_cpu_permit(uint64_t wanted) {
  for (size_t i = 0; i < sizeof features / sizeof *features; ++i)
    if (wanted >> i & 1 && features[i].state == TILES)
      return permit_tiles();
  return 1;
}
