//===- WeightStore.cpp - Tensors of a model as attributes ---------------------------------------------------------===//
#include "WeightStore.h"
#include "mlir/IR/AsmState.h"
#include "mlir/IR/DialectResourceBlobManager.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MathExtras.h"
#include "llvm/Support/Path.h"

using namespace mlir;
using namespace mlir::quanta;
namespace path = llvm::sys::path;

/// Tensors up to this size are stored in the attribute itself, where folders see them.
static constexpr uint64_t maxInlineBytes = 64;

WeightStore::WeightStore(StringRef modelPath, StringRef directory, MLIRContext *context)
    : context(context), directory(directory.str()) {
  SmallString<256> real;
  if (!directory.empty() && !llvm::sys::fs::real_path(directory, real))
    roots.push_back(real.str().str());
  // A model cache links the model's name to a file elsewhere; weights may lie beside either.
  if (!modelPath.empty() && !llvm::sys::fs::real_path(modelPath, real))
    roots.push_back(path::parent_path(real).str());
}

/// Bytes of an element in memory; a boolean has one.
static uint64_t elementBytes(Type type) { return std::max(type.getIntOrFloatBitWidth() / 8, 1u); }

std::shared_ptr<llvm::MemoryBuffer> WeightStore::open(StringRef location, std::string &why) {
  auto [it, isNew] = files.try_emplace(location);
  std::shared_ptr<llvm::MemoryBuffer> &file = it->second.first;
  std::string &reason = it->second.second;
  auto resolve = [&] {
    if (roots.empty())
      return reason = "a model without a folder cannot have external data", void();
    if (location.empty() || location.contains('\0') || path::is_absolute(location) || location.starts_with("/") ||
        llvm::is_contained(llvm::make_range(path::begin(location), path::end(location)), ".."))
      return reason = "the location must be relative and without '..'", void();
    SmallString<256> full(directory), real;
    path::append(full, location);
    if (std::error_code error = llvm::sys::fs::real_path(full, real))
      return reason = error.message(), void();
    bool inside = llvm::any_of(roots, [&](StringRef root) {
      StringRef rest = real;
      return rest.consume_front(root) && (root.ends_with("/") || rest.starts_with("/"));
    });
    if (!inside)
      return reason = "the file lies outside the model's folder", void();
    file = openFile(real, reason);
  };
  if (isNew)
    resolve();
  why = reason;
  return file;
}

/// Elements in the typed field of a tensor that has no raw data.
static std::optional<int64_t> countTyped(const ::onnx::TensorProto &tensor) {
  switch (tensor.data_type()) {
  case 1:
    return tensor.float_data_size();
  case 2:
  case 3:
  case 4:
  case 5:
  case 6:
  case 9:
  case 10:
  case 16:
    return tensor.int32_data_size();
  case 7:
    return tensor.int64_data_size();
  case 11:
    return tensor.double_data_size();
  case 12:
  case 13:
    return tensor.uint64_data_size();
  }
  return std::nullopt;
}

std::optional<WeightStore::Info> WeightStore::inspect(const ::onnx::TensorProto &tensor, std::string &why) {
  auto fail = [&](const Twine &text) -> std::optional<Info> {
    why = text.str();
    return std::nullopt;
  };
  Info info;
  auto type = getElementType(tensor.data_type(), context);
  if (!type)
    return fail("data type " + getDataTypeName(tensor.data_type()) + " is not supported");
  if (tensor.has_segment())
    return fail("segments are not supported");
  constexpr int metadata = 16;
  if (hasUnknownFields(tensor.unknown_fields(), {metadata}))
    return fail("has fields that are not known");
  if (tensor.dims_size() > 32)
    return fail("has more than 32 dimensions");
  uint64_t count = 1;
  for (int64_t size : tensor.dims()) {
    if (size < 0)
      return fail("negative size");
    bool overflow = false;
    count = llvm::SaturatingMultiply<uint64_t>(count, size, &overflow);
    if (overflow || count > (uint64_t(1) << 48))
      return fail("too large");
  }
  info.type = RankedTensorType::get(ArrayRef(tensor.dims().data(), tensor.dims_size()), *type);
  info.bytes = count * elementBytes(*type);
  uint64_t stored;
  if (tensor.data_location() == ::onnx::TensorProto::EXTERNAL) {
    StringRef location;
    uint64_t offset = 0;
    std::optional<uint64_t> length;
    for (const auto &entry : tensor.external_data()) {
      StringRef key = entry.key(), value = entry.value();
      uint64_t number = 0;
      if (key == "location")
        location = value;
      else if ((key == "offset" || key == "length") && value.getAsInteger(10, number))
        return fail("external data: bad " + key + " '" + value + "'");
      else if (key == "offset")
        offset = number;
      else if (key == "length")
        length = number;
    }
    std::string reason;
    info.file = open(location, reason);
    if (!info.file)
      return fail("external data '" + location + "': " + reason);
    StringRef bytes = info.file->getBuffer();
    if (offset > bytes.size() || info.bytes > bytes.size() - offset)
      return fail("external data '" + location + "': needs " + Twine(info.bytes) + " bytes at " + Twine(offset) +
                  ", the file has " + Twine(bytes.size()));
    if (length && *length != info.bytes)
      return fail("external data '" + location + "': length " + Twine(*length) + ", the tensor has " +
                  Twine(info.bytes) + " bytes");
    info.external = bytes.substr(offset, info.bytes);
    stored = info.bytes;
  } else if (tensor.has_raw_data()) {
    stored = tensor.raw_data().size();
  } else {
    auto typed = countTyped(tensor);
    stored = uint64_t(typed.value_or(0)) * elementBytes(*type);
  }
  if (stored != info.bytes)
    return fail("has " + Twine(stored) + " bytes of data, its shape needs " + Twine(info.bytes));
  StringRef raw = info.file ? info.external : StringRef(tensor.raw_data());
  if (type->isInteger(1) && llvm::any_of(raw, [](char c) { return c != 0 && c != 1; }))
    return fail("has booleans other than 0 and 1");
  return info;
}

LogicalResult WeightStore::check(const ::onnx::TensorProto &tensor, std::string &why) {
  return success(inspect(tensor, why).has_value());
}

/// Typed fields widen small types: narrowed back, little endian like raw data.
static std::string packTyped(const ::onnx::TensorProto &tensor, uint64_t width) {
  std::string bytes;
  auto append = [&](const auto &values) {
    for (auto value : values) {
      if (tensor.data_type() == 9)
        value = value != 0;
      bytes.append(reinterpret_cast<const char *>(&value), width);
    }
  };
  switch (tensor.data_type()) {
  case 1:
    append(tensor.float_data());
    break;
  case 7:
    append(tensor.int64_data());
    break;
  case 11:
    append(tensor.double_data());
    break;
  case 12:
  case 13:
    append(tensor.uint64_data());
    break;
  default:
    append(tensor.int32_data());
  }
  return bytes;
}

ElementsAttr WeightStore::take(::onnx::TensorProto &tensor, StringRef name) {
  std::string why;
  auto info = inspect(tensor, why);
  if (!info)
    return {};
  Type type = info->type.getElementType();
  uint64_t width = elementBytes(type);
  std::shared_ptr<std::string> owned;
  if (!info->file)
    owned = tensor.has_raw_data() ? std::shared_ptr<std::string>(tensor.release_raw_data())
                                  : std::make_shared<std::string>(packTyped(tensor, width));
  ArrayRef<char> bytes =
      info->file ? ArrayRef(info->external.data(), info->external.size()) : ArrayRef(owned->data(), owned->size());
  if (info->bytes <= maxInlineBytes) {
    if (type.isInteger(1))
      return DenseElementsAttr::get(info->type, llvm::map_to_vector(bytes, [](char c) { return c != 0; }));
    // Attributes read elements through typed pointers.
    alignas(16) char aligned[maxInlineBytes];
    llvm::copy(bytes, aligned);
    return DenseElementsAttr::getFromRawBuffer(info->type, ArrayRef(aligned, bytes.size()));
  }
  AsmResourceBlob blob = llvm::isAddrAligned(llvm::Align(width), bytes.data())
                             ? UnmanagedAsmResourceBlob::allocateWithAlign(
                                   bytes, width, [owned, file = info->file](void *, size_t, size_t) {})
                             : HeapAsmResourceBlob::allocateAndCopyWithAlign(bytes, width);
  return DenseResourceElementsAttr::get(info->type, name.empty() ? "weight" : name, std::move(blob));
}
