//===- ActivationForm.h - The words after act= ----------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_TRANSFORMS_ACTIVATIONFORM_H
#define QUANTA_TRANSFORMS_ACTIVATIONFORM_H

#include "llvm/ADT/StringRef.h"
#include <optional>

namespace mlir::quanta {

/// intN-token, intN-tensor, intN-cluster; N is 2 to 8.
struct ActivationForm {
  enum class Sharing { Token, Tensor, Cluster };
  unsigned bits;
  Sharing sharing; ///< what shares a scale

  /// Scales are chosen on data, before the model runs.
  bool isStatic() const { return sharing != Sharing::Token; }
  static std::optional<ActivationForm> parse(llvm::StringRef text) {
    ActivationForm form;
    if (!text.consume_front("int") || text.consumeInteger(10, form.bits) || form.bits < 2 || form.bits > 8)
      return std::nullopt;
    if (text == "-token")
      form.sharing = Sharing::Token;
    else if (text == "-tensor")
      form.sharing = Sharing::Tensor;
    else if (text == "-cluster")
      form.sharing = Sharing::Cluster;
    else
      return std::nullopt;
    return form;
  }
};

} // namespace mlir::quanta
#endif
