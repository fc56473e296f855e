//===- Generate.h - Greedy decoding ----------------------------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_TOOLS_GENERATE_H
#define QUANTA_TOOLS_GENERATE_H

#include "quanta/Support/CompiledModel.h"

namespace quanta {

struct Generation {
  int64_t promptTokens = 0;
  std::vector<int64_t> tokens; ///< generated
  double promptSeconds = 0;    ///< the run on the prompt, which gives the first token
  double stepSeconds = 0;      ///< all other runs
  /// Tokens a second after the first one; 0 if there is none.
  double getSpeed() const { return tokens.size() > 1 && stepSeconds > 0 ? static_cast<double>(tokens.size() - 1) / stepSeconds : 0; }
};

/// The prompt in a file: an .npy of token numbers, [tokens] or [1, tokens], or an .npz with `input_ids`, `prompt` or one array.
llvm::Expected<Array> readPrompt(llvm::StringRef path);

/// Continues the prompt by the token of the largest logit (the first of equal ones), `count` times. The model must keep its
/// keys and values.
llvm::Expected<Generation> generate(CompiledModel &model, const Array &prompt, int64_t count);

} // namespace quanta

#endif // QUANTA_TOOLS_GENERATE_H
