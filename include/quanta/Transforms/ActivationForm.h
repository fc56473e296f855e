//===- ActivationForm.h - The words after act= ----------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_TRANSFORMS_ACTIVATIONFORM_H
#define QUANTA_TRANSFORMS_ACTIVATIONFORM_H

#include "llvm/ADT/StringRef.h"
#include <optional>

namespace mlir::quanta {

/// intN-token, intN-tensor, intN-cluster, N being 2 to 8; bf16.
struct ActivationForm {
  enum class Sharing { Token, Tensor, Cluster, None };
  unsigned bits;
  Sharing sharing; ///< what shares a scale; none: values are floats of so many bits

  /// Scales are chosen on data, before the model runs.
  bool isStatic() const { return sharing == Sharing::Tensor || sharing == Sharing::Cluster; }
  static std::optional<ActivationForm> parse(llvm::StringRef text) {
    if (text == "bf16")
      return ActivationForm{16, Sharing::None};
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
