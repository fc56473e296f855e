//===- Reorder.cpp - Channels of similar ranges side by side --------------------------------------------------------------===//
//
// Z. Yuan et al., RPTQ: Reorder-based Post-training Quantization for Large Language Models, 2023.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#include "VerifiedEdits.h"
#include "quanta/Solver/Cluster.h"
#include "quanta/Transforms/Passes.h"
#include "llvm/ADT/TypeSwitch.h"

namespace mlir::quanta {
#define GEN_PASS_DEF_REORDER
#include "quanta/Transforms/Passes.h.inc"
} // namespace mlir::quanta

using namespace mlir;
using namespace mlir::quanta;

namespace {
/// What a later quantizer reads: inputs of linear layers and convolutions, queries and keys.
struct ReadValue {
  Value value;
  SmallVector<int64_t> axes;
};
SmallVector<ReadValue> getReadValues(Operation *op) {
  return llvm::TypeSwitch<Operation *, SmallVector<ReadValue>>(op)
      .Case<LinearOp>([](LinearOp linear) -> SmallVector<ReadValue> {
        return {{linear.getInput(), {cast<RankedTensorType>(linear.getInput().getType()).getRank() - 1}}};
      })
      .Case<Conv2DOp>([](Conv2DOp conv) -> SmallVector<ReadValue> {
        return {{conv.getInput(), {1}}};
      })
      .Case<AttentionOp>([](AttentionOp attention) -> SmallVector<ReadValue> {
        return {{attention.getQuery(), {1, 3}}, {attention.getKey(), {1, 3}}};
      })
      .Default([](Operation *) { return SmallVector<ReadValue>(); });
}

/// Channels that get one order: the values that are read among those that change with it.
struct OrderClass {
  Operation *op;
  ReadValue seed;
  std::vector<std::pair<Value, ChannelRange>> reads;
};

struct ChannelOrder {
  std::vector<int32_t> order;    ///< as ChannelEdits::permute
  std::vector<int32_t> clusters; ///< of the channel at each place; numbered through all groups
};

struct Reorder : public mlir::quanta::impl::ReorderBase<Reorder> {
  using ReorderBase::ReorderBase;

  void runOnOperation() override {
    if (clusters < 1 || headClusters < 1 || align < 1 || data.empty()) {
      getOperation().emitError() << (data.empty() ? "quanta-reorder looks at activations: give it data=FILE"
                                                  : "expected clusters, head-clusters and align of at least 1");
      return signalPassFailure();
    }
    std::vector<OrderClass> classes = findClasses();
    std::vector<std::pair<Value, ChannelRange>> ranges;
    for (OrderClass &one : classes)
      llvm::append_range(ranges, one.reads);
    ModelCheck check(getOperation(), {data, samples, window, seed, threads});
    if (llvm::Error error = check.observe(ranges))
      return fail(std::move(error));
    auto next = ranges.begin();
    for (OrderClass &one : classes)
      for (auto &read : one.reads)
        read = std::move(*next++);
    SmallVector<EditSite> sites;
    for (OrderClass &one : classes)
      sites.push_back({one.op, isa<AttentionOp>(one.op) ? "query" : "input",
                       [&](ChannelEdits &edits) { return reorder(one, edits); }});
    if (llvm::Error error = applyVerified(getOperation(), sites, check))
      return fail(std::move(error));
  }

  void fail(llvm::Error error) {
    getOperation().emitError() << llvm::toString(std::move(error));
    signalPassFailure();
  }

  std::vector<OrderClass> findClasses() {
    std::vector<OrderClass> classes;
    DenseSet<Value> done;
    SmallVector<Operation *> readers;
    getOperation().walk([&](Operation *op) {
      if (!getReadValues(op).empty())
        readers.push_back(op);
    });
    for (Operation *op : readers) {
      ReadValue read = getReadValues(op).front();
      if (done.contains(read.value))
        continue;
      ChannelPlan plan = planTransform(read.value, read.axes, {});
      if (!plan.isLegal()) {
        op->emitRemark() << (isa<AttentionOp>(op) ? "query" : "input") << " is not reordered: " << plan.refusal;
        continue;
      }
      OrderClass found{op, read, {}};
      for (Operation *reader : readers)
        for (const ReadValue &value : getReadValues(reader))
          if (const ChannelMap *map = plan.find(value.value); map && done.insert(value.value).second)
            found.reads.push_back({value.value, ChannelRange{*map, {}, {}}});
      classes.push_back(std::move(found));
    }
    return classes;
  }

  /// A point for each channel: the (max, min) of each value that is read. Several layers' inputs are brought to one
  /// range first, so that each has its say; a query and its key are not, as published.
  std::vector<double> findFeatures(const OrderClass &one, int64_t channels) {
    size_t dimensions = 2 * one.reads.size();
    std::vector<double> features(channels * dimensions);
    bool normalize = one.reads.size() > 1 && !isa<AttentionOp>(one.op);
    for (auto [r, read] : llvm::enumerate(one.reads)) {
      const ChannelRange &range = read.second;
      double largest = 0;
      for (size_t e = 0; e < range.min.size(); ++e)
        largest = std::max(largest, double(range.absMax(e)));
      double unit = normalize && largest > 0 ? 1 / largest : 1;
      std::vector<double> max(channels, -INFINITY), min(channels, INFINITY);
      for (auto [e, channel] : llvm::enumerate(range.map.channels))
        if (channel >= 0) {
          max[channel] = std::max(max[channel], double(range.max[e]));
          min[channel] = std::min(min[channel], double(range.min[e]));
        }
      for (int64_t c = 0; c < channels; ++c) {
        // A value may carry a part of the channels only.
        features[c * dimensions + 2 * r] = max[c] >= min[c] ? max[c] * unit : 0;
        features[c * dimensions + 2 * r + 1] = max[c] >= min[c] ? min[c] * unit : 0;
      }
    }
    return features;
  }

  ChannelOrder findOrder(const OrderClass &one, const ChannelPlan &plan) {
    size_t dimensions = 2 * one.reads.size();
    std::vector<double> features = findFeatures(one, plan.channels);
    ChannelOrder result{std::vector<int32_t>(plan.channels), std::vector<int32_t>(plan.channels)};
    int32_t firstCluster = 0;
    bool inHeads = plan.groups.size() > 1 || isa<AttentionOp>(one.op);
    for (const std::vector<int32_t> &group : plan.groups) {
      std::vector<double> points, widths;
      for (int32_t channel : group) {
        auto begin = features.begin() + channel * dimensions;
        points.insert(points.end(), begin, begin + dimensions);
        double width = 0;
        for (size_t d = 0; d < dimensions; d += 2)
          width = std::max(width, begin[d] - begin[d + 1]);
        widths.push_back(width);
      }
      auto labels =
          ::quanta::findClusters(points, dimensions, inHeads ? headClusters : clusters, seed).labels;
      ::quanta::sortClusters(labels, widths);
      std::vector<int32_t> order = ::quanta::orderByLabel(labels);
      std::vector<double> clusterWidths;
      for (int32_t place : order) {
        clusterWidths.resize(labels[place] + 1);
        clusterWidths[labels[place]] = std::max(clusterWidths[labels[place]], widths[place]);
      }
      int64_t tile = group.size() % align == 0 && int64_t(group.size()) > align ? align : 1;
      std::vector<int64_t> counts = ::quanta::alignClusters(::quanta::countLabels(labels), clusterWidths, tile);
      size_t place = 0;
      for (int64_t count : counts) {
        for (int64_t i = 0; i < count; ++i, ++place) {
          result.order[group[place]] = group[order[place]];
          result.clusters[group[place]] = firstCluster;
        }
        ++firstCluster;
      }
    }
    return result;
  }

  std::optional<std::string> reorder(const OrderClass &one, ChannelEdits &edits) {
    ChannelPlan plan = planTransform(one.seed.value, one.seed.axes, {});
    if (!plan.isLegal()) {
      one.op->emitRemark() << "is not reordered: " << plan.refusal;
      return std::nullopt;
    }
    ChannelOrder order = findOrder(one, plan);
    edits.permute(plan, order.order);
    // Layers whose input's elements are these channels know where its clusters end.
    for (const ChannelPlan::Carrier &carrier : plan.carriers)
      for (Operation *user : carrier.value.getUsers())
        if (auto linear = dyn_cast<LinearOp>(user); linear && linear.getInput() == carrier.value)
          setClusters(linear, carrier.map, order.clusters, edits);
    int64_t count = order.clusters.empty() ? 0 : *llvm::max_element(order.clusters) + 1;
    return ("is reordered: " + Twine(plan.channels) + " channels in " + Twine(count) + " clusters, absorbed by " +
            Twine(plan.absorbers.size()) + " constants, for " + Twine(one.reads.size()) + " values")
        .str();
  }

  static void setClusters(LinearOp linear, const ChannelMap &map, ArrayRef<int32_t> clusters, ChannelEdits &edits) {
    SmallVector<int64_t> counts;
    int32_t last = -1;
    for (int32_t channel : map.channels) {
      if (channel < 0)
        return;
      if (counts.empty() || clusters[channel] != last)
        counts.push_back(0);
      ++counts.back();
      last = clusters[channel];
    }
    Attribute old = linear->getAttr("quanta.input_clusters");
    linear->setAttr("quanta.input_clusters", DenseI64ArrayAttr::get(linear.getContext(), counts));
    edits.onUndo([linear, old]() mutable {
      if (old)
        linear->setAttr("quanta.input_clusters", old);
      else
        linear->removeAttr("quanta.input_clusters");
    });
  }
};
} // namespace
