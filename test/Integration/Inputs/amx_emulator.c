/*===- amx_emulator.c - Executes instructions of AMX and AVX-VNNI where the CPU lacks them -------------------*- C -*-===*
 *
 * Loaded with LD_PRELOAD. A CPU without AMX raises #UD for its instructions, which arrives as SIGILL: the handler decodes the
 * instruction, executes it as the Intel 64 and IA-32 Architectures Software Developer's Manual (SDM) says in volume 2, on the page
 * of each instruction, on registers of the thread, and continues behind it. What the manual forbids, and what it leaves out here, ends
 * the process with a message: a wrong tile configuration is an error of the program that is tested.
 *
 * Programs ask the CPU for AMX by CPUID and XGETBV, which do not raise #UD. amx.py replaces the first byte of those two in the
 * program by 06, an instruction that does not exist in 64-bit mode (SDM 2, table A-2, PUSH ES): the handler executes the original
 * and adds AMX. Programs ask the system for its registers by arch_prctl, which is answered here.
 *
 * AMX_PERMISSION=refused   the system does not give the registers
 * AMX_LOG=FILE             the number of multiplications, of tiles or vectors, is written there at exit
 *===----------------------------------------------------------------------------------------------------------------------===*/
#define _GNU_SOURCE
#include <cpuid.h>
#include <dlfcn.h>
#include <errno.h>
#include <immintrin.h>
#include <math.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <ucontext.h>
#include <unistd.h>

/* Palette 1 (SDM 1, "AMX: palettes"). */
enum { TILES = 8, ROWS = 16, ROW_BYTES = 64 };

/* The memory operand of LDTILECFG; all zero: not configured. */
typedef struct {
  uint8_t palette, start_row, reserved[14];
  uint16_t colsb[16];
  uint8_t rows[16];
} Config;
_Static_assert(sizeof(Config) == 64, "");

typedef union {
  uint8_t u8[ROW_BYTES];
  uint16_t bf16[ROW_BYTES / 2];
  uint32_t u32[ROW_BYTES / 4];
  float f32[ROW_BYTES / 4];
} Row;

static __thread struct {
  Config config;
  Row tiles[TILES][ROWS];
} state;
static atomic_int permitted;
static atomic_ulong multiplications;

typedef struct {
  const uint8_t *code;
  int opcode, prefix, vvvv; /* prefix, VEX.pp: 0 none, 1 66, 2 F3, 3 F2 */
  int mod, reg, rm, is_256; /* VEX.L */
  int has_sib;
  uint64_t base, stride; /* of the memory operand: base and displacement; the scaled index, which tiles' rows are apart */
  size_t length;
} Instruction;

static _Noreturn void fail(const uint8_t *code, const char *why) {
  dprintf(2, "amx_emulator: %s, at %p:", why, (const void *)code);
  for (int i = 0; i < 8; ++i)
    dprintf(2, " %02x", code[i]);
  dprintf(2, "\n");
  abort();
}

/*===- Decoding ---------------------------------------------------------------------------------------------------------===*/

static uint64_t general_register(const greg_t *regs, int number) {
  static const int order[16] = {REG_RAX, REG_RCX, REG_RDX, REG_RBX, REG_RSP, REG_RBP, REG_RSI, REG_RDI,
                                REG_R8,  REG_R9,  REG_R10, REG_R11, REG_R12, REG_R13, REG_R14, REG_R15};
  return (uint64_t)regs[order[number]];
}

/* What follows ModRM (SDM 2, section 2.1.5, tables 2-2 and 2-3); VEX.X and VEX.B are the high bits of the index and the base. */
static void decode_memory(Instruction *in, const greg_t *regs, const uint8_t *next, int x, int b) {
  int base = in->rm | b << 3, is_absolute = 0, is_relative = 0;
  if (in->rm == 4) {
    uint8_t sib = *next++;
    int index = (sib >> 3 & 7) | x << 3;
    in->has_sib = 1;
    in->stride = index == 4 ? 0 : general_register(regs, index) << (sib >> 6);
    base = (sib & 7) | b << 3;
    is_absolute = (sib & 7) == 5 && in->mod == 0;
  } else {
    is_relative = in->rm == 5 && in->mod == 0;
  }
  int64_t displacement = 0;
  if (in->mod == 1) {
    displacement = (int8_t)*next++;
  } else if (in->mod == 2 || is_absolute || is_relative) {
    int32_t wide;
    memcpy(&wide, next, 4);
    displacement = wide, next += 4;
  }
  in->base = (uint64_t)displacement;
  if (is_relative)
    in->base += (uint64_t)next;
  else if (!is_absolute)
    in->base += general_register(regs, base);
  in->length = (size_t)(next - in->code);
}

/* C4 [R X B mmmmm] [W vvvv L pp] opcode ModRM, with R, X, B and vvvv inverted (SDM 2, section 2.3.5). All AMX instructions are
 * VEX.128.0F38.W0, those of AVX-VNNI VEX.0F38.W0. */
static Instruction decode(const uint8_t *code, const greg_t *regs) {
  if (code[0] != 0xc4 || (code[1] & 0x1f) != 2 || code[2] & 0x80)
    fail(code, "neither this CPU nor the emulator has the instruction");
  Instruction in = {.code = code, .opcode = code[3], .prefix = code[2] & 3, .vvvv = ~(code[2] >> 3) & 15, .is_256 = code[2] >> 2 & 1};
  int r = ~code[1] >> 7 & 1, x = ~code[1] >> 6 & 1, b = ~code[1] >> 5 & 1;
  in.mod = code[4] >> 6, in.reg = (code[4] >> 3 & 7) | r << 3, in.rm = code[4] & 7, in.length = 5;
  if (in.mod != 3)
    decode_memory(&in, regs, code + 5, x, b);
  else
    in.rm |= b << 3;
  return in;
}

/*===- Tiles ------------------------------------------------------------------------------------------------------------===*/

/* A tile that the configuration has, whose rows hold whole elements of 32 bits. */
static Row *tile(const Instruction *in, int number) {
  if (!state.config.palette)
    fail(in->code, "#UD: tiles are not configured");
  if (number >= TILES || !state.config.rows[number])
    fail(in->code, "#UD: the configuration does not have this tile");
  if (state.config.colsb[number] % 4)
    fail(in->code, "#UD: the rows of a tile are no multiple of four bytes");
  return state.tiles[number];
}

static void load_config(const Instruction *in) {
  Config config;
  memcpy(&config, (const void *)in->base, sizeof config);
  memset(&state, 0, sizeof state);
  if (!config.palette)
    return;
  if (config.palette != 1)
    fail(in->code, "#GP: the palette does not exist");
  for (size_t i = 0; i < sizeof config.reserved; ++i)
    if (config.reserved[i])
      fail(in->code, "#GP: reserved bytes of the configuration are not zero");
  for (int i = 0; i < 16; ++i) {
    int rows = config.rows[i], bytes = config.colsb[i];
    if (rows > (i < TILES ? ROWS : 0) || bytes > (i < TILES ? ROW_BYTES : 0) || !rows != !bytes)
      fail(in->code, "#GP: the configuration has a tile of a size that does not exist");
  }
  state.config = config;
}

/* TILELOADD and TILESTORED: row i lies at base + i · stride. An interrupted one would continue at start_row. */
static void move_tile(const Instruction *in, int stores) {
  Row *rows = tile(in, in->reg);
  size_t bytes = state.config.colsb[in->reg];
  int count = state.config.rows[in->reg], start = state.config.start_row;
  if (!in->has_sib || in->vvvv)
    fail(in->code, "#UD: a tile is addressed without SIB or with VEX.vvvv");
  if (start >= count)
    fail(in->code, "#UD: the start row lies beyond the tile");
  for (int i = start; i < count; ++i) {
    void *memory = (void *)(in->base + (uint64_t)i * in->stride);
    if (stores) {
      memcpy(memory, rows[i].u8, bytes);
    } else {
      memset(rows[i].u8, 0, ROW_BYTES);
      memcpy(rows[i].u8, memory, bytes);
    }
  }
  if (!stores)
    memset(rows + count, 0, sizeof(Row) * (size_t)(ROWS - count));
  state.config.start_row = 0;
}

/*===- Products ---------------------------------------------------------------------------------------------------------===*/

/* The operands of a product: sums ModRM.reg, a ModRM.rm, b VEX.vvvv (exception class AMX-E4). */
typedef struct {
  Row *sums;
  const Row *a, *b;
  int rows, inner, columns; /* of 32 bits */
} Product;

static Product product(const Instruction *in) {
  Product p = {tile(in, in->reg), tile(in, in->rm), tile(in, in->vvvv), 0, 0, 0};
  const Config *config = &state.config;
  p.rows = config->rows[in->reg], p.inner = config->rows[in->vvvv], p.columns = config->colsb[in->reg] / 4;
  if (in->reg == in->rm || in->reg == in->vvvv || in->rm == in->vvvv)
    fail(in->code, "#UD: a product has a tile twice");
  if (config->rows[in->rm] != p.rows || config->colsb[in->rm] / 4 != p.inner || config->colsb[in->vvvv] / 4 != p.columns)
    fail(in->code, "#UD: the sizes of a product's tiles do not fit");
  atomic_fetch_add(&multiplications, 1);
  return p;
}

static int32_t extend(uint8_t byte, int is_signed) { return is_signed ? (int8_t)byte : byte; }

/* TDPBSSD and its kin: sums wrap around. */
static void multiply_bytes(const Product *p, int a_signed, int b_signed) {
  for (int m = 0; m < p->rows; ++m)
    for (int k = 0; k < p->inner; ++k)
      for (int n = 0; n < p->columns; ++n)
        for (int i = 0; i < 4; ++i)
          p->sums[m].u32[n] +=
              (uint32_t)(extend(p->a[m].u8[4 * k + i], a_signed) * extend(p->b[k].u8[4 * n + i], b_signed));
}

static float widen(uint16_t bf16) {
  uint32_t bits = (uint32_t)bf16 << 16;
  float value;
  memcpy(&value, &bits, 4);
  return value;
}

/* TDPBF16PS: even and odd products have sums of their own, each product and sum is rounded once, to nearest, and they are added up
 * at the end; denormals are zeros. */
__attribute__((noinline)) static void multiply_bf16(const Product *p) {
  for (int m = 0; m < p->rows; ++m) {
    float even[ROW_BYTES / 4] = {0}, odd[ROW_BYTES / 4] = {0};
    for (int k = 0; k < p->inner; ++k)
      for (int n = 0; n < p->columns; ++n) {
        even[n] = fmaf(widen(p->a[m].bf16[2 * k]), widen(p->b[k].bf16[2 * n]), even[n]);
        odd[n] = fmaf(widen(p->a[m].bf16[2 * k + 1]), widen(p->b[k].bf16[2 * n + 1]), odd[n]);
      }
    for (int n = 0; n < p->columns; ++n)
      p->sums[m].f32[n] += even[n] + odd[n];
  }
}

static void multiply(const Instruction *in) {
  Product p = product(in);
  if (in->opcode == 0x5e) {
    multiply_bytes(&p, in->prefix >> 1, in->prefix & 1); /* none UU, 66 US, F3 SU, F2 SS */
  } else {
    unsigned before = _mm_getcsr();
    _mm_setcsr(0x9fc0); /* no exceptions, to nearest, denormals are zeros, and so are results */
    multiply_bf16(&p);
    _mm_setcsr(before);
  }
  /* Sums beyond the rows and columns are zero since the configuration was loaded, or a tile last. */
  state.config.start_row = 0;
}

/*===- AVX-VNNI ---------------------------------------------------------------------------------------------------------===*/

/* The vector registers of the interrupted program, as XSAVE stores them (SDM 1, section 13.4; a signal's frame has the standard
 * format): the lower 128 bits, bits 128 to 255, and bits 256 to 511. A part whose bit in XSTATE_BV is clear is zero. */
typedef struct {
  uint8_t *area;
  uint64_t *present;
} Vectors;
enum { SSE, AVX, HI256, PARTS };
static const struct {
  uint64_t bit;
  size_t bytes;
} parts[PARTS] = {{1 << 1, 16}, {1 << 2, 16}, {1 << 6, 32}};

static Vectors vectors_of(ucontext_t *context) {
  uint8_t *area = (uint8_t *)context->uc_mcontext.fpregs;
  return (Vectors){area, (uint64_t *)(area + 512)};
}

static uint8_t *part_of(const Vectors *v, int part, int number) {
  static size_t begin[PARTS] = {160};
  if (part && !begin[part]) {
    unsigned size, offset, c, d;
    __cpuid_count(0xd, part == AVX ? 2 : 6, size, offset, c, d);
    begin[part] = offset;
  }
  return v->area + begin[part] + (size_t)number * parts[part].bytes;
}

static void read_vector(const Vectors *v, int number, uint8_t *value) {
  for (int part = SSE; part <= AVX; ++part)
    if (*v->present & parts[part].bit)
      memcpy(value + 16 * part, part_of(v, part, number), 16);
    else
      memset(value + 16 * part, 0, 16);
}

/* What lies above the value becomes zero. */
static void write_vector(const Vectors *v, int number, const uint8_t *value, int is_256) {
  static const uint8_t zeros[32];
  for (int part = SSE; part < PARTS; ++part) {
    if (!(*v->present & parts[part].bit)) {
      if (part == HI256)
        break;
      memset(part_of(v, part, 0), 0, 16 * parts[part].bytes);
      *v->present |= parts[part].bit;
    }
    memcpy(part_of(v, part, number), part == SSE || (part == AVX && is_256) ? value + 16 * part : zeros, parts[part].bytes);
  }
}

/* VPDPBUSD (unsigned bytes of VEX.vvvv, signed ones of the other operand) and VPDPWSSD: sums of 32 bits that wrap around. */
static void accumulate_dot(const Instruction *in, const Vectors *v) {
  atomic_fetch_add(&multiplications, 1);
  union {
    uint8_t u8[32];
    int8_t s8[32];
    int16_t s16[16];
    uint32_t u32[8];
  } sums, a, b;
  read_vector(v, in->reg, sums.u8);
  read_vector(v, in->vvvv, a.u8);
  if (in->mod == 3)
    read_vector(v, in->rm, b.u8);
  else
    memcpy(b.u8, (const void *)(in->base + in->stride), in->is_256 ? 32 : 16);
  for (int i = 0; i < (in->is_256 ? 8 : 4); ++i)
    if (in->opcode == 0x50)
      for (int j = 4 * i; j < 4 * i + 4; ++j)
        sums.u32[i] += (uint32_t)(a.u8[j] * b.s8[j]);
    else
      for (int j = 2 * i; j < 2 * i + 2; ++j)
        sums.u32[i] += (uint32_t)(a.s16[j] * b.s16[j]);
  write_vector(v, in->reg, sums.u8, in->is_256);
}

/*===- Instructions -----------------------------------------------------------------------------------------------------===*/

/* By opcode and prefix (SDM 2, each instruction's page). */
static size_t execute(const uint8_t *code, ucontext_t *context) {
  Instruction in = decode(code, context->uc_mcontext.gregs);
  int is_register = in.mod == 3;
  if (in.prefix == 1 && (in.opcode == 0x50 || in.opcode == 0x52)) {
    Vectors vectors = vectors_of(context);
    accumulate_dot(&in, &vectors);
    return in.length;
  }
  if (in.is_256)
    fail(code, "#UD: an instruction of AMX with VEX.L");
  if (!permitted)
    fail(code, "#NM: the system was not asked for the tiles' registers");
  switch (in.opcode << 8 | in.prefix) {
  case 0x4900:
    if (is_register && in.reg == 0 && in.rm == 0) /* TILERELEASE */
      memset(&state, 0, sizeof state);
    else if (!is_register && in.reg == 0) /* LDTILECFG */
      load_config(&in);
    else
      break;
    return in.length;
  case 0x4901: /* STTILECFG */
    if (is_register || in.reg)
      break;
    memcpy((void *)in.base, &state.config, sizeof(Config));
    return in.length;
  case 0x4903: /* TILEZERO */
    if (!is_register || in.rm)
      break;
    memset(tile(&in, in.reg), 0, sizeof(Row) * ROWS);
    return in.length;
  case 0x4b01: /* TILELOADDT1 */
  case 0x4b02: /* TILESTORED */
  case 0x4b03: /* TILELOADD */
    if (is_register)
      break;
    move_tile(&in, in.prefix == 2);
    return in.length;
  case 0x5c02: /* TDPBF16PS */
  case 0x5e00: /* TDPBUUD */
  case 0x5e01: /* TDPBUSD */
  case 0x5e02: /* TDPBSUD */
  case 0x5e03: /* TDPBSSD */
    if (!is_register)
      break;
    multiply(&in);
    return in.length;
  }
  fail(code, "neither this CPU nor the emulator has the instruction");
}

/* CPUID without its first byte. */
static size_t identify(greg_t *regs) {
  unsigned leaf = (unsigned)regs[REG_RAX], subleaf = (unsigned)regs[REG_RCX], a, b, c, d;
  __cpuid_count(leaf, subleaf, a, b, c, d);
  if (leaf == 7 && subleaf == 0)
    d |= 1u << 22 | 1u << 24 | 1u << 25; /* AMX-BF16, AMX-TILE, AMX-INT8 */
  if (leaf == 7 && subleaf == 1)
    a |= 1u << 4; /* AVX-VNNI */
  regs[REG_RAX] = a, regs[REG_RBX] = b, regs[REG_RCX] = c, regs[REG_RDX] = d;
  return 2;
}

/* XGETBV without its first byte: the system saves TILECFG and TILEDATA. */
static size_t get_saved_state(greg_t *regs) {
  unsigned low, high;
  __asm__("xgetbv" : "=a"(low), "=d"(high) : "c"((unsigned)regs[REG_RCX]));
  if (!regs[REG_RCX])
    low |= 1u << 17 | 1u << 18;
  regs[REG_RAX] = low, regs[REG_RDX] = high;
  return 3;
}

static void handle(int number, siginfo_t *info, void *context) {
  (void)number, (void)info;
  greg_t *regs = ((ucontext_t *)context)->uc_mcontext.gregs;
  const uint8_t *code = (const uint8_t *)regs[REG_RIP];
  size_t length;
  if (code[0] == 0x06 && code[1] == 0xa2)
    length = identify(regs);
  else if (code[0] == 0x06 && code[1] == 0x01 && code[2] == 0xd0)
    length = get_saved_state(regs);
  else
    length = execute(code, context);
  regs[REG_RIP] += (greg_t)length;
}

/*===- The process ------------------------------------------------------------------------------------------------------===*/

typedef int SigAction(int, const struct sigaction *, struct sigaction *);
typedef int SigMask(int, const sigset_t *, sigset_t *);

__attribute__((constructor)) static void install(void) {
  struct sigaction action = {.sa_sigaction = handle, .sa_flags = SA_SIGINFO | SA_NODEFER};
  ((SigAction *)dlsym(RTLD_NEXT, "sigaction"))(SIGILL, &action, NULL);
}

__attribute__((destructor)) static void log_multiplications(void) {
  const char *path = getenv("AMX_LOG");
  FILE *file = path ? fopen(path, "w") : NULL;
  if (file) {
    fprintf(file, "%lu\n", multiplications);
    fclose(file);
  }
}

/* The program's own handler of SIGILL would come in between. */
int sigaction(int number, const struct sigaction *action, struct sigaction *before) {
  return number == SIGILL ? 0 : ((SigAction *)dlsym(RTLD_NEXT, "sigaction"))(number, action, before);
}

/* Threads that block all signals must get this one. */
int pthread_sigmask(int how, const sigset_t *set, sigset_t *before) {
  sigset_t others;
  if (set) {
    others = *set;
    sigdelset(&others, SIGILL);
  }
  return ((SigMask *)dlsym(RTLD_NEXT, "pthread_sigmask"))(how, set ? &others : NULL, before);
}

long syscall(long number, ...) {
  long a[6];
  va_list arguments;
  va_start(arguments, number);
  for (int i = 0; i < 6; ++i)
    a[i] = va_arg(arguments, long);
  va_end(arguments);
  enum { ARCH_REQ_XCOMP_PERM = 0x1023, XFEATURE_XTILEDATA = 18 };
  if (number == SYS_arch_prctl && a[0] == ARCH_REQ_XCOMP_PERM && a[1] == XFEATURE_XTILEDATA) {
    const char *answer = getenv("AMX_PERMISSION");
    permitted = !answer || strcmp(answer, "refused");
    errno = permitted ? errno : EPERM;
    return permitted ? 0 : -1;
  }
  register long r10 __asm__("r10") = a[3], r8 __asm__("r8") = a[4], r9 __asm__("r9") = a[5];
  long result;
  __asm__ volatile("syscall"
                   : "=a"(result)
                   : "a"(number), "D"(a[0]), "S"(a[1]), "d"(a[2]), "r"(r10), "r"(r8), "r"(r9)
                   : "rcx", "r11", "memory");
  if (result < 0 && result > -4096) {
    errno = (int)-result;
    return -1;
  }
  return result;
}
