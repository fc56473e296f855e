//===- Npy.cpp - NumPy's array files ----------------------------------------------------------------------------------===//
#include "ArrayFile.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallVector.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Endian.h"
#include "llvm/Support/FileSystem.h"

using namespace llvm;
using support::endian::read16le;
using support::endian::read32le;

namespace quanta {

//===- Reading ------------------------------------------------------------------------------------------------------------===//

namespace {
// NumPy's names of types, without the byte order; in the order of DType.
constexpr const char *kDescriptions[] = {"f4", "f2", "f8", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "b1"};

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
    auto found = find(kDescriptions, descr.drop_front());
    if (found == std::end(kDescriptions))
      return userError("its element type is not supported; use numbers of 8 to 64 bits");
    auto type = static_cast<DType>(found - kDescriptions);
    if (descr[0] != '<' && descr[0] != '=' && !(getByteWidth(type) == 1 && descr[0] == '|'))
      return userError("it is not little endian");
    header.type = type;
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
    std::shared_ptr<char> memory = allocateAligned(size);
    if (!memory)
      return fail("out of memory");
    std::copy_n(data.data(), size, memory.get());
    data = StringRef(memory.get(), size);
    owner = std::move(memory);
  }
  Array array = Array::view(header->type, std::move(header->shape), data.data(), std::move(owner));
  return header->fortranOrder && array.getRank() > 1 ? transposeFortran(array) : array;
}

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

Expected<Array> readNpy(StringRef path) {
  auto buffer = openFile(path);
  if (!buffer)
    return buffer.takeError();
  return parseNpy((*buffer)->getBuffer(), path, *buffer);
}

//===- Writing ------------------------------------------------------------------------------------------------------------===//

std::string makeNpyHeader(const Array &array) {
  std::string dict;
  raw_string_ostream os(dict);
  os << "{'descr': '" << (getByteWidth(array.getType()) == 1 ? '|' : '<') << kDescriptions[static_cast<size_t>(array.getType())] << "', 'fortran_order': False, 'shape': (";
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

Error writeFile(StringRef path, function_ref<void(raw_ostream &)> write) {
  Error error = writeToOutput(path, [&](raw_ostream &os) {
    write(os);
    return Error::success();
  });
  if (error)
    return userError("'" + path + "' cannot be written: " + toString(std::move(error)));
  return Error::success();
}

Error writeNpy(StringRef path, const Array &array) {
  return writeFile(path, [&](raw_ostream &os) { os << makeNpyHeader(array) << StringRef(array.data(), array.getByteSize()); });
}

} // namespace quanta
