//===- Header.h - C headers of compiled models ----------------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_CODEGEN_HEADER_H
#define QUANTA_CODEGEN_HEADER_H

#include "mlir/IR/BuiltinAttributes.h"
#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace mlir::quanta {

/// The module attribute `quanta.model`, checked.
struct ModelDescription {
  struct Port {
    std::string name;
    std::string type; ///< "f32"
    int32_t typeCode; ///< quanta_type
    std::vector<int64_t> shape;   ///< -1: dynamic
    std::vector<int32_t> symbols; ///< index into `symbols` or -1
  };
  std::string name, recipe;
  std::vector<Port> inputs, outputs;
  std::vector<std::string> symbols;
  int64_t cacheCapacity = 0, cacheBytes = 0; ///< as in quanta_model_info

  static llvm::Expected<ModelDescription> get(DictionaryAttr attr);
};

/// Self-contained: holds the text of quanta.h, in such a way that the headers of two models can be included together.
std::string getModelHeader(const ModelDescription &model, llvm::StringRef name);

} // namespace mlir::quanta

#endif // QUANTA_CODEGEN_HEADER_H
