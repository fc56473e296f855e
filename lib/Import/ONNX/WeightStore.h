//===- WeightStore.h - Tensors of a model as attributes -----------------------------------------------------------===//
#ifndef QUANTA_LIB_IMPORT_ONNX_WEIGHTSTORE_H
#define QUANTA_LIB_IMPORT_ONNX_WEIGHTSTORE_H

#include "ModelFile.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "llvm/ADT/StringMap.h"

namespace mlir::quanta {

/// Turns TensorProtos into elements attributes. Large ones become resources that take over the message's bytes or point
/// into a mapped file: no weight is copied unless its alignment demands it.
class WeightStore {
public:
  WeightStore(StringRef modelPath, StringRef directory, MLIRContext *context);

  /// Checks everything about a tensor; on failure `why` is a sentence.
  LogicalResult check(const ::onnx::TensorProto &tensor, std::string &why);
  /// The attribute for a checked tensor. Takes the tensor's bytes away.
  ElementsAttr take(::onnx::TensorProto &tensor, StringRef name);

private:
  struct Info {
    RankedTensorType type;
    uint64_t bytes = 0;
    StringRef external; ///< the mapped bytes
    std::shared_ptr<llvm::MemoryBuffer> file;
  };
  std::optional<Info> inspect(const ::onnx::TensorProto &tensor, std::string &why);
  std::shared_ptr<llvm::MemoryBuffer> open(StringRef location, std::string &why);

  MLIRContext *context;
  std::string directory;
  /// Resolved folders that external files may lie in.
  SmallVector<std::string> roots;
  llvm::StringMap<std::pair<std::shared_ptr<llvm::MemoryBuffer>, std::string>> files;
};

} // namespace mlir::quanta
#endif
