//===- ModelFile.h - The parsed file ------------------------------------------------------------------------------===//
#ifndef QUANTA_LIB_IMPORT_ONNX_MODELFILE_H
#define QUANTA_LIB_IMPORT_ONNX_MODELFILE_H

#include "mlir/IR/BuiltinTypes.h"
#include "llvm/Support/MemoryBuffer.h"
#include <optional>
#include <string>

#define ONNX_ML 1
#define ONNX_NAMESPACE onnx
#include <onnx/onnx_pb.h>

namespace mlir::quanta {

class Problems;

/// Parses a model; nothing but well-formed bytes is guaranteed. Problems are reported.
std::unique_ptr<::onnx::ModelProto> parseModel(llvm::MemoryBufferRef buffer, Problems &problems);

/// A file that may be mapped: regular, readable. On failure `why` is a sentence.
std::unique_ptr<llvm::MemoryBuffer> openFile(llvm::StringRef path, std::string &why);

/// The type of an ONNX data type; nothing for strings, complex numbers and types narrower than a byte.
std::optional<Type> getElementType(int64_t dataType, MLIRContext *context);
/// Name of a data type for messages.
std::string getDataTypeName(int64_t dataType);

/// Protobuf keeps fields that its description does not know. Those that only add information may be ignored.
bool hasUnknownFields(const google::protobuf::UnknownFieldSet &fields, llvm::ArrayRef<int> harmless);

} // namespace mlir::quanta
#endif
