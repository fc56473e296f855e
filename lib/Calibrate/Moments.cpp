//===- Moments.cpp - What the solvers know of a layer's input -------------------------------------------------------------===//
#include "quanta/Calibrate/Moments.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"
#include "llvm/Support/xxhash.h"
#include <cstring>

using namespace llvm;

namespace quanta {

#if defined(__BYTE_ORDER__) && __BYTE_ORDER__ != __ORDER_LITTLE_ENDIAN__
#error "moments are written as they lie in memory, which must be little-endian"
#endif

namespace {
struct Header {
  char magic[8] = {'Q', 'M', 'O', 'M', 'E', 'N', '1', '\n'};
  int64_t channels = 0, blocks = 0;
  uint64_t fitRows = 0, heldOutRows = 0, hasCross = 0;
};
static_assert(sizeof(Header) == 48);

ArrayRef<uint8_t> bytesOf(const void *data, size_t size) { return {static_cast<const uint8_t *>(data), size}; }

uint64_t hashWith(uint64_t hash, ArrayRef<uint8_t> bytes) {
  uint64_t both[2] = {hash, xxh3_64bits(bytes)};
  return xxh3_64bits(bytesOf(both, sizeof(both)));
}

/// Calls `field` with each array in the file's order.
template <typename T, typename Fn> void visit(T &moments, Fn field) {
  field(moments.fit);
  field(moments.heldOut);
  field(moments.cross);
  field(moments.absMax);
  field(moments.absMean);
}
} // namespace

Error saveMoments(const LayerMoments &moments, StringRef path) {
  size_t vector = static_cast<size_t>(moments.channels * moments.blocks);
  size_t matrix = vector * static_cast<size_t>(moments.channels);
  assert(moments.fit.size() == matrix && moments.heldOut.size() == matrix && moments.absMax.size() == vector &&
         moments.absMean.size() == vector && (moments.cross.empty() || moments.cross.size() == matrix));
  (void)matrix;
  Header header;
  header.channels = moments.channels;
  header.blocks = moments.blocks;
  header.fitRows = moments.fitRows;
  header.heldOutRows = moments.heldOutRows;
  header.hasCross = !moments.cross.empty();
  // Under another name first, then renamed.
  Error error = writeToOutput(path, [&](raw_ostream &os) {
    uint64_t hash = 0;
    auto write = [&](ArrayRef<uint8_t> bytes) {
      os.write(reinterpret_cast<const char *>(bytes.data()), bytes.size());
      hash = hashWith(hash, bytes);
    };
    write(bytesOf(&header, sizeof(header)));
    visit(moments, [&](const auto &values) { write(bytesOf(values.data(), values.size() * sizeof(values[0]))); });
    os.write(reinterpret_cast<const char *>(&hash), sizeof(hash));
    return Error::success();
  });
  if (error)
    return userError("'" + path + "' cannot be written: " + toString(std::move(error)));
  return Error::success();
}

Expected<LayerMoments> loadMoments(StringRef path) {
  auto damaged = [&] { return userError("'" + path + "' holds no complete moments; remove it to calibrate again"); };
  auto buffer = MemoryBuffer::getFile(path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!buffer)
    return userError("'" + path + "' cannot be read: " + buffer.getError().message());
  StringRef rest = (*buffer)->getBuffer();
  Header header, expected;
  if (rest.size() < sizeof(header) || !rest.starts_with(StringRef(expected.magic, sizeof(expected.magic))))
    return damaged();
  std::memcpy(&header, rest.data(), sizeof(header));
  constexpr int64_t kMax = int64_t(1) << 24;
  if (header.channels < 1 || header.channels > kMax || header.blocks < 1 || header.blocks > kMax || header.hasCross > 1)
    return damaged();
  // At most 2^24 · 2^24 · 2^24 · 32 bytes would overflow, so sizes are compared before anything is multiplied out.
  uint64_t channels = static_cast<uint64_t>(header.channels), vector = channels * static_cast<uint64_t>(header.blocks);
  bool overflow = false;
  uint64_t matrix = SaturatingMultiply(vector, channels, &overflow);
  uint64_t body = overflow ? 0 : SaturatingMultiplyAdd(matrix, 8 * (2 + header.hasCross), 8 * vector, &overflow);
  if (overflow || rest.size() - sizeof(header) < sizeof(uint64_t) ||
      rest.size() - sizeof(header) - sizeof(uint64_t) != body)
    return damaged();
  LayerMoments moments;
  moments.channels = header.channels;
  moments.blocks = header.blocks;
  moments.fitRows = header.fitRows;
  moments.heldOutRows = header.heldOutRows;
  moments.fit.resize(matrix);
  moments.heldOut.resize(matrix);
  moments.cross.resize(header.hasCross ? matrix : 0);
  moments.absMax.resize(vector);
  moments.absMean.resize(vector);
  uint64_t hash = hashWith(0, bytesOf(&header, sizeof(header))), stored;
  rest = rest.drop_front(sizeof(header));
  visit(moments, [&](auto &values) {
    size_t size = values.size() * sizeof(values[0]);
    if (size)
      std::memcpy(values.data(), rest.data(), size);
    rest = rest.drop_front(size);
    hash = hashWith(hash, bytesOf(values.data(), size));
  });
  std::memcpy(&stored, rest.data(), sizeof(stored));
  if (stored != hash)
    return damaged();
  return moments;
}

} // namespace quanta
