/*===- runner.c - The command line of `quantc --emit=exe` -----------------------------------------------------*- C -*-===*
 *
 * Compiled to bitcode and linked into executables. Needs libc only, so it reads and writes .npz files without compression,
 * as numpy.savez makes them. Files are untrusted: every offset is checked against the file's size.
 *===----------------------------------------------------------------------------------------------------------------------===*/
#include "libc.h"
#include "quanta/Runtime/quanta.h"

extern const quanta_api quanta_api_table;

static const struct {
  const char *name, *descr; /* bf16 has no name in numpy: its bits are written as unsigned integers */
  int bytes;
} types[] = {{"f32", "<f4", 4}, {"f16", "<f2", 2}, {"bf16", "<u2", 2}, {"i8", "|i1", 1}, {"u8", "|u1", 1},
             {"i16", "<i2", 2}, {"i32", "<i4", 4}, {"i64", "<i8", 8},  {"bool", "|b1", 1}, {"f64", "<f8", 8},
             {"u16", "<u2", 2}, {"u32", "<u4", 4}, {"u64", "<u8", 8}};

__attribute__((format(printf, 1, 2), noreturn)) static void fail(const char *format, ...) {
  va_list arguments;
  va_start(arguments, format);
  fprintf(stderr, "%s: error: ", quanta_api_table.info()->name);
  vfprintf(stderr, format, arguments);
  fputc('\n', stderr);
  exit(1);
}

//===- Reading ------------------------------------------------------------------------------------------------------------===//

typedef struct {
  const char *path;
  const unsigned char *data;
  uint64_t size;
} file_t;

static uint64_t little(const file_t *file, uint64_t at, int bytes) {
  if (at > file->size || file->size - at < (uint64_t)bytes)
    fail("'%s' ends too early", file->path);
  uint64_t value = 0;
  for (int i = bytes; i-- > 0;)
    value = value << 8 | file->data[at + (uint64_t)i];
  return value;
}

static file_t open_file(const char *path) {
  int descriptor = open(path, O_RDONLY | O_CLOEXEC);
  long size = descriptor < 0 ? -1 : lseek(descriptor, 0, SEEK_END);
  if (size < 0)
    fail("cannot open '%s': %s", path, strerror(errno));
  file_t file = {path, NULL, (uint64_t)size};
  if (file.size) {
    void *data = mmap(NULL, file.size, PROT_READ, MAP_PRIVATE, descriptor, 0);
    if (data == MAP_FAILED)
      fail("cannot read '%s': %s", path, strerror(errno));
    file.data = data;
  }
  close(descriptor);
  return file;
}

/* Finds member NAME.npy and returns its bytes. */
static int find_member(const file_t *file, const char *name, uint64_t *at, uint64_t *bytes) {
  uint64_t end = file->size < 22 ? 0 : file->size - 22, stop = file->size < 65557 ? 0 : file->size - 65557;
  while (end > stop && little(file, end, 4) != 0x06054b50)
    --end;
  if (file->size < 22 || little(file, end, 4) != 0x06054b50)
    fail("'%s' is not an .npz file", file->path);
  uint64_t count = little(file, end + 10, 2), entry = little(file, end + 16, 4), length = strlen(name);
  for (uint64_t i = 0; i < count; ++i) {
    if (little(file, entry, 4) != 0x02014b50)
      fail("'%s' is damaged", file->path);
    uint64_t name_bytes = little(file, entry + 28, 2), local = little(file, entry + 42, 4);
    *bytes = little(file, entry + 24, 4);
    if (name_bytes == length + 4) {
      little(file, entry + 46 + name_bytes - 1, 1);
      const char *found = (const char *)file->data + entry + 46;
      if (!memcmp(found, name, length) && !memcmp(found + length, ".npy", 4)) {
        if (little(file, entry + 10, 2) != 0)
          fail("'%s' is compressed: write it with numpy.savez, not numpy.savez_compressed", file->path);
        if (*bytes == 0xffffffff || local == 0xffffffff)
          fail("'%s' is larger than 4 GiB", file->path);
        *at = local + 30 + little(file, local + 26, 2) + little(file, local + 28, 2);
        if (*at > file->size || file->size - *at < *bytes)
          fail("'%s' ends too early", file->path);
        return 1;
      }
    }
    entry += 46 + name_bytes + little(file, entry + 30, 2) + little(file, entry + 32, 2);
  }
  return 0;
}

static quanta_tensor read_input(const file_t *file, const quanta_port *port) {
  uint64_t at, bytes;
  if (!find_member(file, port->name, &at, &bytes))
    fail("'%s' has no array '%s'", file->path, port->name);
  if (bytes < 12 || memcmp(file->data + at, "\x93NUMPY", 6))
    fail("'%s': '%s' is not a numpy array", file->path, port->name);
  int wide = file->data[at + 6] > 1;
  uint64_t start = wide ? 12 : 10, header = little(file, at + 8, wide ? 4 : 2);
  char text[1024];
  if (header >= sizeof text || bytes - start < header)
    fail("'%s': '%s' has a damaged header", file->path, port->name);
  memcpy(text, file->data + at + start, header);
  text[header] = 0;

  const char *descr = strstr(text, "'descr'"), *shape = strstr(text, "'shape'");
  descr = descr ? strchr(descr + 7, '\'') : NULL;
  shape = shape ? strchr(shape, '(') : NULL;
  if (!descr || !shape || strstr(text, "'fortran_order': True"))
    fail("'%s': '%s' must be a plain array in C order", file->path, port->name);
  if (strncmp(descr + 2, types[port->type].descr + 1, 2) || descr[4] != '\'' || descr[1] == '>')
    fail("'%s': '%s' must be %s", file->path, port->name, types[port->type].name);

  quanta_tensor tensor = {.type = port->type, .bytes = types[port->type].bytes};
  for (char *next = (char *)shape + 1; *next != ')';) {
    char *number = next;
    long long size = strtoll(number, &next, 10);
    if (next == number || size < 0 || tensor.rank == QUANTA_MAX_RANK ||
        __builtin_mul_overflow(tensor.bytes, size, &tensor.bytes))
      fail("'%s': '%s' has an impossible shape", file->path, port->name);
    tensor.shape[tensor.rank++] = size;
    while (*next == ',' || *next == ' ')
      ++next;
  }
  if ((uint64_t)tensor.bytes != bytes - start - header)
    fail("'%s': '%s' has %llu bytes of data, its shape needs %lld", file->path, port->name,
         (unsigned long long)(bytes - start - header), (long long)tensor.bytes);
  tensor.data = aligned_alloc(64, ((size_t)tensor.bytes + 127) / 64 * 64);
  if (!tensor.data)
    fail("out of memory");
  memcpy(tensor.data, file->data + at + start + header, (size_t)tensor.bytes);
  return tensor;
}

//===- Writing ------------------------------------------------------------------------------------------------------------===//

static uint32_t crc32(uint32_t crc, const void *data, size_t size) {
  static uint32_t table[256];
  if (!table[1])
    for (uint32_t i = 0; i < 256; ++i) {
      uint32_t value = i;
      for (int bit = 0; bit < 8; ++bit)
        value = value >> 1 ^ (value & 1 ? 0xedb88320u : 0);
      table[i] = value;
    }
  crc = ~crc;
  for (const unsigned char *byte = data; size--; ++byte)
    crc = crc >> 8 ^ table[(crc ^ *byte) & 255];
  return ~crc;
}

/* Numbers of the given widths, little endian; ends with width 0. */
static void put(FILE *out, ...) {
  va_list arguments;
  va_start(arguments, out);
  for (int bytes; (bytes = va_arg(arguments, int));)
    for (uint32_t value = va_arg(arguments, uint32_t); bytes--; value >>= 8)
      fputc((int)(value & 255), out);
  va_end(arguments);
}

static void write_outputs(const char *path, const quanta_model_info *info, const quanta_tensor *outputs) {
  FILE *out = fopen(path, "wb");
  if (!out)
    fail("cannot write '%s': %s", path, strerror(errno));
  struct {
    uint32_t crc, bytes, at;
  } *members = calloc((size_t)info->outputs + 1, sizeof *members);
  if (!members)
    fail("out of memory");
  for (int32_t i = 0; i < info->outputs; ++i) {
    const quanta_tensor *tensor = &outputs[i];
    char header[512];
    int length = snprintf(header, sizeof header, "\x93NUMPY%c%c%c%c{'descr': '%s', 'fortran_order': False, 'shape': (", 1,
                          'x', 'x', 'x', types[tensor->type].descr);
    for (int d = 0; d < tensor->rank; ++d)
      length += snprintf(header + length, sizeof header - (size_t)length, "%lld,", (long long)tensor->shape[d]);
    length += snprintf(header + length, sizeof header - (size_t)length, "), }");
    while (length % 64 != 63)
      header[length++] = ' ';
    header[length++] = '\n';
    header[7] = 0;
    header[8] = (char)((length - 10) & 255);
    header[9] = (char)((length - 10) >> 8);
    if (tensor->bytes > 0x7fffffff || ftello(out) > 0x7fffffff)
      fail("'%s' would be larger than 2 GiB", path);
    members[i].bytes = (uint32_t)length + (uint32_t)tensor->bytes;
    members[i].at = (uint32_t)ftello(out);
    members[i].crc = crc32(crc32(0, header, (size_t)length), tensor->data, (size_t)tensor->bytes);
    const char *name = info->output[i].name;
    put(out, 4, 0x04034b50u, 2, 20u, 2, 0x800u, 2, 0u, 2, 0u, 2, 0x21u, 4, members[i].crc, 4, members[i].bytes, 4,
        members[i].bytes, 2, (uint32_t)strlen(name) + 4, 2, 0u, 0);
    fprintf(out, "%s.npy", name);
    fwrite(header, 1, (size_t)length, out);
    fwrite(tensor->data, 1, (size_t)tensor->bytes, out);
  }
  uint32_t directory = (uint32_t)ftello(out);
  for (int32_t i = 0; i < info->outputs; ++i) {
    const char *name = info->output[i].name;
    put(out, 4, 0x02014b50u, 2, 20u, 2, 20u, 2, 0x800u, 2, 0u, 2, 0u, 2, 0x21u, 4, members[i].crc, 4, members[i].bytes, 4,
        members[i].bytes, 2, (uint32_t)strlen(name) + 4, 2, 0u, 2, 0u, 2, 0u, 2, 0u, 4, 0u, 4, members[i].at, 0);
    fprintf(out, "%s.npy", name);
  }
  uint32_t count = (uint32_t)info->outputs;
  put(out, 4, 0x06054b50u, 2, 0u, 2, 0u, 2, count, 2, count, 4, (uint32_t)ftello(out) - directory, 4, directory, 2, 0u, 0);
  if (ferror(out) | fclose(out))
    fail("cannot write '%s': %s", path, strerror(errno));
  free(members);
}

//===- The command line ---------------------------------------------------------------------------------------------------===//

static void print_ports(const char *title, int32_t count, const quanta_port *ports) {
  for (int32_t i = 0; i < count; ++i) {
    printf("%s %s: %s [", title, ports[i].name, types[ports[i].type].name);
    for (int d = 0; d < ports[i].rank; ++d)
      printf(ports[i].shape[d] < 0 ? "%s?" : "%s%lld", d ? ", " : "", (long long)ports[i].shape[d]);
    printf("]\n");
  }
}

static double seconds(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

int main(int argc, char **argv) {
  const quanta_api *api = &quanta_api_table;
  const quanta_model_info *info = api->info();
  const char *in = NULL, *out = NULL, *weights = NULL;
  quanta_options options = {0};
  long bench = 0;
  for (int i = 1; i < argc; i += 2) {
    const char *value = i + 1 < argc ? argv[i + 1] : NULL;
    if (!strcmp(argv[i], "--help") || !strcmp(argv[i], "-h")) {
      printf("usage: %s --inputs IN.npz [--outputs OUT.npz] [--threads N] [--bench N] [--weights FILE]\n", argv[0]);
      print_ports("input", info->inputs, info->input);
      print_ports("output", info->outputs, info->output);
      return 0;
    }
    if (!value)
      fail("'%s' is unknown or needs a value; see --help", argv[i]);
    if (!strcmp(argv[i], "--inputs"))
      in = value;
    else if (!strcmp(argv[i], "--outputs"))
      out = value;
    else if (!strcmp(argv[i], "--weights"))
      weights = value;
    else if (!strcmp(argv[i], "--threads"))
      options.threads = atoi(value);
    else if (!strcmp(argv[i], "--bench"))
      bench = atol(value);
    else
      fail("unknown option '%s'; see --help", argv[i]);
  }
  if (!in && info->inputs)
    fail("give the inputs with --inputs IN.npz; --help lists them");
  options.weights_file = weights;

  quanta_tensor *inputs = calloc((size_t)info->inputs + 1, sizeof *inputs);
  quanta_tensor *outputs = calloc((size_t)info->outputs + 1, sizeof *outputs);
  if (!inputs || !outputs)
    fail("out of memory");
  file_t file = in ? open_file(in) : (file_t){"", NULL, 0};
  for (int32_t i = 0; i < info->inputs; ++i)
    inputs[i] = read_input(&file, &info->input[i]);

  void *model;
  if (api->create(&options, &model))
    fail("%s", api->last_error(NULL));
  if (api->run(model, inputs, outputs))
    fail("%s", api->last_error(model));
  if (bench > 0) {
    double start = seconds(), best = 1e300;
    for (long i = 0; i < bench; ++i) {
      double begin = seconds();
      if (api->run(model, inputs, outputs))
        fail("%s", api->last_error(model));
      double taken = seconds() - begin;
      best = taken < best ? taken : best;
    }
    printf("mean %.6f s, best %.6f s\n", (seconds() - start) / (double)bench, best);
  }
  if (out)
    write_outputs(out, info, outputs);
  else
    for (int32_t i = 0; i < info->outputs; ++i) {
      quanta_port shaped = info->output[i];
      shaped.rank = outputs[i].rank;
      memcpy(shaped.shape, outputs[i].shape, sizeof shaped.shape);
      print_ports("output", 1, &shaped);
    }
  api->destroy(model);
  for (int32_t i = 0; i < info->inputs; ++i)
    free(inputs[i].data);
  free(inputs);
  free(outputs);
  return 0;
}
