//===- Rotate.cpp - Activations in a basis without outliers ---------------------------------------------------------------===//
//
// S. Ashkboos et al., QuaRot: Outlier-Free 4-Bit Inference in Rotated LLMs, 2024: the rotations that constants absorb.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#include "VerifiedEdits.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Linalg/IR/Linalg.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "quanta/Solver/Hadamard.h"
#include "quanta/Transforms/Passes.h"
#include <cmath>

namespace mlir::quanta {
#define GEN_PASS_DEF_ROTATE
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::Hadamard;

namespace {
ChannelPlan plan(Value value, ArrayRef<int64_t> axes, ChannelTransform kind) {
  PlanOptions options;
  options.kind = kind;
  return planTransform(value, axes, options);
}
ChannelPlan planLast(Value value, ChannelTransform kind) {
  return plan(value, {cast<RankedTensorType>(value.getType()).getRank() - 1}, kind);
}

struct Rotate : public mlir::quanta::impl::RotateBase<Rotate> {
  using RotateBase::RotateBase;

  void runOnOperation() override {
    SmallVector<EditSite> sites;
    DenseSet<Operation *> done;
    getOperation().walk([&](Operation *op) {
      if (isa<LayerNormOp, RMSNormOp>(op) && !done.contains(op)) {
        SmallVector<Operation *> norms = findStream(op);
        if (norms.empty())
          return;
        done.insert(norms.begin(), norms.end());
        sites.push_back({op, "stream", [this, norms](ChannelEdits &edits) { return rotateStream(norms, edits); }});
      } else if (auto attention = dyn_cast<AttentionOp>(op)) {
        sites.push_back(
            {op, "value", [this, attention](ChannelEdits &edits) { return rotateValue(attention, edits); }});
      }
    });
    if (online)
      getOperation().walk([&](LinearOp linear) {
        Value input = linear.getInput();
        // Once for all layers that read it.
        if (isa_and_nonnull<ActivationOp, linalg::GenericOp>(input.getDefiningOp()) &&
            done.insert(input.getDefiningOp()).second)
          sites.push_back(
              {linear, "input", [this, linear](ChannelEdits &edits) { return rotateOnline(linear, edits); }});
      });
    ModelCheck check(getOperation(), {data, samples, window, dataSeed, threads});
    llvm::Error error = llvm::Error::success();
    if (check.canRun())
      error = check.observe({});
    if (!error)
      error = applyVerified(getOperation(), sites, check);
    if (error) {
      getOperation().emitError() << llvm::toString(std::move(error));
      signalPassFailure();
    }
  }

  /// All norms that read the values which change together with this one's input.
  SmallVector<Operation *> findStream(Operation *norm) {
    ChannelPlan all = planLast(norm->getOperand(0), ChannelTransform::Permute);
    if (!all.isLegal()) {
      norm->emitRemark() << "stream is not rotated: " << all.refusal;
      return {};
    }
    SmallVector<Operation *> norms;
    getOperation().walk([&](Operation *other) {
      if (isa<LayerNormOp, RMSNormOp>(other) && all.find(other->getOperand(0)))
        norms.push_back(other);
    });
    return norms;
  }

  std::optional<std::string> refuse(Operation *op, StringRef what, const Twine &why, ChannelEdits &edits, size_t mark) {
    edits.undo(mark);
    op->emitRemark() << what << " is not rotated: " << why.str();
    return std::nullopt;
  }

  /// Random signs and a Hadamard matrix for each group; they may differ between groups.
  std::optional<std::string> apply(Operation *op, StringRef what, const ChannelPlan &plan, ChannelEdits &edits,
                                   size_t mark) {
    if (!plan.isLegal())
      return refuse(op, what, plan.refusal, edits, mark);
    std::vector<Hadamard> matrices;
    std::vector<std::vector<int8_t>> signs;
    for (const auto &group : plan.groups) {
      std::optional<Hadamard> matrix = Hadamard::create(group.size());
      if (!matrix)
        return refuse(op, what, "no Hadamard matrix of order " + Twine(group.size()) + " is known", edits, mark);
      matrices.push_back(std::move(*matrix));
      signs.push_back(::quanta::randomSigns(group.size(), seed + sites++));
    }
    edits.transform(plan, [&](size_t group, MutableArrayRef<double> x) {
      for (auto [value, sign] : llvm::zip_equal(x, signs[group]))
        value *= sign;
      matrices[group].apply(x.data());
    });
    return ("is rotated: " + Twine(plan.groups.size()) + (plan.groups.size() == 1 ? " group of " : " groups of ") +
            Twine(plan.groups.front().size()) + " channels, absorbed by " + Twine(plan.absorbers.size()) + " constants")
        .str();
  }

  /// Moves the norms' own parameters into their readers, makes layer norms RMS norms of centered values, and rotates.
  std::optional<std::string> rotateStream(ArrayRef<Operation *> norms, ChannelEdits &edits) {
    size_t mark = edits.mark();
    Operation *op = norms.front();
    for (Operation *norm : norms)
      if (std::string why = foldParameters(norm, edits); !why.empty())
        return refuse(op, "stream", "a norm's parameters do not move into its readers: " + why, edits, mark);
    if (llvm::any_of(norms, [](Operation *norm) { return isa<LayerNormOp>(norm); })) {
      ChannelPlan center = planLast(op->getOperand(0), ChannelTransform::Center);
      if (!center.isLegal())
        return refuse(op, "stream", center.refusal, edits, mark);
      if (center.groups.size() != 1)
        return refuse(op, "stream", "it is not centered as a whole", edits, mark);
      edits.transform(center, [](size_t, MutableArrayRef<double> x) {
        double mean = 0;
        for (double value : x)
          mean += value / x.size();
        for (double &value : x)
          value -= mean;
      });
    }
    SmallVector<Operation *> rms;
    for (Operation *norm : norms)
      rms.push_back(makeRMS(norm, edits));
    return apply(op, "stream", planLast(rms.front()->getOperand(0), ChannelTransform::Rotate), edits, mark);
  }

  /// y = n·γ + β into the readers of y; empty, or why not.
  std::string foldParameters(Operation *norm, ChannelEdits &edits) {
    OpOperand &scale = norm->getOpOperand(1);
    std::vector<float> gamma = readFloats(scale.get());
    if (gamma.empty())
      return "its scale is not constant";
    if (norm->getNumOperands() > 2) {
      std::vector<float> beta = readFloats(norm->getOperand(2));
      ChannelPlan shift = planLast(norm->getResult(0), ChannelTransform::Shift);
      if (!shift.isLegal())
        return shift.refusal;
      if (shift.channels != static_cast<int64_t>(beta.size()))
        return "its channels are tied to each other";
      std::vector<double> offsets;
      for (float b : beta)
        offsets.push_back(-double(b));
      edits.shift(shift, offsets);
    }
    ChannelPlan plan = planLast(norm->getResult(0), ChannelTransform::Scale);
    if (!plan.isLegal())
      return plan.refusal;
    if (plan.channels != static_cast<int64_t>(gamma.size()))
      return "its channels are tied to each other";
    std::vector<double> factors, inverses;
    for (float g : gamma) {
      factors.push_back(g == 0 ? 1 : 1 / double(g));
      inverses.push_back(g);
    }
    edits.scale(plan, factors, inverses);
    // Exactly, also where the scale was zero.
    edits.setOperand(norm->getOpOperand(1), edits.makeConstant(scale.get(), std::vector<float>(gamma.size(), 1.0f)));
    return "";
  }

  Operation *makeRMS(Operation *norm, ChannelEdits &edits) {
    auto layerNorm = dyn_cast<LayerNormOp>(norm);
    if (!layerNorm)
      return norm;
    OpBuilder builder(norm);
    Operation *rms = RMSNormOp::create(builder, norm->getLoc(), norm->getResult(0).getType(), layerNorm.getInput(),
                                       layerNorm.getScale(), layerNorm.getEpsilonAttr());
    edits.replace(norm, rms);
    return rms;
  }

  std::optional<std::string> rotateValue(AttentionOp attention, ChannelEdits &edits) {
    return apply(attention, "value", plan(attention.getValue(), {1, 3}, ChannelTransform::Rotate), edits, edits.mark());
  }

  /// The factors a·b of n with known Hadamard matrices and the least sum, a ≤ b.
  static std::optional<std::pair<Hadamard, Hadamard>> findFactors(int64_t n) {
    for (int64_t a = static_cast<int64_t>(std::sqrt(static_cast<double>(n))); a > 1; --a)
      if (n % a == 0)
        if (auto left = Hadamard::create(a))
          if (auto right = Hadamard::create(n / a))
            return std::pair(std::move(*left), std::move(*right));
    return std::nullopt;
  }

  /// H/√n, or its transpose, as a constant that multiplies batches of matrices.
  static Value makeMatrix(OpBuilder &builder, Location loc, const Hadamard &matrix, bool transposed, int64_t rank) {
    int64_t n = matrix.size();
    std::vector<float> data;
    for (int64_t i = 0; i < n; ++i) {
      std::vector<double> row(n);
      row[i] = 1;
      transposed ? matrix.applyTransposed(row.data()) : matrix.apply(row.data());
      data.insert(data.end(), row.begin(), row.end());
    }
    SmallVector<int64_t> shape(rank - 2, 1);
    shape.append({n, n});
    auto type = RankedTensorType::get(shape, builder.getF32Type());
    return arith::ConstantOp::create(builder, loc, DenseElementsAttr::get(type, ArrayRef(data)));
  }

  /// x → Hₐᵀ·x·H_b in front of the layers, and each row of their weights alike.
  std::optional<std::string> rotateOnline(LinearOp linear, ChannelEdits &edits) {
    Value input = linear.getInput();
    auto type = cast<RankedTensorType>(input.getType());
    size_t mark = edits.mark();
    int64_t rank = type.getRank(), n = type.getDimSize(rank - 1);
    if (planLast(input, ChannelTransform::Rotate).isLegal())
      return std::nullopt; // nothing needs to be done at run time
    auto factors = ShapedType::isDynamic(n) ? std::nullopt : findFactors(n);
    if (!factors)
      return refuse(linear, "input", "no Hadamard matrices with " + Twine(n) + " channels together are known", edits,
                    mark);
    SmallVector<LinearOp> layers;
    for (Operation *user : input.getUsers())
      if (auto layer = dyn_cast<LinearOp>(user); layer && layer.getInput() == input)
        layers.push_back(layer);
    for (LinearOp layer : layers)
      if (readFloats(layer.getWeight()).empty() ||
          !cast<RankedTensorType>(layer.getWeight().getType()).getElementType().isF32())
        return refuse(linear, "input", "a weight that reads it is not a constant of f32", edits, mark);

    auto &[left, right] = *factors;
    Operation *producer = input.getDefiningOp();
    OpBuilder builder(producer->getContext());
    builder.setInsertionPointAfter(producer);
    Location loc = linear.getLoc();
    SmallVector<int64_t> shape(type.getShape().drop_back());
    shape.append({left.size(), right.size()});
    SmallVector<ReassociationIndices> groups;
    for (int64_t axis = 0; axis < rank - 1; ++axis)
      groups.push_back({axis});
    groups.push_back({rank - 1, rank});
    auto matrixType = RankedTensorType::get(shape, type.getElementType());
    SmallVector<Operation *> made;
    auto add = [&](Value value) {
      made.push_back(value.getDefiningOp());
      return value;
    };
    Value leftMatrix = add(makeMatrix(builder, loc, left, /*transposed=*/true, rank + 1));
    Value rightMatrix = add(makeMatrix(builder, loc, right, /*transposed=*/false, rank + 1));
    Value matrix = add(tensor::ExpandShapeOp::create(builder, loc, matrixType, input, groups));
    Value turned = add(MatmulOp::create(builder, loc, matrixType, matrix, rightMatrix, false));
    turned = add(MatmulOp::create(builder, loc, matrixType, leftMatrix, turned, false));
    Value result = add(tensor::CollapseShapeOp::create(builder, loc, type, turned, groups));
    edits.onUndo([made] {
      for (Operation *op : llvm::reverse(made))
        op->erase();
    });
    for (LinearOp layer : layers) {
      std::vector<float> weight = readFloats(layer.getWeight());
      std::vector<double> row(n), column(left.size());
      for (size_t start = 0; start < weight.size(); start += n) {
        std::copy_n(weight.begin() + start, n, row.begin());
        for (int64_t i = 0; i < left.size(); ++i)
          right.apply(&row[i * right.size()]);
        for (int64_t j = 0; j < right.size(); ++j) {
          for (int64_t i = 0; i < left.size(); ++i)
            column[i] = row[i * right.size() + j];
          left.apply(column.data()); // Hᵀ from the left is H from the right of the column as a row
          for (int64_t i = 0; i < left.size(); ++i)
            row[i * right.size() + j] = column[i];
        }
        std::copy(row.begin(), row.end(), weight.begin() + start);
      }
      edits.setOperand(layer.getWeightMutable(), edits.makeConstant(layer.getWeight(), weight));
      edits.setOperand(layer.getInputMutable(), result);
    }
    return ("is rotated at run time: " + Twine(left.size()) + " times " + Twine(right.size()) +
            " channels, absorbed by " + Twine(layers.size()) + " weights")
        .str();
  }

  uint64_t sites = 0;
};
} // namespace
