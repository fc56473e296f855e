//===- ChannelPlan.cpp - Walks from a value through all that must change with it ------------------------------------------===//
//
// Constraint propagation: an op is looked at again whenever the map of one of its operands or results grows; variables
// that an op ties together are merged (union-find). Where an op can obey in several ways (a product may be scaled
// through either factor), the first is tried and the state is kept to come back to. Elementary numbers: a channel is a
// union-find node, an entry of a map is 2·channel + (1 if it carries the inverse factor), or −1.
//
//===--------------------------------------------------------------------------------------------------------------------===//
#include "quanta/Transforms/ChannelPlan.h"
#include "ChannelRules.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Matchers.h"
#include "llvm/ADT/MapVector.h"
#include "llvm/ADT/SetVector.h"

using namespace mlir;
using namespace mlir::quanta;

namespace {
struct KindName {
  ChannelTransform kind;
  StringLiteral verb, noun;
};
} // namespace
static constexpr KindName kindNames[] = {
    {ChannelTransform::Permute, "permute", "permutation"}, {ChannelTransform::Scale, "scale", "scale"},
    {ChannelTransform::Shift, "shift", "shift"},           {ChannelTransform::Rotate, "rotate", "rotation"},
    {ChannelTransform::Center, "center", "centering"},     {ChannelTransform::Duplicate, "duplicate", "duplication"}};

std::optional<ChannelTransform> mlir::quanta::findChannelTransform(StringRef verb) {
  for (const KindName &name : kindNames)
    if (name.verb == verb)
      return name.kind;
  return std::nullopt;
}

StringRef mlir::quanta::getNoun(ChannelTransform kind) { return kindNames[static_cast<int>(kind)].noun; }

const ChannelMap *ChannelPlan::find(Value value) const {
  for (const Carrier &carrier : carriers)
    if (carrier.value == value)
      return &carrier.map;
  return nullptr;
}

namespace {

/// Most elements along the channels of one link; more would be a mistake.
constexpr int64_t kMaxElements = int64_t(1) << 26;
/// Ways that are tried before giving up.
constexpr unsigned kMaxChoices = 256;

struct Map {
  SmallVector<int64_t> axes, sizes;
  std::vector<int32_t> entries;
};

/// Row-major counting over some dimensions.
class Counter {
public:
  explicit Counter(ArrayRef<int64_t> sizes) : sizes(sizes), index(sizes.size(), 0) {}
  ArrayRef<int64_t> get() const { return index; }
  void next() {
    for (size_t i = index.size(); i-- > 0;) {
      if (++index[i] < sizes[i])
        return;
      index[i] = 0;
    }
  }

private:
  SmallVector<int64_t> sizes, index;
};

int64_t productOf(ArrayRef<int64_t> sizes) {
  int64_t product = 1;
  for (int64_t size : sizes)
    if (size < 0 || __builtin_mul_overflow(product, size, &product) || product > kMaxElements)
      return -1;
  return product;
}

/// A map over more axes: along a new axis all elements are alike.
Map broadcast(const Map &map, ArrayRef<int64_t> axes, ArrayRef<int64_t> sizes) {
  Map result{SmallVector<int64_t>(axes), SmallVector<int64_t>(sizes), {}};
  int64_t count = productOf(sizes);
  result.entries.reserve(count);
  Counter counter(sizes);
  for (int64_t i = 0; i < count; ++i, counter.next()) {
    int64_t element = 0;
    for (auto [axis, size] : llvm::zip_equal(map.axes, map.sizes))
      element = element * size + counter.get()[llvm::find(axes, axis) - axes.begin()];
    result.entries.push_back(map.entries[element]);
  }
  return result;
}

class Planner {
public:
  Planner(const PlanOptions &options) : options(options) {}

  ChannelPlan plan(Value value, ArrayRef<int64_t> axes);

private:
  /// Elements that may only be exchanged if their labels agree.
  struct Labels {
    std::vector<int32_t> entries, labels;
  };
  struct State {
    std::vector<int32_t> parents;
    llvm::MapVector<Value, Map> values;
    llvm::MapVector<std::pair<OpOperand *, int64_t>, std::pair<Map, ChannelPlan::Absorber::Role>>
        absorbed;                                                    // by operand, first axis
    llvm::MapVector<std::pair<Operation *, int64_t>, Labels> labels; // by op, link
    llvm::MapVector<Operation *, Map> missingBiases;
    llvm::SetVector<Operation *> work, stores;
    DenseMap<Operation *, unsigned> choice, firstWay;
  };
  struct Choice {
    State state;
    Operation *op;
    unsigned next;
  };

  bool fail(Operation *op, const Twine &reason) {
    culprit = op;
    refusal = reason.str();
    return false;
  }
  int32_t root(int32_t channel) {
    while (state.parents[channel] != channel)
      channel = state.parents[channel] = state.parents[state.parents[channel]];
    return channel;
  }
  /// Makes `to` carry what `entry` does.
  bool merge(int32_t &to, int32_t entry, Operation *op) {
    if (entry < 0)
      return true;
    if (to < 0) {
      to = entry;
      return true;
    }
    if ((to & 1) != (entry & 1))
      return fail(op, "it would have to carry the factors and their inverses at once");
    int32_t a = root(to >> 1), b = root(entry >> 1);
    state.parents[std::max(a, b)] = std::min(a, b);
    return true;
  }

  /// Only factors have inverses.
  int32_t signOf(const LinkMember &member) const { return options.kind == ChannelTransform::Scale && member.inverse; }

  const ChannelRules &rulesOf(Operation *op) {
    auto [it, isNew] = rules.try_emplace(op);
    if (isNew)
      it->second = std::make_unique<ChannelRules>(getChannelRules(op, options));
    return *it->second;
  }
  bool covers(ArrayRef<ChannelLink> links, Operation *op);
  bool mergeOtherAxes(ArrayRef<ChannelLink> links, Operation *op);
  bool visit(Operation *op);
  bool enqueue(Value value);
  void dropUniformAxes(Map &map);
  Map *find(Value value) {
    auto it = state.values.find(value);
    return it == state.values.end() ? nullptr : &it->second;
  }
  bool propagate(Operation *op, const ChannelLink &link, int64_t number);
  bool set(const LinkMember &member, Map map, Operation *op);
  bool run();
  ChannelPlan finish(const Map &seed);
  void findGroups(ChannelPlan &plan);
  void findCost(ChannelPlan &plan);

  PlanOptions options;
  State state;
  std::vector<Choice> choices;
  unsigned tried = 0;
  Operation *culprit = nullptr;
  std::string refusal;
  DenseMap<Operation *, std::unique_ptr<ChannelRules>> rules;
};

} // namespace

//===- One op -------------------------------------------------------------------------------------------------------------===//

/// The axes of a map that a member's link speaks of.
static SmallVector<int64_t> coveredAxes(const Map &map, const LinkMember &member) {
  SmallVector<int64_t> result;
  for (int64_t axis : map.axes)
    if (!member.uniform && !member.axes[axis].dims.empty())
      result.push_back(axis);
  return result;
}

/// Of an operand or a result: those that the links speak of, at best.
static SmallVector<int64_t> coveredAxes(const Map &map, ArrayRef<ChannelLink> links, Value value, OpOperand *use) {
  SmallVector<int64_t> best;
  for (const ChannelLink &link : links)
    for (const LinkMember &member : link.members)
      if (member.value == value && member.use == use)
        if (SmallVector<int64_t> axes = coveredAxes(map, member); axes.size() > best.size())
          best = axes;
  return best;
}

/// Calls `fn` for each operand and result that changes.
static bool allKnown(Operation *op, llvm::function_ref<Map *(Value)> find,
                     llvm::function_ref<bool(Value, OpOperand *, Map &)> fn) {
  for (OpOperand &use : op->getOpOperands())
    if (Map *map = find(use.get()); map && !fn(use.get(), &use, *map))
      return false;
  for (OpResult result : op->getResults())
    if (Map *map = find(result); map && !fn(result, nullptr, *map))
      return false;
  return true;
}

/// Whether the links speak of every operand and result that changes.
bool Planner::covers(ArrayRef<ChannelLink> links, Operation *op) {
  return allKnown(
      op, [&](Value value) { return find(value); },
      [&](Value value, OpOperand *use, Map &map) {
        return map.axes.empty() || !coveredAxes(map, links, value, use).empty();
      });
}

/// Along axes that the op does not see as channels, all elements change alike.
bool Planner::mergeOtherAxes(ArrayRef<ChannelLink> links, Operation *op) {
  return allKnown(
      op, [&](Value value) { return find(value); },
      [&](Value value, OpOperand *use, Map &map) {
        SmallVector<int64_t> axes = coveredAxes(map, links, value, use);
        if (axes.size() == map.axes.size())
          return true;
        Map merged{axes, {}, {}};
        for (auto [axis, size] : llvm::zip_equal(map.axes, map.sizes))
          if (llvm::is_contained(axes, axis))
            merged.sizes.push_back(size);
        merged.entries.assign(productOf(merged.sizes), -1);
        Counter counter(map.sizes);
        for (int32_t entry : map.entries) {
          int64_t element = 0;
          for (auto [axis, size, index] : llvm::zip_equal(map.axes, map.sizes, counter.get()))
            if (llvm::is_contained(axes, axis))
              element = element * size + index;
          if (!merge(merged.entries[element], entry, op))
            return false;
          counter.next();
        }
        map = std::move(merged);
        return enqueue(value);
      });
}

bool Planner::visit(Operation *op) {
  const ChannelRules &rule = rulesOf(op);
  if (rule.ignore)
    return true;
  auto nextWay = [&](unsigned from) {
    while (from < rule.alternatives.size() && !covers(rule.alternatives[from], op))
      ++from;
    return from;
  };
  auto known = state.choice.find(op);
  unsigned chosen = known != state.choice.end() ? known->second : nextWay(state.firstWay.lookup(op));
  if (chosen == rule.alternatives.size() || !covers(rule.alternatives[chosen], op))
    return fail(op, rule.reason.empty() ? Twine("it mixes this axis") : Twine(rule.reason));
  if (known == state.choice.end()) {
    if (unsigned other = nextWay(chosen + 1); other < rule.alternatives.size()) {
      Choice later{state, op, other};
      later.state.work.insert(op);
      choices.push_back(std::move(later));
    }
    state.choice[op] = chosen;
  }
  if (!mergeOtherAxes(rule.alternatives[chosen], op))
    return false;
  for (auto [number, link] : llvm::enumerate(rule.alternatives[chosen]))
    if (!propagate(op, link, number))
      return false;
  return true;
}

bool Planner::propagate(Operation *op, const ChannelLink &link, int64_t number) {
  // Which dimensions take part: those of the axes that are known to change, and all that share an axis with them.
  llvm::SmallSetVector<unsigned, 4> involved;
  auto known = [&](const LinkMember &member) -> const Map * {
    Map *map = find(member.value);
    return map && coveredAxes(*map, member).size() == map->axes.size() ? map : nullptr;
  };
  for (const LinkMember &member : link.members)
    if (const Map *map = known(member))
      for (int64_t axis : map->axes)
        involved.insert(member.axes[axis].dims.begin(), member.axes[axis].dims.end());
  if (involved.empty())
    return true;
  involved.insert(link.always.begin(), link.always.end());
  for (bool grew = true; grew;) {
    size_t before = involved.size();
    for (const LinkMember &member : link.members)
      for (const AxisIndex &axis : member.axes)
        if (llvm::any_of(axis.dims, [&](unsigned dim) { return involved.contains(dim); }))
          involved.insert(axis.dims.begin(), axis.dims.end());
    grew = involved.size() > before;
  }
  SmallVector<unsigned> dims = llvm::to_vector(involved);
  llvm::sort(dims);
  SmallVector<int64_t> sizes;
  for (unsigned dim : dims) {
    if (llvm::is_contained(link.opaque, dim))
      return fail(op, link.opaqueReason);
    if (ShapedType::isDynamic(link.sizes[dim]))
      return fail(op, "it mixes the channels with a dimension of unknown size");
    sizes.push_back(link.sizes[dim]);
  }
  if (link.needsInner && !llvm::is_contained(dims, *link.inner))
    return fail(op, "whole blocks of channels cannot change places here");
  int64_t total = productOf(sizes);
  if (total < 0)
    return fail(op, "there are too many elements along its channels");

  auto positionOf = [&](unsigned dim) { return llvm::find(dims, dim) - dims.begin(); };
  auto indexOf = [&](const AxisIndex &axis, ArrayRef<int64_t> at) {
    int64_t index = 0;
    for (unsigned dim : axis.dims)
      index = index * link.sizes[dim] + at[positionOf(dim)];
    return index / axis.divide * axis.stride + axis.offset;
  };

  // What the link's elements carry.
  std::vector<int32_t> entries(total, -1);
  for (const LinkMember &member : link.members) {
    const Map *map = known(member);
    if (!map)
      continue;
    Counter counter(sizes);
    for (int64_t i = 0; i < total; ++i, counter.next()) {
      int64_t element = 0;
      for (auto [axis, size] : llvm::zip_equal(map->axes, map->sizes))
        element = element * size + indexOf(member.axes[axis], counter.get());
      int32_t entry = map->entries[element];
      if (entry >= 0 && !merge(entries[i], entry ^ signOf(member), op))
        return false;
    }
  }
  if (link.pairs && llvm::is_contained(dims, *link.pairs)) {
    int64_t inner = productOf(ArrayRef(sizes).drop_front(positionOf(*link.pairs) + 1)), size = link.sizes[*link.pairs];
    for (int64_t i = 0; i < total; ++i)
      if (i / inner % size < size / 2)
        if (int64_t j = i + inner * (size / 2);
            !merge(entries[i], entries[j], op) || !merge(entries[j], entries[i], op))
          return false;
  }
  if (llvm::all_of(entries, [](int32_t entry) { return entry < 0; }))
    return true;

  // Who stays where.
  llvm::SmallSetVector<unsigned, 4> fixed;
  if (link.inner && llvm::is_contained(dims, *link.inner))
    for (unsigned dim : dims)
      if (dim != *link.inner)
        fixed.insert(dim);

  unsigned last = dims.back();
  bool moves = options.kind == ChannelTransform::Permute || options.kind == ChannelTransform::Duplicate;
  bool rotates = options.kind == ChannelTransform::Rotate || options.kind == ChannelTransform::Center;
  for (const LinkMember &member : link.members) {
    Map map;
    llvm::SmallSetVector<unsigned, 4> own;
    for (auto [axis, index] : llvm::enumerate(member.axes))
      if (llvm::any_of(index.dims, [&](unsigned dim) { return involved.contains(dim); })) {
        map.axes.push_back(axis);
        map.sizes.push_back(cast<RankedTensorType>(member.value.getType()).getDimSize(axis));
        own.insert(index.dims.begin(), index.dims.end());
      }
    if (member.uniform && own.empty())
      continue;
    if (member.uniform || (rotates && !own.contains(last)))
      return fail(op, member.uniform ? "it is combined with a value that differs between channels"
                                     : "it broadcasts along the channels");
    if (own.empty()) {
      if (!moves) // a factor or a shift for all channels at once
        return fail(op, "it broadcasts along the channels");
      continue;
    }
    if (moves && !own.contains(last)) {
      // Indexed by blocks of channels only: these stay where they are.
      fixed.insert(own.begin(), own.end());
      continue;
    }
    int64_t count = productOf(map.sizes);
    if (count < 0)
      return fail(op, "there are too many elements along its channels");
    map.entries.assign(count, -1);
    Counter counter(sizes);
    for (int64_t i = 0; i < total; ++i, counter.next()) {
      int64_t element = 0;
      for (auto [axis, size] : llvm::zip_equal(map.axes, map.sizes))
        element = element * size + indexOf(member.axes[axis], counter.get());
      if (entries[i] >= 0 && !merge(map.entries[element], entries[i] ^ signOf(member), op))
        return false;
    }
    if (!set(member, std::move(map), op))
      return false;
  }
  if (!fixed.empty()) {
    Labels labels{entries, {}};
    labels.labels.reserve(total);
    Counter counter(sizes);
    for (int64_t i = 0; i < total; ++i, counter.next()) {
      int64_t label = 0;
      for (unsigned dim : dims)
        if (fixed.contains(dim))
          label = label * link.sizes[dim] + counter.get()[positionOf(dim)];
      labels.labels.push_back(label);
    }
    state.labels[{op, number}] = std::move(labels);
  }
  if (link.store)
    state.stores.insert(link.store);
  if (link.missingBias) {
    auto result = llvm::find_if(link.members, [](const LinkMember &member) { return !member.use; });
    if (auto it = state.values.find(result->value); it != state.values.end())
      state.missingBiases[link.missingBias] = it->second;
  }
  return true;
}

/// A constant absorbs the change; another value carries it, so its other users and its producer must obey as well.
bool Planner::set(const LinkMember &member, Map map, Operation *op) {
  Value value = member.value;
  if (member.use && matchPattern(value, m_Constant())) {
    auto type = cast<RankedTensorType>(value.getType());
    if (getEncoding(type))
      return fail(op, "a weight is encoded already");
    bool moves = options.kind == ChannelTransform::Permute || options.kind == ChannelTransform::Duplicate;
    if (!type.getElementType().isF32() && !(moves && type.getElementTypeBitWidth() % 8 == 0))
      return fail(op, "a constant is not of f32");
    int64_t axis = map.axes.front();
    state.absorbed[{member.use, axis}] = {std::move(map), member.role};
    return true;
  }
  if (isa<BlockArgument>(value))
    return fail(op, "it comes from an input of the model");
  dropUniformAxes(map);
  auto [it, isNew] = state.values.insert({value, map});
  bool changed = isNew;
  if (!isNew) {
    Map &old = it->second;
    SmallVector<int64_t> axes = old.axes;
    for (int64_t axis : map.axes)
      if (!llvm::is_contained(axes, axis))
        axes.push_back(axis);
    llvm::sort(axes);
    SmallVector<int64_t> sizes;
    for (int64_t axis : axes)
      sizes.push_back(cast<RankedTensorType>(value.getType()).getDimSize(axis));
    if (productOf(sizes) < 0)
      return fail(op, "there are too many elements along its channels");
    SmallVector<int64_t> before = old.axes;
    if (axes != old.axes)
      old = broadcast(old, axes, sizes);
    if (axes != map.axes)
      map = broadcast(map, axes, sizes);
    for (auto [to, entry] : llvm::zip_equal(old.entries, map.entries)) {
      changed |= to < 0 && entry >= 0;
      if (!merge(to, entry, op))
        return false;
    }
    dropUniformAxes(old);
    changed |= old.axes != before;
  }
  return !changed || enqueue(value);
}

/// Along which nothing differs: the map says the same without them.
void Planner::dropUniformAxes(Map &map) {
  auto same = [&](int32_t a, int32_t b) {
    return a == b || (a >= 0 && b >= 0 && (a & 1) == (b & 1) && root(a >> 1) == root(b >> 1));
  };
  for (size_t i = 0; i < map.axes.size() && map.axes.size() > 1;) {
    int64_t size = map.sizes[i], inner = productOf(ArrayRef(map.sizes).drop_front(i + 1));
    bool uniform = true;
    for (int64_t e = 0, count = map.entries.size(); e < count && uniform; ++e)
      uniform = e / inner % size == 0 || same(map.entries[e], map.entries[e - inner]);
    if (!uniform) {
      ++i;
      continue;
    }
    std::vector<int32_t> entries;
    for (int64_t e = 0, count = map.entries.size(); e < count; ++e)
      if (e / inner % size == 0)
        entries.push_back(map.entries[e]);
    map.entries = std::move(entries);
    map.axes.erase(map.axes.begin() + i);
    map.sizes.erase(map.sizes.begin() + i);
  }
}

/// The producer and the users of a value that changed must obey.
bool Planner::enqueue(Value value) {
  state.work.insert(value.getDefiningOp());
  for (Operation *user : value.getUsers()) {
    if (user->hasTrait<OpTrait::IsTerminator>())
      return fail(value.getDefiningOp(), "its result is an output of the model");
    state.work.insert(user);
  }
  return true;
}

//===- The whole ----------------------------------------------------------------------------------------------------------===//

bool Planner::run() {
  while (!state.work.empty()) {
    Operation *op = state.work.front();
    state.work.remove(op);
    if (visit(op))
      continue;
    if (choices.empty() || ++tried > kMaxChoices)
      return false;
    Choice other = std::move(choices.back());
    choices.pop_back();
    state = std::move(other.state);
    state.firstWay[other.op] = other.next;
  }
  return true;
}

ChannelPlan Planner::plan(Value value, ArrayRef<int64_t> axes) {
  auto type = cast<RankedTensorType>(value.getType());
  ChannelPlan refused;
  refused.options = options;
  refused.culprit = value.getDefiningOp();
  Map seed{SmallVector<int64_t>(axes), {}, {}};
  for (int64_t axis : axes)
    seed.sizes.push_back(type.getDimSize(axis));
  int64_t size = productOf(seed.sizes);
  if (size < 0) {
    refused.refusal = "its number of channels is not known";
    return refused;
  }
  for (int64_t c = 0; c < size; ++c) {
    state.parents.push_back(c);
    seed.entries.push_back(2 * c);
  }
  LinkMember start;
  start.value = value;
  if (!set(start, seed, value.getDefiningOp()) || !run()) {
    refused.refusal = refusal;
    refused.culprit = culprit;
    return refused;
  }
  return finish(seed);
}

ChannelPlan Planner::finish(const Map &seed) {
  ChannelPlan plan;
  plan.options = options;
  // Channels are numbered as the seed meets them.
  std::vector<int32_t> numbers(state.parents.size(), -1);
  for (int32_t entry : seed.entries)
    if (int32_t &number = numbers[root(entry >> 1)]; number < 0)
      number = plan.channels++;
  auto convert = [&](const Map &map) {
    ChannelMap result{map.axes, map.sizes, {}, {}};
    bool anyInverse = llvm::any_of(map.entries, [](int32_t entry) { return entry >= 0 && (entry & 1); });
    for (int32_t entry : map.entries) {
      result.channels.push_back(entry < 0 ? -1 : numbers[root(entry >> 1)]);
      if (anyInverse)
        result.inverse.push_back(entry >= 0 && (entry & 1));
    }
    return result;
  };
  for (auto &[value, map] : state.values)
    plan.carriers.push_back({value, convert(map)});
  for (auto &[key, absorbed] : state.absorbed)
    plan.absorbers.push_back({key.first, convert(absorbed.first), absorbed.second});
  for (auto &[op, map] : state.missingBiases)
    plan.missingBiases.push_back({op->getResult(0), convert(map)});
  plan.stores = llvm::to_vector(state.stores);
  findGroups(plan);
  if (plan.isLegal())
    findCost(plan);
  return plan;
}

/// Channels are alike if they have equally many elements everywhere, with the same labels in order.
void Planner::findGroups(ChannelPlan &plan) {
  ChannelTransform kind = options.kind;
  if (kind == ChannelTransform::Scale || kind == ChannelTransform::Shift)
    return;
  std::vector<std::vector<int32_t>> keys(plan.channels);
  auto mark = [&](ArrayRef<int32_t> channels, llvm::function_ref<int32_t(size_t)> label) {
    for (auto [i, channel] : llvm::enumerate(channels))
      if (channel >= 0)
        keys[channel].push_back(label(i));
    for (auto &key : keys)
      key.push_back(-1);
  };
  auto count = [&](const ChannelMap &map) { mark(map.channels, [](size_t) { return 0; }); };
  for (const ChannelPlan::Carrier &carrier : plan.carriers)
    count(carrier.map);
  for (const ChannelPlan::Absorber &absorber : plan.absorbers)
    count(absorber.map);
  std::vector<int32_t> numbers(state.parents.size(), -1);
  for (auto [c, entry] : llvm::enumerate(state.values.front().second.entries))
    if (entry >= 0)
      numbers[root(entry >> 1)] = plan.carriers.front().map.channels[c];
  for (auto &[key, labels] : state.labels) {
    std::vector<int32_t> channels;
    for (int32_t entry : labels.entries)
      channels.push_back(entry < 0 ? -1 : numbers[root(entry >> 1)]);
    mark(channels, [&labels = labels](size_t i) { return labels.labels[i]; });
  }
  std::map<std::vector<int32_t>, size_t> groups;
  for (auto [channel, key] : llvm::enumerate(keys)) {
    auto [it, isNew] = groups.try_emplace(key, plan.groups.size());
    if (isNew)
      plan.groups.emplace_back();
    plan.groups[it->second].push_back(channel);
  }
  if (llvm::all_of(plan.groups, [](auto &group) { return group.size() < 2; })) {
    plan.refusal = "the graph ties every channel to its place";
    plan.culprit = plan.carriers.front().value.getDefiningOp();
  }
}

void Planner::findCost(ChannelPlan &plan) {
  plan.cost.gathers = plan.stores.size();
  DenseMap<Value, unsigned> readers;
  for (const ChannelPlan::Absorber &absorber : plan.absorbers) {
    auto type = cast<RankedTensorType>(absorber.use->get().getType());
    int64_t bytes = type.getNumElements() * type.getElementTypeBitWidth() / 8;
    if (readers[absorber.use->get()]++ == 0)
      plan.cost.rewrittenBytes += bytes;
  }
  // A constant that others read, or that is needed in two versions, is stored once more.
  DenseMap<Value, const ChannelMap *> first;
  DenseSet<Value> untied;
  for (const ChannelPlan::Absorber &absorber : plan.absorbers) {
    Value constant = absorber.use->get();
    auto [it, isNew] = first.try_emplace(constant, &absorber.map);
    bool differs = !isNew && (it->second->axes != absorber.map.axes || it->second->channels != absorber.map.channels ||
                              it->second->inverse != absorber.map.inverse);
    bool shared = llvm::any_of(constant.getUses(), [&](OpOperand &use) {
      return llvm::none_of(plan.absorbers, [&](const ChannelPlan::Absorber &other) { return other.use == &use; });
    });
    if ((differs || shared) && untied.insert(constant).second) {
      auto type = cast<RankedTensorType>(constant.getType());
      plan.cost.untiedBytes += type.getNumElements() * type.getElementTypeBitWidth() / 8;
    }
  }
}

ChannelPlan mlir::quanta::planTransform(Value value, ArrayRef<int64_t> axes, const PlanOptions &options) {
  return Planner(options).plan(value, axes);
}

//===- Using a map --------------------------------------------------------------------------------------------------------===//

/// The elements of each channel, in order.
static std::vector<std::vector<int64_t>> elementsByChannel(const ChannelMap &map, size_t channels) {
  std::vector<std::vector<int64_t>> elements(channels);
  for (auto [element, channel] : llvm::enumerate(map.channels))
    if (channel >= 0)
      elements[channel].push_back(element);
  return elements;
}

std::vector<int64_t> mlir::quanta::liftOrder(const ChannelMap &map, ArrayRef<int32_t> order) {
  auto elements = elementsByChannel(map, order.size());
  std::vector<int64_t> result(map.size());
  for (int64_t e = 0; e < map.size(); ++e)
    result[e] = e;
  for (auto [to, from] : llvm::enumerate(order))
    for (auto [target, source] : llvm::zip_equal(elements[to], elements[from]))
      result[target] = source;
  return result;
}

std::vector<std::vector<std::vector<int64_t>>> mlir::quanta::liftGroups(const ChannelMap &map,
                                                                        const ChannelPlan &plan) {
  auto elements = elementsByChannel(map, plan.channels);
  std::vector<std::vector<std::vector<int64_t>>> result;
  for (const auto &group : plan.groups) {
    auto &vectors = result.emplace_back(elements[group.front()].size());
    for (auto [k, vector] : llvm::enumerate(vectors))
      for (int32_t channel : group)
        vector.push_back(elements[channel][k]);
  }
  return result;
}
