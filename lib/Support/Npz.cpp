//===- Npz.cpp - Arrays in ZIP files ----------------------------------------------------------------------------------===//
#include "ArrayFile.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/ADT/StringSet.h"
#include "llvm/Support/Endian.h"
#include <limits>
#include <zlib.h>

using namespace llvm;
using support::endian::read16le;
using support::endian::read32le;
using support::endian::read64le;

namespace quanta {

//===- Reading ------------------------------------------------------------------------------------------------------------===//

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
    std::shared_ptr<char> memory = allocateAligned(entry.unpacked);
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

} // namespace

Expected<NpzEntries> parseNpz(StringRef bytes, StringRef name, std::shared_ptr<const void> owner) {
  return ZipReader(bytes, name, std::move(owner)).read();
}

Expected<NpzEntries> readNpz(StringRef path) {
  auto buffer = openFile(path);
  if (!buffer)
    return buffer.takeError();
  return parseNpz((*buffer)->getBuffer(), path, *buffer);
}

//===- Writing ------------------------------------------------------------------------------------------------------------===//

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
    std::string header = makeNpyHeader(array);
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
