//===- ObjectWriter.cpp - Weights as an object file, streamed -----------------------------------------------------------===//
//
// LLVM takes 24 s and three times the memory for each GiB of constants, so weights never enter an LLVM module: they go from
// the attributes to the file, and the linker puts them beside the code.
//
//===----------------------------------------------------------------------------------------------------------------------===//
#include "quanta/Codegen/ObjectWriter.h"
#include "quanta/Dialect/IR/Packing.h"
#include "quanta/Support/Error.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/BinaryFormat/ELF.h"
#include "llvm/Support/EndianStream.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Parallel.h"
#include "llvm/Support/raw_ostream.h"
#ifdef __linux__
#include <sys/mman.h>
#include <unistd.h>
#endif

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::userError;
namespace format = ::quanta;

//===- Where weights lie --------------------------------------------------------------------------------------------------===//

static constexpr uint64_t kAlignment = 64;
/// Vector loads of a last row may reach past the last weight.
static constexpr uint64_t kSlack = 64;

static llvm::Error invalid(WeightsOp op, const Twine &message) {
  return userError("weights '" + op.getSymName() + "': " + message);
}

static llvm::Expected<uint64_t> getStoredBytes(WeightsOp op) {
  auto type = dyn_cast<MemRefType>(op.getType());
  if (!type || !type.hasStaticShape() || !type.getElementType().isIntOrFloat() ||
      type.getElementTypeBitWidth() % 8 != 0)
    return invalid(op, "expected a static memref of whole bytes as stored form");
  uint64_t bytes = type.getElementTypeBitWidth() / 8;
  for (uint64_t size : type.getShape())
    if (__builtin_mul_overflow(bytes, size, &bytes))
      return invalid(op, "its size overflows");
  return bytes;
}

llvm::Expected<uint64_t> mlir::quanta::getWeightsBytes(ModuleOp module) {
  uint64_t end = 0;
  for (WeightsOp op : module.getOps<WeightsOp>()) {
    auto bytes = getStoredBytes(op);
    if (!bytes)
      return bytes.takeError();
    if (__builtin_add_overflow(llvm::alignTo(end, kAlignment), *bytes, &end))
      return invalid(op, "the sum of all sizes overflows");
  }
  return end ? llvm::alignTo(end, kAlignment) + kSlack : 0;
}

//===- Elements -----------------------------------------------------------------------------------------------------------===//

namespace {
/// The bytes behind an elements attribute.
struct Elements {
  ArrayRef<char> data;
  int64_t count = 0;
  unsigned bytes = 0; ///< of one element
  bool splat = false;
  std::vector<char> expanded;

  /// The rows × columns that encodings see.
  int64_t rows = 0, columns = 0;

  const char *row(int64_t index) const { return data.data() + index * columns * bytes; }
};
} // namespace

static llvm::Expected<Elements> getElements(WeightsOp op, Attribute attr) {
  auto typed = dyn_cast_or_null<ElementsAttr>(attr);
  auto type = typed ? dyn_cast<ShapedType>(typed.getType()) : ShapedType();
  if (!type || !type.getElementType().isIntOrFloat() || type.getElementTypeBitWidth() % 8 != 0)
    return invalid(op, "expected an elements attribute of whole bytes as value");
  Elements elements;
  elements.count = type.getNumElements();
  elements.bytes = type.getElementTypeBitWidth() / 8;
  std::tie(elements.rows, elements.columns) = getMatrixShape(type.getShape());
  if (auto dense = dyn_cast<DenseElementsAttr>(attr)) {
    elements.data = dense.getRawData();
    elements.splat = dense.isSplat();
  } else if (auto resource = dyn_cast<DenseResourceElementsAttr>(attr)) {
    AsmResourceBlob *blob = resource.getRawHandle().getBlob();
    if (!blob)
      return invalid(op, "the data of resource '" + resource.getRawHandle().getKey() + "' are missing");
    elements.data = blob->getData();
  } else {
    return invalid(op, "only dense and dense_resource values can be stored");
  }
  uint64_t expected = elements.splat ? elements.bytes : elements.count * elements.bytes;
  if (elements.data.size() != expected)
    return invalid(op, "expected " + Twine(expected) + " bytes of data but got " + Twine(elements.data.size()));
  return elements;
}

static void expandSplat(Elements &elements) {
  if (!elements.splat)
    return;
  elements.expanded.resize(elements.count * elements.bytes);
  for (size_t i = 0; i < elements.expanded.size(); i += elements.bytes)
    memcpy(elements.expanded.data() + i, elements.data.data(), elements.bytes);
  elements.data = elements.expanded;
  elements.splat = false;
}

/// The weights are read once, from the model's file as a rule: lets the kernel take these pages before others. Never
/// discards anything, so it is right for heap memory as well.
static void expectNoMoreReads(const char *begin, const char *end) {
#if defined(__linux__) && defined(MADV_COLD)
  static const uintptr_t page = sysconf(_SC_PAGESIZE);
  uintptr_t from = llvm::alignTo(reinterpret_cast<uintptr_t>(begin), page);
  uintptr_t to = llvm::alignDown(reinterpret_cast<uintptr_t>(end), page);
  if (from < to)
    (void)madvise(reinterpret_cast<void *>(from), to - from, MADV_COLD);
#endif
}

//===- Packing ------------------------------------------------------------------------------------------------------------===//

static constexpr uint64_t kChunk = 16 << 20;

static void writeRaw(const Elements &elements, raw_ostream &os) {
  if (!elements.splat) {
    for (size_t at = 0; at < elements.data.size(); at += kChunk) {
      ArrayRef<char> chunk = elements.data.slice(at, std::min<size_t>(kChunk, elements.data.size() - at));
      os.write(chunk.data(), chunk.size());
      expectNoMoreReads(chunk.begin(), chunk.end());
    }
    return;
  }
  // Whole elements, so that the pattern continues from one buffer to the next.
  int64_t perBuffer = std::min<int64_t>(elements.count, 1 << 16);
  Elements part = elements;
  part.count = perBuffer;
  expandSplat(part);
  for (int64_t left = elements.count; left > 0; left -= perBuffer)
    os.write(part.data.data(), std::min(left, perBuffer) * elements.bytes);
}

/// Calls fill(tile, buffer) for every tile, several at a time, and writes the buffers in order.
static void writeTiles(int64_t tiles, uint64_t tileBytes, raw_ostream &os,
                       llvm::function_ref<void(int64_t tile, char *out)> fill) {
  if (tiles == 0 || tileBytes == 0)
    return;
  int64_t batch = std::clamp<int64_t>(kChunk / tileBytes, 1, tiles);
  std::vector<char> buffer(batch * tileBytes);
  for (int64_t first = 0; first < tiles; first += batch) {
    int64_t count = std::min(batch, tiles - first);
    llvm::parallelFor(0, count, [&](size_t i) { fill(first + i, buffer.data() + i * tileBytes); });
    os.write(buffer.data(), count * tileBytes);
  }
}

/// [tile][column][rows of the tile], missing rows zero.
template <typename T>
static void transposeTile(const Elements &source, bool broadcastRow, int64_t rows, int64_t tileRows, int64_t tile,
                          char *out) {
  int64_t count = std::min(tileRows, rows - tile * tileRows);
  T *target = reinterpret_cast<T *>(out);
  if (count < tileRows)
    std::fill_n(target, source.columns * tileRows, T(0));
  // Blocks of columns keep the destination in the cache while the rows go by.
  constexpr int64_t kBlock = 64;
  for (int64_t begin = 0; begin < source.columns; begin += kBlock)
    for (int64_t r = 0; r < count; ++r) {
      const char *row = source.row(broadcastRow ? 0 : tile * tileRows + r);
      for (int64_t c = begin, end = std::min(begin + kBlock, source.columns); c < end; ++c)
        memcpy(&target[c * tileRows + r], row + c * sizeof(T), sizeof(T));
    }
}

static llvm::Error writeTransposed(WeightsOp op, Elements source, int64_t rows, int64_t tileRows, raw_ostream &os) {
  expandSplat(source);
  if (source.rows != rows && source.rows != 1)
    return invalid(op, "expected " + Twine(rows) + " rows, or 1, but got " + Twine(source.rows));
  bool broadcast = source.rows != rows;
  auto fill = [&](int64_t tile, char *out) {
    switch (source.bytes) {
    case 1:
      return transposeTile<uint8_t>(source, broadcast, rows, tileRows, tile, out);
    case 2:
      return transposeTile<uint16_t>(source, broadcast, rows, tileRows, tile, out);
    case 4:
      return transposeTile<uint32_t>(source, broadcast, rows, tileRows, tile, out);
    default:
      return transposeTile<uint64_t>(source, broadcast, rows, tileRows, tile, out);
    }
  };
  writeTiles(llvm::divideCeil(rows, tileRows), source.columns * tileRows * source.bytes, os, fill);
  expectNoMoreReads(source.data.begin(), source.data.end());
  return llvm::Error::success();
}

namespace {
/// Packs one array of an encoded weight from its logical components.
class ComponentWriter {
public:
  ComponentWriter(WeightsOp op, DictionaryAttr components, raw_ostream &os) : op(op), components(components), os(os) {}

  llvm::Error write(const PackedComponent &component, int64_t rows, int64_t columns) {
    switch (component.kind) {
    case PackedComponent::Kind::Tiles:
      return writeTiled(component, rows);
    case PackedComponent::Kind::Codes:
      return writeCodes(component);
    case PackedComponent::Kind::Order:
      return writeOrder(component, columns);
    case PackedComponent::Kind::Offsets:
    case PackedComponent::Kind::Entries:
      return writeSparse(component, {rows, columns, component.blockColumns});
    }
    llvm_unreachable("covered switch");
  }

private:
  /// A component with its splat expanded; it must have this many elements of this many bytes.
  llvm::Expected<Elements> load(StringRef name, int64_t count, unsigned bytes) {
    auto elements = getElements(op, components.get(name));
    if (!elements)
      return elements.takeError();
    if (elements->count != count || elements->bytes != bytes)
      return invalid(op, "expected " + Twine(count) + " elements of " + Twine(bytes) + " bytes in component '" + name +
                             "' but got " + Twine(elements->count) + " of " + Twine(elements->bytes));
    expandSplat(*elements);
    return elements;
  }
  static const uint8_t *bytesOf(const Elements &elements) { return reinterpret_cast<const uint8_t *>(elements.data.data()); }

  llvm::Error checkMask(const Elements &mask, int64_t count) {
    int64_t ones = llvm::count_if(mask.data, [](char bit) { return bit != 0; });
    if (ones != count)
      return invalid(op, "its mask has " + Twine(ones) + " ones, but its encoding says " + Twine(count));
    return llvm::Error::success();
  }

  llvm::Error writeTiled(const PackedComponent &component, int64_t rows) {
    auto elements = getElements(op, components.get(component.source));
    if (!elements)
      return elements.takeError();
    if (elements->columns != component.shape[1])
      return invalid(op, "expected " + Twine(component.shape[1]) + " columns in component '" + component.source + "' but got " +
                             Twine(elements->columns));
    if (component.most && llvm::any_of(elements->data, [&](char value) { return uint8_t(value) > component.most; }))
      return invalid(op, "has integers above " + Twine(component.most) + " in component '" + component.source + "'");
    return writeTransposed(op, std::move(*elements), rows, format::kTileRows, os);
  }

  llvm::Error writeCodes(const PackedComponent &component) {
    auto shape = getTileShape(component.spec);
    if (!shape)
      return invalid(op, "has a size that cannot be packed");
    int64_t count = shape->rows * shape->columns;
    auto codes = load(component.source, count, 1);
    if (!codes)
      return codes.takeError();
    if (!component.mask.empty()) {
      auto mask = load(component.mask, count, 1);
      if (!mask)
        return mask.takeError();
      std::vector<char> kept(codes->data.begin(), codes->data.end());
      for (int64_t i = 0; i < count; ++i)
        if (mask->data[i])
          kept[i] = 0;
      codes->expanded = std::move(kept);
      codes->data = codes->expanded;
    }
    if (shape->levels && llvm::any_of(codes->data, [&](char code) { return uint8_t(code) >= shape->levels; }))
      return invalid(op, "has codes of " + Twine(shape->levels) + " or more in component '" + component.source + "'");
    writeTiles(shape->tiles, shape->tileBytes, os, [&](int64_t tile, char *out) {
      format::packUniformTile(bytesOf(*codes), *shape, tile, reinterpret_cast<uint8_t *>(out));
    });
    expectNoMoreReads(codes->data.begin(), codes->data.end());
    return llvm::Error::success();
  }

  llvm::Error writeOrder(const PackedComponent &component, int64_t columns) {
    auto mask = load(component.mask, columns, 1);
    if (!mask)
      return mask.takeError();
    if (llvm::Error error = checkMask(*mask, component.count))
      return error;
    for (bool high : {true, false})
      for (int64_t column = 0; column < columns; ++column)
        if ((mask->data[column] != 0) == high)
          llvm::support::endian::write<int32_t>(os, column, llvm::endianness::little);
    return llvm::Error::success();
  }

  llvm::Error writeSparse(const PackedComponent &component, const format::SparseShape &shape) {
    auto mask = load(component.mask, shape.rows * shape.columns, 1);
    auto codes = load(component.source, shape.rows * shape.columns, 1);
    if (!mask || !codes)
      return llvm::joinErrors(mask.takeError(), codes.takeError());
    if (llvm::Error error = checkMask(*mask, component.count))
      return error;
    if (component.kind == PackedComponent::Kind::Offsets) {
      auto offsets = format::getSparseOffsets(bytesOf(*mask), shape);
      if (!offsets)
        return invalid(op, "has 2^31 or more entries");
      for (int32_t offset : *offsets)
        llvm::support::endian::write(os, offset, llvm::endianness::little);
      return llvm::Error::success();
    }
    std::vector<uint16_t> words;
    for (int64_t tile = 0; tile < shape.getTiles(); ++tile) {
      format::packSparseTile(bytesOf(*mask), bytesOf(*codes), shape, tile, words);
      for (uint16_t word : words)
        llvm::support::endian::write(os, word, llvm::endianness::little);
    }
    return llvm::Error::success();
  }

  WeightsOp op;
  DictionaryAttr components;
  raw_ostream &os;
};
} // namespace

static llvm::Error writeWeight(WeightsOp op, raw_ostream &os) {
  Attribute layout = op.getLayoutAttr();
  auto packed = dyn_cast_or_null<PackedAttr>(layout);
  if (layout && !packed)
    return invalid(op, "unknown layout");
  if (!packed || !packed.getBase()) {
    auto elements = getElements(op, op.getValue());
    if (!elements)
      return elements.takeError();
    if (packed)
      return writeTransposed(op, std::move(*elements), elements->rows, packed.getRows(), os);
    writeRaw(*elements, os);
    return llvm::Error::success();
  }

  auto components = dyn_cast<DictionaryAttr>(op.getValue());
  auto name = op->getAttrOfType<StringAttr>("component");
  auto shape = op->getAttrOfType<DenseI64ArrayAttr>("shape");
  auto type = shape ? RankedTensorType::get(shape.asArrayRef(), Float32Type::get(op.getContext())) : RankedTensorType();
  if (!components || !name || !shape || !type.hasStaticShape() ||
      failed(packed.verifyEncoding(type.getShape(), type.getElementType(), [&] { return op->emitError(); })))
    return invalid(op, "expected components, the name of one, and a shape that the layout can encode in tiles of " +
                           Twine(format::kTileRows) + " rows");
  auto [rows, columns] = getMatrixShape(type.getShape());
  for (const PackedComponent &component : packed.getPackedComponents(type.getShape()))
    if (component.name == name.getValue())
      return ComponentWriter(op, components, os).write(component, rows, columns);
  return invalid(op, "its layout has no component '" + name.getValue() + "'");
}

llvm::Error mlir::quanta::writeWeights(ModuleOp module, raw_ostream &os) {
  auto total = getWeightsBytes(module);
  if (!total)
    return total.takeError();
  uint64_t start = os.tell(), offset = 0;
  for (WeightsOp op : module.getOps<WeightsOp>()) {
    uint64_t aligned = llvm::alignTo(offset, kAlignment);
    if (auto assumed = op->getAttrOfType<IntegerAttr>("offset"); assumed && assumed.getValue().getZExtValue() != aligned)
      return invalid(op, "the code looks for it at " + Twine(assumed.getValue().getZExtValue()) + ", but it lies at " +
                             Twine(aligned));
    os.write_zeros(aligned - offset);
    if (llvm::Error error = writeWeight(op, os))
      return error;
    offset = aligned + *getStoredBytes(op);
    if (os.tell() - start != offset)
      return invalid(op, "its layout takes " + Twine(os.tell() - start - aligned) + " bytes, its stored form " +
                             Twine(offset - aligned));
  }
  os.write_zeros(*total - offset);
  return llvm::Error::success();
}

//===- The object file ----------------------------------------------------------------------------------------------------===//

namespace {
/// Names of an ELF string table.
class StringTable {
public:
  uint32_t add(StringRef name) {
    uint32_t at = text.size();
    text.append(name.data(), name.size());
    text.push_back('\0');
    return at;
  }
  std::string text = std::string(1, '\0');
};
} // namespace

template <typename T> static StringRef bytesOf(const T &value) {
  return {reinterpret_cast<const char *>(&value), sizeof value};
}

llvm::Error mlir::quanta::writeWeightsObject(ModuleOp module, const WeightsSection &section, const ::quanta::ArchitectureFacts &architecture,
                                             StringRef path) {
  using namespace llvm::ELF;
  static_assert(llvm::endianness::native == llvm::endianness::little, "structures are written as they are");
  std::error_code ec;
  llvm::raw_fd_ostream os(path, ec);
  if (ec)
    return userError("cannot write '" + path + "': " + ec.message());
  os.SetBufferSize(1 << 20);

  enum : uint16_t { Null, Data, Stack, Symbols, Strings, SectionNames, SectionCount };
  Elf64_Shdr headers[SectionCount] = {};
  StringTable names, strings;
  auto describe = [&](unsigned index, StringRef name, uint32_t type, uint64_t flags, uint64_t alignment) {
    headers[index].sh_name = names.add(name);
    headers[index].sh_type = type;
    headers[index].sh_flags = flags;
    headers[index].sh_addralign = alignment;
  };
  describe(Data, section.name, SHT_PROGBITS, SHF_ALLOC | (section.large ? uint64_t(SHF_X86_64_LARGE) : 0),
           section.bytes > (1 << 20) ? 4096 : kAlignment);
  describe(Stack, ".note.GNU-stack", SHT_PROGBITS, 0, 1);
  describe(Symbols, ".symtab", SHT_SYMTAB, 0, 8);
  describe(Strings, ".strtab", SHT_STRTAB, 0, 1);
  describe(SectionNames, ".shstrtab", SHT_STRTAB, 0, 1);

  Elf64_Sym symbols[2] = {};
  symbols[1].st_name = strings.add(section.symbol);
  symbols[1].setBindingAndType(STB_GLOBAL, STT_OBJECT);
  symbols[1].st_other = STV_HIDDEN;
  symbols[1].st_shndx = Data;
  symbols[1].st_size = section.bytes;
  headers[Symbols].sh_link = Strings;
  headers[Symbols].sh_info = 1; // index of the first symbol that is not local
  headers[Symbols].sh_entsize = sizeof(Elf64_Sym);

  Elf64_Ehdr header = {};
  memcpy(header.e_ident, ElfMagic, 4);
  header.e_ident[EI_CLASS] = ELFCLASS64;
  header.e_ident[EI_DATA] = ELFDATA2LSB;
  header.e_ident[EI_VERSION] = EV_CURRENT;
  header.e_type = ET_REL;
  header.e_machine = architecture.elfMachine;
  header.e_version = EV_CURRENT;
  header.e_ehsize = sizeof(Elf64_Ehdr);
  header.e_shentsize = sizeof(Elf64_Shdr);
  header.e_shnum = SectionCount;
  header.e_shstrndx = SectionNames;

  // Every size is known, so the file is written front to back.
  const uint64_t sizes[SectionCount] = {0, section.bytes, 0, sizeof symbols, strings.text.size(), names.text.size()};
  uint64_t at = sizeof header;
  for (unsigned i = Data; i < SectionCount; ++i) {
    at = llvm::alignTo(at, headers[i].sh_addralign);
    headers[i].sh_offset = at;
    headers[i].sh_size = sizes[i];
    at += sizes[i];
  }
  header.e_shoff = llvm::alignTo(at, 8);

  auto advance = [&](uint64_t offset) { os.write_zeros(offset - os.tell()); };
  os << bytesOf(header);
  advance(headers[Data].sh_offset);
  if (llvm::Error error = writeWeights(module, os))
    return error;
  advance(headers[Symbols].sh_offset);
  os << bytesOf(symbols) << strings.text << names.text;
  advance(header.e_shoff);
  os << bytesOf(headers);
  os.close();
  if (os.has_error()) {
    ec = os.error();
    os.clear_error();
    return userError("cannot write '" + path + "': " + ec.message());
  }
  return llvm::Error::success();
}
