//===- Npy.cpp - NumPy's array files --------------------------------------------------------------------------------------===//
#include "quanta/Support/Npy.h"
#include "quanta/Support/Half.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/raw_ostream.h"
#include <cstdlib>
#include <limits>
#include <zlib.h>

using namespace llvm;
using support::endian::read16le;
using support::endian::read32le;
using support::endian::read64le;

namespace quanta {

//===- Types --------------------------------------------------------------------------------------------------------------===//

namespace {
struct TypeFacts {
  const char *name;
  const char *descr; // NumPy's, without the byte order
  unsigned bytes;
};
constexpr TypeFacts kTypes[] = {{"f32", "f4", 4}, {"f16", "f2", 2}, {"f64", "f8", 8}, {"i8", "i1", 1},
                                {"u8", "u1", 1},  {"i16", "i2", 2}, {"u16", "u2", 2}, {"i32", "i4", 4},
                                {"u32", "u4", 4}, {"i64", "i8", 8}, {"u64", "u8", 8}, {"bool", "b1", 1}};

const TypeFacts &factsOf(DType type) { return kTypes[static_cast<size_t>(type)]; }

// Calls fn with a value of the C++ type of an integer type.
template <typename Fn> auto withIntType(DType type, Fn fn) {
  switch (type) {
  case DType::I8:
    return fn(int8_t());
  case DType::I16:
    return fn(int16_t());
  case DType::U16:
    return fn(uint16_t());
  case DType::I32:
    return fn(int32_t());
  case DType::U32:
    return fn(uint32_t());
  case DType::I64:
    return fn(int64_t());
  case DType::U64:
    return fn(uint64_t());
  default: // u8 and bool
    return fn(uint8_t());
  }
}

// Number of elements; fails on negative sizes and overflow, also of the sizes beside a zero.
std::optional<int64_t> countElements(ArrayRef<int64_t> shape, size_t bytesEach) {
  int64_t count = 1, bytes = static_cast<int64_t>(bytesEach);
  for (int64_t size : shape) {
    if (size < 0 || (size && __builtin_mul_overflow(bytes, size, &bytes)))
      return std::nullopt;
    count *= size;
  }
  return count;
}

// Memory aligned to a cache line, or null.
std::shared_ptr<char> allocate(size_t bytes) {
  size_t rounded = (bytes + 63) / 64 * 64 + 64;
  if (rounded < bytes)
    return nullptr;
  return {static_cast<char *>(std::aligned_alloc(64, rounded)), [](char *p) { std::free(p); }};
}
} // namespace

size_t getByteWidth(DType type) { return factsOf(type).bytes; }
StringRef getName(DType type) { return factsOf(type).name; }
bool isFloat(DType type) { return type <= DType::F64; }

std::string describe(DType type, ArrayRef<int64_t> shape) {
  std::string text;
  for (int64_t size : shape)
    text += (size < 0 ? "?" : std::to_string(size)) + "x";
  return text + factsOf(type).name;
}

//===- Array --------------------------------------------------------------------------------------------------------------===//

Array Array::view(DType type, std::vector<int64_t> shape, const char *data, std::shared_ptr<const void> owner) {
  Array result;
  result.type = type;
  result.count = *countElements(shape, quanta::getByteWidth(type));
  result.shape = std::move(shape);
  result.elements = data;
  result.owner = std::move(owner);
  return result;
}

Array Array::zeros(DType type, std::vector<int64_t> shape) {
  std::optional<int64_t> count = countElements(shape, quanta::getByteWidth(type));
  size_t bytes = count ? static_cast<size_t>(*count) * quanta::getByteWidth(type) : 0;
  std::shared_ptr<char> memory = count ? allocate(bytes) : nullptr;
  if (!memory)
    report_bad_alloc_error("an array does not fit into memory");
  std::fill_n(memory.get(), bytes, 0);
  const char *data = memory.get();
  return view(type, std::move(shape), data, std::move(memory));
}

double Array::getDouble(int64_t index) const {
  switch (type) {
  case DType::F32:
    return as<float>()[index];
  case DType::F16:
    return halfToFloat(as<uint16_t>()[index]);
  case DType::F64:
    return as<double>()[index];
  default:
    return withIntType(type, [&](auto zero) { return static_cast<double>(as<decltype(zero)>()[index]); });
  }
}

int64_t Array::getInt(int64_t index) const {
  return withIntType(type, [&](auto zero) { return static_cast<int64_t>(as<decltype(zero)>()[index]); });
}

Array Array::slice(int64_t begin, int64_t end) const {
  assert(!shape.empty() && begin >= 0 && begin <= end && end <= shape[0]);
  std::vector<int64_t> newShape = shape;
  newShape[0] = end - begin;
  size_t row = shape[0] ? getByteSize() / static_cast<size_t>(shape[0]) : 0;
  return view(type, std::move(newShape), elements + static_cast<size_t>(begin) * row, owner);
}

Array Array::reshaped(std::vector<int64_t> newShape) const {
  Array result = view(type, std::move(newShape), elements, owner);
  assert(result.count == count);
  return result;
}

template <typename From, typename To> static bool convertInts(const Array &from, Array &to) {
  To *out = reinterpret_cast<To *>(to.mutableData());
  for (From value : from.as<From>()) {
    To converted = static_cast<To>(value);
    if (static_cast<From>(converted) != value || (converted < To(0)) != (value < From(0)))
      return false;
    *out++ = converted;
  }
  return true;
}

Expected<Array> Array::convertTo(DType newType) const {
  if (newType == type)
    return *this;
  if (isFloat(type) != isFloat(newType) || newType == DType::Bool)
    return userError("cannot convert " + describe() + " to " + getName(newType));
  Array result = zeros(newType, shape);
  if (!isFloat(type)) {
    bool fits = withIntType(type, [&](auto from) {
      return withIntType(newType,
                         [&](auto to) { return convertInts<decltype(from), decltype(to)>(*this, result); });
    });
    if (!fits)
      return userError("a value of " + describe() + " does not fit into " + getName(newType));
    return result;
  }
  for (int64_t i = 0; i < count; ++i) {
    double value = getDouble(i);
    if (newType == DType::F64)
      reinterpret_cast<double *>(result.mutableData())[i] = value;
    else if (newType == DType::F32)
      reinterpret_cast<float *>(result.mutableData())[i] = static_cast<float>(value);
    else
      reinterpret_cast<uint16_t *>(result.mutableData())[i] = floatToHalf(static_cast<float>(value));
  }
  return result;
}

//===- Reading .npy -------------------------------------------------------------------------------------------------------===//

namespace {
struct NpyHeader {
  DType type = DType::F32;
  bool fortranOrder = false;
  std::vector<int64_t> shape;
};

// The header is a Python dictionary: {'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }
class HeaderParser {
public:
  explicit HeaderParser(StringRef text) : text(text) {}

  // The error says what is wrong; the caller says where.
  Expected<NpyHeader> parse() {
    bool seen[3] = {};
    if (!take("{"))
      return userError("its header is not a dictionary");
    while (!take("}")) {
      StringRef key;
      if (!takeString(key) || !take(":"))
        return userError("its header is not a dictionary");
      int index = key == "descr" ? 0 : key == "fortran_order" ? 1 : key == "shape" ? 2 : -1;
      if (index < 0 || std::exchange(seen[index], true))
        return userError("its header has an unexpected key");
      if (Error error = index == 0 ? parseType() : index == 1 ? parseOrder() : parseShape())
        return std::move(error);
      take(",");
    }
    if (!seen[0] || !seen[1] || !seen[2])
      return userError("its header lacks a key");
    return std::move(header);
  }

private:
  bool take(StringRef token) {
    text = text.ltrim(" \t\n");
    return text.consume_front(token);
  }
  bool takeString(StringRef &value) {
    text = text.ltrim(" \t\n");
    if (text.empty() || (text[0] != '\'' && text[0] != '"'))
      return false;
    size_t end = text.find(text[0], 1);
    if (end == StringRef::npos)
      return false;
    value = text.slice(1, end);
    text = text.drop_front(end + 1);
    return true;
  }
  Error parseType() {
    StringRef descr;
    if (!takeString(descr) || descr.size() < 2)
      return userError("it holds records, not numbers");
    const TypeFacts *found = find_if(kTypes, [&](const TypeFacts &t) { return descr.drop_front() == t.descr; });
    if (found == std::end(kTypes))
      return userError("its element type is not supported; use numbers of 8 to 64 bits");
    if (descr[0] != '<' && descr[0] != '=' && !(found->bytes == 1 && descr[0] == '|'))
      return userError("it is not little endian");
    header.type = static_cast<DType>(found - kTypes);
    return Error::success();
  }
  Error parseOrder() {
    header.fortranOrder = take("True");
    return header.fortranOrder || take("False") ? Error::success() : userError("its header has a bad fortran_order");
  }
  Error parseShape() {
    if (!take("("))
      return userError("its header has a bad shape");
    while (!take(")")) {
      uint64_t size;
      text = text.ltrim(" \t\n");
      if (text.consumeInteger(10, size) || size > INT64_MAX || header.shape.size() == 32)
        return userError("its header has a bad shape");
      text.consume_front("L"); // written by Python 2
      header.shape.push_back(static_cast<int64_t>(size));
      if (!take(",") && !text.ltrim().starts_with(")"))
        return userError("its header has a bad shape");
    }
    return Error::success();
  }

  StringRef text;
  NpyHeader header;
};

// Row-major copy of column-major elements.
Array transposeFortran(const Array &array) {
  Array result = Array::zeros(array.getType(), array.getShape().vec());
  size_t width = getByteWidth(array.getType());
  ArrayRef<int64_t> shape = array.getShape();
  SmallVector<int64_t> index(shape.size(), 0), stride(shape.size(), 1);
  for (size_t d = 1; d < shape.size(); ++d)
    stride[d] = stride[d - 1] * shape[d - 1];
  int64_t source = 0;
  for (int64_t i = 0; i < array.getElementCount(); ++i) {
    std::copy_n(array.data() + source * width, width, result.mutableData() + i * width);
    for (size_t d = shape.size(); d-- > 0;) {
      source += stride[d];
      if (++index[d] < shape[d])
        break;
      source -= stride[d] * shape[d];
      index[d] = 0;
    }
  }
  return result;
}
} // namespace

Expected<Array> parseNpy(StringRef bytes, StringRef name, std::shared_ptr<const void> owner) {
  auto fail = [&](const Twine &why) { return userError("'" + name + "' cannot be read: " + why); };
  if (!bytes.starts_with("\x93NUMPY") || bytes.size() < 10)
    return fail("it is not an .npy file");
  unsigned version = static_cast<uint8_t>(bytes[6]);
  if (version < 1 || version > 3)
    return fail("it has version " + Twine(version) + " of the .npy format; 1 to 3 are known");
  size_t begin = version == 1 ? 10 : 12;
  if (bytes.size() < begin)
    return fail("it is cut short");
  size_t length = version == 1 ? read16le(bytes.data() + 8) : read32le(bytes.data() + 8);
  if (length > bytes.size() - begin)
    return fail("it is cut short");
  Expected<NpyHeader> header = HeaderParser(bytes.substr(begin, length)).parse();
  if (!header)
    return fail(toString(header.takeError()));

  StringRef data = bytes.drop_front(begin + length);
  size_t width = getByteWidth(header->type);
  std::optional<int64_t> count = countElements(header->shape, width);
  if (!count)
    return fail("its shape is too large");
  uint64_t size = static_cast<uint64_t>(*count) * width;
  if (size > data.size())
    return fail(describe(header->type, header->shape) + " needs " + Twine(size) + " bytes, but " + Twine(data.size()) +
                " are there");
  if (header->type == DType::Bool && any_of(data.take_front(size), [](char c) { return c & ~1; }))
    return fail("a boolean is neither 0 nor 1");

  bool aligned = reinterpret_cast<uintptr_t>(data.data()) % width == 0;
  if (!aligned || !owner) {
    std::shared_ptr<char> memory = allocate(size);
    if (!memory)
      return fail("out of memory");
    std::copy_n(data.data(), size, memory.get());
    data = StringRef(memory.get(), size);
    owner = std::move(memory);
  }
  Array array = Array::view(header->type, std::move(header->shape), data.data(), std::move(owner));
  return header->fortranOrder && array.getRank() > 1 ? transposeFortran(array) : array;
}

//===- Reading .npz -------------------------------------------------------------------------------------------------------===//

namespace {
// An entry of the central directory of a ZIP file, the only place that is trusted for sizes.
struct ZipEntry {
  StringRef name;
  unsigned flags, method;
  uint32_t checksum;
  uint64_t packed, unpacked, offset;
};

constexpr uint32_t kLocalMagic = 0x04034b50, kEntryMagic = 0x02014b50, kEndMagic = 0x06054b50;
constexpr uint32_t kEnd64Magic = 0x06064b50, kLocator64Magic = 0x07064b50;
constexpr size_t kLocalSize = 30, kEntrySize = 46, kEndSize = 22, kEnd64Size = 56, kLocator64Size = 20;

class ZipReader {
public:
  ZipReader(StringRef bytes, StringRef file, std::shared_ptr<const void> owner)
      : bytes(bytes), file(file), owner(std::move(owner)) {}

  Expected<NpzEntries> read() {
    uint64_t count, size, offset;
    if (!findDirectory(count, size, offset))
      return fail("it is not an .npz file");
    if (offset > bytes.size() || size > bytes.size() - offset || count > size / kEntrySize)
      return fail("its directory is damaged");
    StringRef directory = bytes.substr(offset, size);
    NpzEntries result;
    StringSet<> keys;
    uint64_t budget = bytes.size(); // entries that overlap could expand the same bytes again and again
    for (; count > 0; --count) {
      ZipEntry entry;
      if (!takeEntry(directory, entry))
        return fail("its directory is damaged");
      if (entry.name.ends_with("/"))
        continue;
      if (entry.packed > budget)
        return fail("its entries overlap");
      budget -= entry.packed;
      StringRef key = entry.name;
      key.consume_back(".npy");
      if (!keys.insert(key).second)
        return fail("it has '" + key + "' twice");
      Expected<Array> array = readEntry(entry);
      if (!array)
        return array.takeError();
      result.emplace_back(key.str(), std::move(*array));
    }
    return result;
  }

private:
  Error fail(const Twine &why) const { return userError("'" + file + "' cannot be read: " + why); }

  uint32_t magicAt(size_t offset) const { return read32le(bytes.data() + offset); }

  bool findDirectory(uint64_t &count, uint64_t &size, uint64_t &offset) const {
    if (bytes.size() < kEndSize)
      return false;
    // A comment of up to 64 KiB may follow the end record.
    size_t last = bytes.size() - kEndSize, first = last > 0xffff ? last - 0xffff : 0;
    size_t end = last + 1;
    while (end > first && magicAt(end - 1) != kEndMagic)
      --end;
    if (end == first)
      return false;
    end -= 1;
    const char *record = bytes.data() + end;
    count = read16le(record + 10);
    size = read32le(record + 12);
    offset = read32le(record + 16);
    if (end < kLocator64Size || magicAt(end - kLocator64Size) != kLocator64Magic)
      return true;
    uint64_t at = read64le(bytes.data() + end - kLocator64Size + 8);
    if (at > bytes.size() || bytes.size() - at < kEnd64Size || magicAt(at) != kEnd64Magic)
      return false;
    record = bytes.data() + at;
    count = read64le(record + 32);
    size = read64le(record + 40);
    offset = read64le(record + 48);
    return true;
  }

  static bool takeEntry(StringRef &directory, ZipEntry &entry) {
    const char *p = directory.data();
    if (directory.size() < kEntrySize || read32le(p) != kEntryMagic)
      return false;
    size_t name = read16le(p + 28), extra = read16le(p + 30), comment = read16le(p + 32);
    if (directory.size() - kEntrySize < name + extra + comment)
      return false;
    entry.flags = read16le(p + 8);
    entry.method = read16le(p + 10);
    entry.checksum = read32le(p + 16);
    entry.packed = read32le(p + 20);
    entry.unpacked = read32le(p + 24);
    entry.offset = read32le(p + 42);
    entry.name = directory.substr(kEntrySize, name);
    bool valid = widen(directory.substr(kEntrySize + name, extra), entry);
    directory = directory.drop_front(kEntrySize + name + extra + comment);
    return valid;
  }

  // Takes sizes that do not fit into 32 bits from the ZIP64 extra field, which holds only those, in this order.
  static bool widen(StringRef extra, ZipEntry &entry) {
    while (extra.size() >= 4) {
      unsigned id = read16le(extra.data());
      size_t size = read16le(extra.data() + 2);
      extra = extra.drop_front(4);
      if (size > extra.size())
        return false;
      StringRef field = extra.take_front(size);
      extra = extra.drop_front(size);
      if (id != 1)
        continue;
      for (uint64_t *value : {&entry.unpacked, &entry.packed, &entry.offset}) {
        if (*value != 0xffffffff)
          continue;
        if (field.size() < 8)
          return false;
        *value = read64le(field.data());
        field = field.drop_front(8);
      }
    }
    return true;
  }

  Expected<Array> readEntry(const ZipEntry &entry) const {
    std::string name = (file + ":" + entry.name).str();
    auto failEntry = [&](const Twine &why) { return userError("'" + Twine(name) + "' cannot be read: " + why); };
    if (entry.flags & 1)
      return failEntry("it is encrypted");
    if (entry.offset > bytes.size() || bytes.size() - entry.offset < kLocalSize ||
        magicAt(entry.offset) != kLocalMagic)
      return failEntry("the archive is damaged");
    const char *local = bytes.data() + entry.offset;
    uint64_t begin = entry.offset + kLocalSize + read16le(local + 26) + read16le(local + 28);
    if (begin > bytes.size() || entry.packed > bytes.size() - begin)
      return failEntry("the archive is cut short");
    StringRef packed = bytes.substr(begin, entry.packed);
    if (entry.method == 0) {
      if (entry.packed != entry.unpacked || checksum(packed) != entry.checksum)
        return failEntry("the archive is damaged");
      return parseNpy(packed, name, owner);
    }
    if (entry.method != 8)
      return failEntry("it is packed by method " + Twine(entry.method) + "; only stored and deflated entries are known");
    if (entry.unpacked / 1032 > entry.packed)
      return failEntry("it claims to hold more than its bytes can expand to");
    std::shared_ptr<char> memory = allocate(entry.unpacked);
    if (!memory)
      return failEntry("out of memory");
    StringRef unpacked(memory.get(), entry.unpacked);
    if (!inflateTo(packed, memory.get(), entry.unpacked) || checksum(unpacked) != entry.checksum)
      return failEntry("the archive is damaged");
    return parseNpy(unpacked, name, std::move(memory));
  }

  static uint32_t checksum(StringRef data) {
    return static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const Bytef *>(data.data()), data.size()));
  }

  // zlib counts in 32 bits, so that large arrays take several rounds.
  static bool inflateTo(StringRef packed, char *out, uint64_t size) {
    z_stream stream = {};
    if (inflateInit2(&stream, -MAX_WBITS) != Z_OK)
      return false;
    constexpr uint64_t kRound = 1u << 30;
    int status = Z_OK;
    uint64_t written = 0;
    while (status == Z_OK) {
      uInt in = static_cast<uInt>(std::min<uint64_t>(packed.size(), kRound));
      uInt room = static_cast<uInt>(std::min(size - written, kRound));
      stream.next_in = reinterpret_cast<Bytef *>(const_cast<char *>(packed.data()));
      stream.avail_in = in;
      stream.next_out = reinterpret_cast<Bytef *>(out + written);
      stream.avail_out = room;
      status = inflate(&stream, Z_NO_FLUSH);
      written += room - stream.avail_out;
      packed = packed.drop_front(in - stream.avail_in);
      if (status == Z_OK && in == stream.avail_in && room == stream.avail_out)
        break;
    }
    inflateEnd(&stream);
    return status == Z_STREAM_END && written == size;
  }

  StringRef bytes, file;
  std::shared_ptr<const void> owner;
};

// Maps a regular file: devices and pipes have no end that could be checked.
Expected<std::shared_ptr<MemoryBuffer>> openFile(StringRef path) {
  sys::fs::file_status status;
  std::error_code error = sys::fs::status(path, status);
  if (!error && !sys::fs::is_regular_file(status))
    return userError("'" + path + "' cannot be read: it is not a file");
  if (!error) {
    auto buffer = MemoryBuffer::getFile(path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
    if (buffer)
      return std::shared_ptr<MemoryBuffer>(std::move(*buffer));
    error = buffer.getError();
  }
  return userError("'" + path + "' cannot be read: " + error.message());
}
} // namespace

Expected<NpzEntries> parseNpz(StringRef bytes, StringRef name, std::shared_ptr<const void> owner) {
  return ZipReader(bytes, name, std::move(owner)).read();
}

Expected<Array> readNpy(StringRef path) {
  auto buffer = openFile(path);
  if (!buffer)
    return buffer.takeError();
  return parseNpy((*buffer)->getBuffer(), path, *buffer);
}

Expected<NpzEntries> readNpz(StringRef path) {
  auto buffer = openFile(path);
  if (!buffer)
    return buffer.takeError();
  return parseNpz((*buffer)->getBuffer(), path, *buffer);
}

//===- Writing ------------------------------------------------------------------------------------------------------------===//

static std::string npyHeader(const Array &array) {
  std::string dict;
  raw_string_ostream os(dict);
  const TypeFacts &facts = factsOf(array.getType());
  os << "{'descr': '" << (facts.bytes == 1 ? '|' : '<') << facts.descr << "', 'fortran_order': False, 'shape': (";
  interleave(array.getShape(), os, ", ");
  os << (array.getRank() == 1 ? ",), }" : "), }");
  // The data starts at a multiple of 64. A rank of 32 at most keeps the header within version 1.
  dict.append((64 - (10 + dict.size() + 1) % 64) % 64, ' ');
  dict += '\n';
  std::string header("\x93NUMPY\x01\x00", 8);
  header += static_cast<char>(dict.size() & 0xff);
  header += static_cast<char>(dict.size() >> 8);
  return header + dict;
}

static Error writeFile(StringRef path, function_ref<void(raw_ostream &)> write) {
  Error error = writeToOutput(path, [&](raw_ostream &os) {
    write(os);
    return Error::success();
  });
  if (error)
    return userError("'" + path + "' cannot be written: " + toString(std::move(error)));
  return Error::success();
}

Error writeNpy(StringRef path, const Array &array) {
  return writeFile(path, [&](raw_ostream &os) { os << npyHeader(array) << StringRef(array.data(), array.getByteSize()); });
}

namespace {
// Little-endian fields of ZIP records.
class ZipWriter {
public:
  explicit ZipWriter(raw_ostream &os) : os(os) {}

  void write(const NpzEntries &entries) {
    std::string directory;
    for (const auto &[key, array] : entries)
      directory += writeEntry(key + ".npy", array);
    uint64_t begin = offset;
    emit(directory);
    uint64_t count = entries.size(), size = directory.size();
    if (count >= 0xffff || begin >= 0xffffffff || size >= 0xffffffff) {
      uint64_t at = offset;
      std::string end;
      put(end, kEnd64Magic, 4).put(end, kEnd64Size - 12, 8).put(end, 45, 2).put(end, 45, 2).put(end, 0, 8);
      put(end, count, 8).put(end, count, 8).put(end, size, 8).put(end, begin, 8);
      put(end, kLocator64Magic, 4).put(end, 0, 4).put(end, at, 8).put(end, 1, 4);
      emit(end);
    }
    std::string end;
    uint64_t shortCount = std::min<uint64_t>(count, 0xffff);
    put(end, kEndMagic, 4).put(end, 0, 4).put(end, shortCount, 2).put(end, shortCount, 2);
    put(end, std::min<uint64_t>(size, 0xffffffff), 4).put(end, std::min<uint64_t>(begin, 0xffffffff), 4).put(end, 0, 2);
    emit(end);
  }

private:
  ZipWriter &put(std::string &to, uint64_t value, unsigned bytes) {
    for (; bytes > 0; --bytes, value >>= 8)
      to += static_cast<char>(value & 0xff);
    return *this;
  }
  void emit(StringRef text) {
    os << text;
    offset += text.size();
  }

  // Returns the directory's record.
  std::string writeEntry(const std::string &name, const Array &array) {
    std::string header = npyHeader(array);
    StringRef data(array.data(), array.getByteSize());
    uint64_t size = header.size() + data.size(), at = offset;
    uLong crc = crc32_z(0, reinterpret_cast<const Bytef *>(header.data()), header.size());
    crc = crc32_z(crc, reinterpret_cast<const Bytef *>(data.data()), data.size());
    bool wide = size >= 0xffffffff || at >= 0xffffffff;
    uint64_t shortSize = wide ? 0xffffffff : size;

    std::string common; // what both records hold: version, UTF-8 names, stored, 1980-01-01, sizes
    put(common, wide ? 45 : 20, 2).put(common, 0x800, 2).put(common, 0, 2).put(common, 0x00210000, 4);
    put(common, crc, 4).put(common, shortSize, 4).put(common, shortSize, 4).put(common, name.size(), 2);

    std::string extra;
    if (wide)
      put(extra, 1, 2).put(extra, 16, 2).put(extra, size, 8).put(extra, size, 8);
    std::string local;
    put(local, kLocalMagic, 4);
    local += common;
    put(local, extra.size(), 2);
    emit(local + name + extra);
    emit(header);
    emit(data);

    if (wide) {
      extra.clear();
      put(extra, 1, 2).put(extra, 24, 2).put(extra, size, 8).put(extra, size, 8).put(extra, at, 8);
    }
    std::string record;
    put(record, kEntryMagic, 4).put(record, 45, 2);
    record += common;
    put(record, extra.size(), 2).put(record, 0, 2).put(record, 0, 2).put(record, 0, 2).put(record, 0, 4);
    put(record, wide ? 0xffffffff : at, 4);
    return record + name + extra;
  }

  raw_ostream &os;
  uint64_t offset = 0;
};
} // namespace

Error writeNpz(StringRef path, const NpzEntries &entries) {
  for (const auto &entry : entries)
    if (entry.first.size() > 0xfff0)
      return userError("'" + path + "' cannot be written: a key of " + Twine(entry.first.size()) + " characters");
  return writeFile(path, [&](raw_ostream &os) { ZipWriter(os).write(entries); });
}

//===- Cases --------------------------------------------------------------------------------------------------------------===//

Expected<std::vector<NamedCase>> groupCases(const NpzEntries &entries, ArrayRef<std::string> names, StringRef file) {
  std::vector<NamedCase> cases;
  auto arraysOf = [&](StringRef name) -> ArrayMap & {
    auto found = find_if(cases, [&](const NamedCase &c) { return c.name == name; });
    if (found != cases.end())
      return found->arrays;
    cases.push_back({name.str(), {}});
    return cases.back().arrays;
  };
  if (entries.empty())
    return userError("'" + file + "' holds no arrays");
  if (all_of(entries, [&](const auto &entry) { return is_contained(names, entry.first); })) {
    for (const auto &[key, array] : entries)
      arraysOf("")[key] = array;
    return cases;
  }
  for (const auto &[key, array] : entries) {
    const std::string *best = nullptr;
    for (const std::string &name : names)
      if (key.size() > name.size() + 1 && StringRef(key).ends_with("." + name) && (!best || name.size() > best->size()))
        best = &name;
    if (!best)
      return userError("'" + file + "' has the key '" + key + "', which is neither a name nor CASE.NAME; the names are " +
                       join(map_range(names, [](const std::string &n) { return "'" + n + "'"; }), ", "));
    arraysOf(StringRef(key).drop_back(best->size() + 1))[*best] = array;
  }
  return cases;
}

} // namespace quanta
