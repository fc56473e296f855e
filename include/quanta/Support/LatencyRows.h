//===- LatencyRows.h - What quant-bench has measured --------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_SUPPORT_LATENCYROWS_H
#define QUANTA_SUPPORT_LATENCYROWS_H

#include "llvm/Support/Error.h"
#include <array>
#include <string>
#include <vector>

namespace quanta {

/// A linear layer that quant-bench has measured.
struct LatencyRow {
  std::array<int64_t, 3> shape; ///< tokens, N, K
  std::string encoding;         ///< of the weights, as an attribute; empty: f32
  std::string activation;
  int64_t threads;
  double ns;
};

/// The rows of a JSON object of quant-bench, or of lines of them (its history). Errors: a file that cannot be read or is something else.
llvm::Expected<std::vector<LatencyRow>> readLatencyRows(llvm::StringRef path);

} // namespace quanta

#endif // QUANTA_SUPPORT_LATENCYROWS_H
