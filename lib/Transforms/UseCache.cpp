//===- UseCache.cpp - Past keys and values become state of the model ----------------------------------------------------===//
//
// A cache graph takes past keys and values, appends the new ones with a concatenation, attends to the result and returns it.
// The caller hands the same arrays back, a position longer each time. Here they become caches of fixed capacity.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#include "quanta/Transforms/Passes.h"
#include "mlir/Dialect/ControlFlow/IR/ControlFlowOps.h"
#include "mlir/Dialect/Tensor/IR/Tensor.h"
#include "mlir/IR/ImplicitLocOpBuilder.h"
#include "llvm/ADT/BitVector.h"
#include "llvm/Support/MathExtras.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_USECACHE
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;

namespace {
/// Dimensions of keys and values.
constexpr unsigned kBatch = 0, kPositions = 2;

/// An input of past positions, and what it is concatenated to.
struct Pair {
  BlockArgument past;
  tensor::ConcatOp concat;
  unsigned result; ///< of the function
  StringRef name;  ///< of the input
};

struct UseCache : public mlir::quanta::impl::UseCacheBase<UseCache> {
  using UseCacheBase::UseCacheBase;

  void runOnOperation() override {
    auto main = getOperation().lookupSymbol<func::FuncOp>("main");
    if (!main || !main.getBody().hasOneBlock())
      return fail(getOperation(), "expected @main of one block");
    if (capacity < 1 || capacity > kMaxCapacity || batch < 1 || batch > kMaxCapacity)
      return fail(main, "expected a capacity and a batch from 1 to " + Twine(kMaxCapacity));
    if (getOperation()->hasAttr("quanta.cache_capacity"))
      return fail(getOperation(), "the model has a key/value cache already");
    SmallVector<Pair> pairs;
    for (BlockArgument argument : main.getArguments())
      if (FailureOr<std::optional<Pair>> pair = match(main, argument); failed(pair))
        return signalPassFailure();
      else if (*pair)
        pairs.push_back(**pair);
    if (pairs.empty())
      return fail(main, "no key/value cache was found: a past is an input [batch, heads, positions, channels] that is only "
                        "concatenated with new positions, for attention and an output; export the model with its cache");
    for (Pair pair : pairs)
      if (failed(check(pair)))
        return signalPassFailure();
    DenseSet<Attribute> batchSymbols = getBatchSymbols(main, pairs);
    rewrite(main, pairs);
    dropPorts(main, pairs);
    fixBatch(main, batchSymbols);
    getOperation()->setAttr("quanta.cache_capacity", OpBuilder(main).getI64IntegerAttr(capacity));
  }

private:
  static constexpr int64_t kMaxCapacity = int64_t(1) << 30, kMaxBytes = int64_t(1) << 40;

  void fail(Operation *op, const Twine &message) {
    op->emitError(message);
    signalPassFailure();
  }

  static StringRef nameOf(func::FuncOp main, StringRef kind, unsigned index) {
    auto names = main->getAttrOfType<ArrayAttr>(kind);
    auto name = names && index < names.size() ? dyn_cast<StringAttr>(names[index]) : StringAttr();
    return name ? name.getValue() : "";
  }

  static bool isSize(Operation *op) {
    auto dim = dyn_cast<tensor::DimOp>(op);
    return dim && dim.getConstantIndex();
  }

  /// None for an input that is no past; a failure for a past that is used in a way that a cache cannot serve.
  static FailureOr<std::optional<Pair>> match(func::FuncOp main, BlockArgument argument) {
    tensor::ConcatOp concat;
    for (Operation *user : argument.getUsers()) {
      if (isSize(user))
        continue;
      auto found = dyn_cast<tensor::ConcatOp>(user);
      auto type = dyn_cast<RankedTensorType>(argument.getType());
      bool appends = found && !concat && type && type.getRank() == 4 && found.getDim() == kPositions &&
                     found.getNumOperands() == 2 && found.getInputs()[0] == argument;
      if (!appends)
        return std::optional<Pair>();
      concat = found;
    }
    if (!concat)
      return std::optional<Pair>();
    std::optional<Pair> pair;
    for (OpOperand &use : concat.getResult().getUses())
      if (isa<func::ReturnOp>(use.getOwner()) && !pair)
        pair = Pair{argument, concat, use.getOperandNumber(), nameOf(main, "quanta.inputs", argument.getArgNumber())};
    if (!pair)
      return pair;
    for (OpOperand &use : concat.getResult().getUses()) {
      auto attention = dyn_cast<AttentionOp>(use.getOwner());
      bool isKeyOrValue = attention && use.get() != attention.getQuery() && use.get() != attention.getMask();
      bool isResult = isa<func::ReturnOp>(use.getOwner()) && use.getOperandNumber() == pair->result;
      if (!isKeyOrValue && !isResult && !isSize(use.getOwner()))
        return use.getOwner()->emitError() << "reads the keys or values of '" << pair->name
                                           << "', which only attention can do once they are a cache";
    }
    return pair;
  }

  LogicalResult check(Pair pair) {
    auto type = cast<RankedTensorType>(pair.past.getType());
    auto fresh = cast<RankedTensorType>(pair.concat.getInputs()[1].getType());
    if (!type.getElementType().isF32() || type.isDynamicDim(1) || type.isDynamicDim(3) || fresh.isDynamicDim(1) ||
        fresh.isDynamicDim(3))
      return pair.concat.emitError() << "expected the past '" << pair.name
                                     << "' to be f32 with fixed heads and channels but got " << type
                                     << "; fix named dimensions with --dim NAME=VALUE";
    if (!type.isDynamicDim(kPositions))
      return pair.concat.emitError() << "expected the past '" << pair.name << "' to have any number of positions but got "
                                     << type;
    int64_t bytes = type.getDimSize(1) * type.getDimSize(3) * 4;
    if (llvm::MulOverflow(bytes, capacity.getValue(), bytes) || llvm::MulOverflow(bytes, batch.getValue(), bytes) || bytes > kMaxBytes)
      return pair.concat.emitError() << "a cache of " << capacity.getValue() << " positions for '" << pair.name
                                     << "' would take more than 1 TiB; choose a smaller capacity or batch";
    return success();
  }

  void rewrite(func::FuncOp main, ArrayRef<Pair> pairs) {
    Block &block = main.getBody().front();
    ImplicitLocOpBuilder b(main.getLoc(), &block, block.begin());
    Value past = CacheLengthOp::create(b, b.getIndexType()), rows = arith::ConstantIndexOp::create(b, batch);
    // The first append checks for all, before anything is written.
    tensor::ConcatOp first = pairs.front().concat;
    for (Pair pair : pairs)
      if (pair.concat->isBeforeInBlock(first))
        first = pair.concat;
    b.setInsertionPoint(first);
    b.setLoc(first.getLoc());
    Value positions = b.createOrFold<tensor::DimOp>(first.getInputs()[1], kPositions);
    Value length = arith::AddIOp::create(b, past, positions);
    Value fits = arith::CmpIOp::create(b, arith::CmpIPredicate::sle, length, arith::ConstantIndexOp::create(b, capacity));
    cf::AssertOp::create(b, fits, "the key/value cache has room for " + std::to_string(capacity) +
                                      " positions, and those of this run do not fit behind those before; reset the model, "
                                      "or compile it with a larger capacity");
    for (Pair pair : pairs) {
      b.setLoc(pair.concat.getLoc());
      // Sizes are known where the shapes of the graph are; these checks mostly fold.
      if (pair.concat != first)
        b.setInsertionPoint(pair.concat);
      else
        assertSize(b, pair.concat.getInputs()[1], kPositions, positions, pair.name, "positions");
      assertSize(b, pair.concat.getInputs()[1], kBatch, rows, pair.name, "rows");
      if (pair.concat == first)
        CacheAdvanceOp::create(b, positions);
    }
    SymbolTable symbols(getOperation());
    for (Pair pair : pairs) {
      b.setInsertionPoint(pair.concat);
      b.setLoc(pair.concat.getLoc());
      auto type = cast<RankedTensorType>(pair.concat.getType());
      auto whole = RankedTensorType::get({batch, type.getDimSize(1), capacity, type.getDimSize(3)}, type.getElementType());
      OpBuilder atEnd = OpBuilder::atBlockEnd(getOperation().getBody());
      auto cache = CacheOp::create(atEnd, pair.past.getLoc(), pair.name.empty() ? "cache" : pair.name, whole);
      symbols.insert(cache);
      auto symbol = FlatSymbolRefAttr::get(cache.getSymNameAttr());
      CacheAppendOp::create(b, symbol, pair.concat.getInputs()[1]);
      Value read = CacheReadOp::create(b, type, symbol, length);
      replaceSizes(pair.past, past, rows);
      replaceSizes(pair.concat, length, rows);
      pair.concat.getResult().replaceAllUsesWith(read);
      pair.concat.erase();
    }
  }

  static void assertSize(ImplicitLocOpBuilder &b, Value tensor, unsigned d, Value expected, StringRef cache, StringRef what) {
    Value size = b.createOrFold<tensor::DimOp>(tensor, d);
    Value equal = arith::CmpIOp::create(b, arith::CmpIPredicate::eq, size, expected);
    cf::AssertOp::create(b, equal, ("the new " + what + " of '" + cache + "' are not as many as its cache expects").str());
  }

  /// Sizes that are asked of a past, with or without the new positions. Heads and channels are in its type.
  static void replaceSizes(Value tensor, Value positions, Value rows) {
    for (Operation *user : llvm::make_early_inc_range(tensor.getUsers())) {
      auto dim = dyn_cast<tensor::DimOp>(user);
      if (!dim)
        continue;
      OpBuilder b(dim);
      std::optional<int64_t> d = dim.getConstantIndex();
      Value size = d == kPositions ? positions
                   : d == kBatch   ? rows
                                   : Value(arith::ConstantIndexOp::create(b, dim.getLoc(), cast<RankedTensorType>(tensor.getType()).getDimSize(*d)));
      dim.replaceAllUsesWith(size);
      dim.erase();
    }
  }

  /// The names of the batch dimensions of all pasts.
  static DenseSet<Attribute> getBatchSymbols(func::FuncOp main, ArrayRef<Pair> pairs) {
    DenseSet<Attribute> symbols;
    auto dims = main->getAttrOfType<ArrayAttr>("quanta.dims");
    for (Pair pair : pairs)
      if (unsigned i = pair.past.getArgNumber(); dims && i < dims.size())
        if (auto sizes = dyn_cast<ArrayAttr>(dims[i]); sizes && sizes.size() == 4 && isa<StringAttr>(sizes[kBatch]))
          symbols.insert(sizes[kBatch]);
    return symbols;
  }

  /// Gives every input with such a dimension the caches' batch size. Casts leave the types inside as they are.
  void fixBatch(func::FuncOp main, const DenseSet<Attribute> &symbols) {
    auto dims = main->getAttrOfType<ArrayAttr>("quanta.dims");
    if (!dims || symbols.empty())
      return;
    Block &block = main.getBody().front();
    OpBuilder b = OpBuilder::atBlockBegin(&block);
    SmallVector<Attribute> newDims(dims.getValue());
    for (auto [argument, sizes] : llvm::zip(block.getArguments(), newDims)) {
      auto type = dyn_cast<RankedTensorType>(argument.getType());
      auto names = dyn_cast<ArrayAttr>(sizes);
      if (!type || !names || static_cast<int64_t>(names.size()) != type.getRank())
        continue;
      SmallVector<int64_t> shape(type.getShape());
      SmallVector<Attribute> fixed(names.getValue());
      for (auto [size, name] : llvm::zip(shape, fixed))
        if (ShapedType::isDynamic(size) && symbols.contains(name)) {
          size = batch;
          name = b.getI64IntegerAttr(batch);
        }
      if (type.getShape() == ArrayRef<int64_t>(shape))
        continue;
      sizes = b.getArrayAttr(fixed);
      argument.setType(RankedTensorType::get(shape, type.getElementType()));
      auto cast = tensor::CastOp::create(b, argument.getLoc(), type, argument);
      argument.replaceAllUsesExcept(cast, cast);
    }
    main->setAttr("quanta.dims", b.getArrayAttr(newDims));
    main.setType(FunctionType::get(main.getContext(), block.getArgumentTypes(), block.getTerminator()->getOperandTypes()));
  }

  static void dropPorts(func::FuncOp main, ArrayRef<Pair> pairs) {
    Block &block = main.getBody().front();
    auto ret = cast<func::ReturnOp>(block.getTerminator());
    llvm::BitVector inputs(block.getNumArguments()), results(ret.getNumOperands());
    for (Pair pair : pairs) {
      inputs.set(pair.past.getArgNumber());
      results.set(pair.result);
    }
    ret->eraseOperands(results);
    block.eraseArguments(inputs);
    for (auto [name, erased] : {std::pair("quanta.inputs", &inputs), std::pair("quanta.dims", &inputs),
                                std::pair("quanta.input_types", &inputs), std::pair("quanta.outputs", &results),
                                std::pair("quanta.output_dims", &results), std::pair("quanta.output_types", &results)})
      if (auto array = main->getAttrOfType<ArrayAttr>(name)) {
        SmallVector<Attribute> kept;
        for (auto [i, value] : llvm::enumerate(array))
          if (i >= erased->size() || !erased->test(i))
            kept.push_back(value);
        main->setAttr(name, ArrayAttr::get(main.getContext(), kept));
      }
    main.setType(FunctionType::get(main.getContext(), block.getArgumentTypes(), ret->getOperandTypes()));
  }
};
} // namespace
