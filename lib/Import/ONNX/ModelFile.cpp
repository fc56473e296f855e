//===- ModelFile.cpp - The parsed file ----------------------------------------------------------------------------===//
#include "ModelFile.h"
#include "quanta/Import/ONNX/Problems.h"
#include "llvm/Support/FileSystem.h"
#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>

using namespace mlir;
using namespace mlir::quanta;

std::unique_ptr<llvm::MemoryBuffer> quanta::openFile(StringRef path, std::string &why) {
  llvm::sys::fs::file_status status;
  if (std::error_code error = llvm::sys::fs::status(path, status)) {
    why = error.message();
    return nullptr;
  }
  // A pipe or device would block or never end.
  if (status.type() != llvm::sys::fs::file_type::regular_file) {
    why = "not a regular file";
    return nullptr;
  }
  auto buffer = llvm::MemoryBuffer::getFile(path, /*IsText=*/false, /*RequiresNullTerminator=*/false);
  if (!buffer) {
    why = buffer.getError().message();
    return nullptr;
  }
  if ((*buffer)->getBuffer().starts_with("version https://git-lfs.github.com/spec/")) {
    why = "a Git LFS pointer, not the file itself: run 'git lfs pull'";
    return nullptr;
  }
  return std::move(*buffer);
}

std::unique_ptr<::onnx::ModelProto> quanta::parseModel(llvm::MemoryBufferRef buffer, Problems &problems) {
  // Every message about a malformed file would go to standard error.
  static bool silenced = (google::protobuf::SetLogHandler(nullptr), true);
  (void)silenced;
  if (buffer.getBufferSize() > INT32_MAX) {
    problems.error("bad file", "larger than 2 GiB: save the weights as external data");
    return nullptr;
  }
  auto model = std::make_unique<::onnx::ModelProto>();
  google::protobuf::io::ArrayInputStream bytes(buffer.getBufferStart(), int(buffer.getBufferSize()));
  google::protobuf::io::CodedInputStream stream(&bytes);
  stream.SetRecursionLimit(100);
  if (!model->ParseFromCodedStream(&stream) || !stream.ConsumedEntireMessage() || !model->has_graph()) {
    problems.error("bad file", buffer.getBufferSize() ? "not an ONNX model, or damaged" : "empty");
    return nullptr;
  }
  return model;
}

std::optional<Type> quanta::getElementType(int64_t dataType, MLIRContext *context) {
  Builder b(context);
  switch (dataType) {
  case 1:
    return b.getF32Type();
  case 2:
    return b.getIntegerType(8, false);
  case 3:
    return b.getI8Type();
  case 4:
    return b.getIntegerType(16, false);
  case 5:
    return b.getI16Type();
  case 6:
    return b.getI32Type();
  case 7:
    return b.getI64Type();
  case 9:
    return b.getI1Type();
  case 10:
    return b.getF16Type();
  case 11:
    return b.getF64Type();
  case 12:
    return b.getIntegerType(32, false);
  case 13:
    return b.getIntegerType(64, false);
  case 16:
    return b.getBF16Type();
  }
  return std::nullopt;
}

std::string quanta::getDataTypeName(int64_t dataType) {
  static const char *const names[] = {
      "undefined", "float",      "uint8",      "int8",         "uint16",         "int16",      "int32",
      "int64",     "string",     "bool",       "float16",      "double",         "uint32",     "uint64",
      "complex64", "complex128", "bfloat16",   "float8e4m3fn", "float8e4m3fnuz", "float8e5m2", "float8e5m2fnuz",
      "uint4",     "int4",       "float4e2m1", "float8e8m0",   "uint2",          "int2"};
  if (dataType >= 0 && dataType < int64_t(std::size(names)))
    return names[dataType];
  return "number " + std::to_string(dataType);
}

bool quanta::hasUnknownFields(const google::protobuf::UnknownFieldSet &fields, ArrayRef<int> harmless) {
  for (int i = 0; i < fields.field_count(); ++i)
    if (!llvm::is_contained(harmless, fields.field(i).number()))
      return true;
  return false;
}
