//===- TokenModel.h - Decoders, run on token numbers ----------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_SUPPORT_TOKENMODEL_H
#define QUANTA_SUPPORT_TOKENMODEL_H

#include "quanta/Support/CompiledModel.h"

namespace quanta {

/// A model that takes token numbers and gives logits, by the names that exporters use: the input `input_ids` (or the only
/// one), and if they are there `attention_mask`, which is all ones, and `position_ids`, which count from 0.
class TokenModel {
public:
  /// An error if `model` has other inputs, or no output of three dimensions.
  static llvm::Expected<TokenModel> get(CompiledModel &model);

  CompiledModel &getModel() const { return *model; }
  const Port &getIds() const { return *ids; }
  /// [batch, tokens, vocabulary]; the last size is -1 if the model does not say it.
  const Port &getLogits() const { return *logits; }
  /// If it keeps keys and values between runs.
  bool hasCache() const { return model->getCacheCapacity() > 0; }

  /// f32 logits of the tokens `ids` [batch, tokens] behind `past` others that the model has seen since its last reset.
  /// `seconds` as in CompiledModel::run.
  llvm::Expected<Array> run(const Array &ids, int64_t past, double *seconds = nullptr);

private:
  explicit TokenModel(CompiledModel &model) : model(&model) {}

  CompiledModel *model;
  const Port *ids = nullptr, *logits = nullptr;
};

} // namespace quanta

#endif // QUANTA_SUPPORT_TOKENMODEL_H
