//===- TokenModel.cpp - Decoders, run on token numbers ----------------------------------------------------------------------===//
#include "quanta/Support/TokenModel.h"
#include "quanta/Support/Error.h"
#include <numeric>

using namespace llvm;

namespace quanta {

static Error modelError(const CompiledModel &model, const Twine &why) {
  return userError("model '" + model.getName() + "': " + why);
}

Expected<TokenModel> TokenModel::get(CompiledModel &model) {
  TokenModel result(model);
  for (const Port &port : model.getInputs()) {
    if (port.name == "attention_mask" || port.name == "position_ids")
      continue;
    if (port.name != "input_ids" && model.getInputs().size() != 1)
      return modelError(model, "input '" + port.name + "' is none that is known of a decoder (input_ids, attention_mask, "
                                                       "position_ids); compile a model with past keys and values with "
                                                       "--recipe kv, or use one without");
    result.ids = &port;
  }
  if (!result.ids || result.ids->shape.size() != 2)
    return modelError(model, "has no input of token numbers, [batch, tokens]");
  for (const Port &port : model.getOutputs())
    if (port.shape.size() == 3 && (!result.logits || port.name == "logits"))
      result.logits = &port;
  if (!result.logits)
    return modelError(model, "has no output of 3 dimensions that could be logits");
  return result;
}

Expected<Array> TokenModel::run(const Array &tokens, int64_t past, double *seconds) {
  int64_t batch = tokens.getShape()[0], count = tokens.getShape()[1];
  ArrayMap feed = {{ids->name, tokens}};
  for (const Port &port : model->getInputs()) {
    if (&port == ids)
      continue;
    bool isMask = port.name == "attention_mask";
    int64_t length = isMask ? past + count : count;
    std::vector<int64_t> values(static_cast<size_t>(batch * length), 1);
    if (!isMask)
      for (int64_t row = 0; row < batch; ++row)
        std::iota(values.begin() + row * count, values.begin() + (row + 1) * count, past);
    feed[port.name] = Array::copyOf<int64_t>(DType::I64, {batch, length}, values);
  }
  Expected<ArrayMap> outputs = model->run(feed, seconds);
  if (!outputs)
    return outputs.takeError();
  const Array &array = outputs->at(logits->name);
  if (array.getRank() != 3 || array.getShape()[0] != batch || array.getShape()[1] != count || array.getShape()[2] == 0)
    return modelError(*model, "output '" + logits->name + "' is " + array.describe() + " for " + Twine(batch) + " x " +
                                  Twine(count) + " tokens");
  Expected<Array> floats = array.convertTo(DType::F32);
  if (!floats)
    return modelError(*model, "output '" + logits->name + "' cannot be logits: " + toString(floats.takeError()));
  return floats;
}

} // namespace quanta
