//===- Generate.cpp - Greedy decoding ---------------------------------------------------------------------------------------===//
#include "Generate.h"
#include "quanta/Support/Error.h"
#include "quanta/Support/TokenModel.h"
#include "llvm/ADT/STLExtras.h"
#include <algorithm>

using namespace llvm;

namespace quanta {

static Expected<Array> findPrompt(StringRef path) {
  if (!path.ends_with(".npz"))
    return readNpy(path);
  Expected<NpzEntries> entries = readNpz(path);
  if (!entries)
    return entries.takeError();
  for (StringRef name : {"input_ids", "prompt"})
    for (const auto &[key, array] : *entries)
      if (key == name)
        return array;
  if (entries->size() != 1)
    return userError("'" + path + "' has neither 'input_ids' nor 'prompt'");
  return entries->front().second;
}

Expected<Array> readPrompt(StringRef path) {
  Expected<Array> prompt = findPrompt(path);
  if (!prompt)
    return prompt;
  bool isRow = prompt->getRank() == 1 || (prompt->getRank() == 2 && prompt->getShape()[0] == 1);
  if (!isRow || isFloat(prompt->getType()) || prompt->getElementCount() == 0)
    return userError("'" + path + "': the prompt is " + prompt->describe() + ", but must be one row of token numbers");
  Expected<Array> tokens = prompt->convertTo(DType::I64);
  return tokens ? tokens->reshaped({1, tokens->getElementCount()}) : std::move(tokens);
}

Expected<Generation> generate(CompiledModel &model, const Array &prompt, int64_t count) {
  Expected<TokenModel> decoder = TokenModel::get(model);
  if (!decoder)
    return decoder.takeError();
  if (!decoder->hasCache())
    return userError("model '" + model.getName() + "' keeps no keys and values between runs; compile it with --recipe kv");
  if (Error error = model.reset())
    return std::move(error);
  Generation result;
  result.promptTokens = prompt.getShape()[1];
  Array next = prompt;
  for (int64_t past = 0; static_cast<int64_t>(result.tokens.size()) < count;) {
    double seconds = 0;
    Expected<Array> logits = decoder->run(next, past, &seconds);
    if (!logits)
      return logits.takeError();
    past += next.getShape()[1];
    (result.tokens.empty() ? result.promptSeconds : result.stepSeconds) += seconds;
    ArrayRef<float> last = logits->as<float>().take_back(static_cast<size_t>(logits->getShape()[2]));
    result.tokens.push_back(std::max_element(last.begin(), last.end()) - last.begin());
    next = Array::copyOf<int64_t>(DType::I64, {1, 1}, ArrayRef<int64_t>(result.tokens.back()));
  }
  return result;
}

} // namespace quanta
