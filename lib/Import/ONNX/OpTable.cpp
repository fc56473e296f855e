//===- OpTable.cpp - The operators that can be imported -----------------------------------------------------------===//
#include "quanta/Import/ONNX/OpTable.h"
#include "Inference.h"

using namespace mlir;
using namespace mlir::quanta;

// Columns of Ops.def.
using Type_ = AttrSpec::Type;
using Rule = AttrSpec::Rule;
static Versions V(int64_t first, int64_t last, bool manyOutputs = false) { return {first, last, manyOutputs}; }
static InputSpec opt(const char *name) { return {name, InputSpec::Kind::Optional}; }
static InputSpec many(const char *name) { return {name, InputSpec::Kind::Variadic}; }
static AttrSpec i(const char *name, int64_t otherwise = 0) { return {name, Type_::Int, Rule::Optional, otherwise}; }
static AttrSpec f(const char *name, double otherwise = 0) { return {name, Type_::Float, Rule::Optional, 0, otherwise}; }
static AttrSpec reqI(const char *name) { return {name, Type_::Int, Rule::Required}; }
static AttrSpec ints(const char *name) { return {name, Type_::Ints}; }
static AttrSpec reqInts(const char *name) { return {name, Type_::Ints, Rule::Required}; }
static AttrSpec floats(const char *name) { return {name, Type_::Floats}; }
static AttrSpec reqFloats(const char *name) { return {name, Type_::Floats, Rule::Required}; }
static AttrSpec tensorAttr(const char *name) { return {name, Type_::Tensor}; }
static AttrSpec reqTensorAttr(const char *name) { return {name, Type_::Tensor, Rule::Required}; }
static AttrSpec ignore(const char *name) { return {name, Type_::Int, Rule::Ignored}; }
static AttrSpec oneOf(const char *name, const char *texts) { return {name, Type_::String, Rule::OneOf, 0, 0, texts}; }
static AttrSpec oneOfI(const char *name, const char *texts) {
  int64_t first = 0;
  StringRef(texts).split('|').first.getAsInteger(10, first);
  return {name, Type_::Int, Rule::OneOf, first, 0, texts};
}

ArrayRef<OpRow> quanta::getOpTable() {
  static const std::vector<OpRow> table = [] {
    std::vector<OpRow> rows;
#define IN(...) {__VA_ARGS__}
#define ATTRS(...) {__VA_ARGS__}
#define ROW(domain, op, versions, inputs, attributes, infer_, convert)                                                 \
  rows.push_back({domain, op, versions, inputs, attributes, infer::infer_, unsigned(rows.size())});
#include "quanta/Import/ONNX/Ops.def"
    return rows;
  }();
  return table;
}

const AttrSpec *OpRow::findAttribute(StringRef name) const {
  auto it = llvm::find_if(attributes, [&](const AttrSpec &spec) { return spec.name == name; });
  return it == attributes.end() ? nullptr : &*it;
}

std::optional<unsigned> OpRow::findInput(StringRef name) const {
  auto it = llvm::find_if(inputs, [&](const InputSpec &spec) { return spec.name == name; });
  if (it == inputs.end())
    return std::nullopt;
  return it - inputs.begin();
}

static ArrayRef<unsigned> rowsOf(StringRef domain, StringRef op) {
  static const llvm::StringMap<SmallVector<unsigned>> index = [] {
    llvm::StringMap<SmallVector<unsigned>> result;
    for (const OpRow &row : getOpTable())
      result[(row.domain + "::" + row.op).str()].push_back(row.index);
    return result;
  }();
  if (domain == "ai.onnx")
    domain = "";
  auto it = index.find((domain + "::" + op).str());
  return it == index.end() ? ArrayRef<unsigned>() : ArrayRef<unsigned>(it->second);
}

const OpRow *quanta::findRow(StringRef domain, StringRef op, int64_t version) {
  for (unsigned position : rowsOf(domain, op)) {
    const OpRow &row = getOpTable()[position];
    if (row.versions.first <= version && version <= row.versions.last)
      return &row;
  }
  return nullptr;
}

SmallVector<Versions> quanta::findVersions(StringRef domain, StringRef op) {
  return llvm::map_to_vector(rowsOf(domain, op), [](unsigned position) { return getOpTable()[position].versions; });
}

static const llvm::StringMap<SmallVector<int64_t>> &schemaVersions() {
  static const llvm::StringMap<SmallVector<int64_t>> versions = [] {
    llvm::StringMap<SmallVector<int64_t>> result;
#define NEWEST_OPSET(version)
#define SCHEMA(op, ...) result[op] = {__VA_ARGS__};
#include "SchemaVersions.inc"
#undef NEWEST_OPSET
#undef SCHEMA
    return result;
  }();
  return versions;
}

int64_t quanta::getSchemaVersion(StringRef op, int64_t opset) {
  auto it = schemaVersions().find(op);
  if (it == schemaVersions().end())
    return 0;
  int64_t found = 0;
  for (int64_t version : it->second)
    if (version <= opset)
      found = version;
  return found;
}

int64_t quanta::getNewestOpset() {
#define NEWEST_OPSET(version) return version;
#define SCHEMA(op, ...)
#include "SchemaVersions.inc"
#undef NEWEST_OPSET
#undef SCHEMA
}

//===- BoundNode --------------------------------------------------------------------------------------------------===//

Value BoundNode::input(StringRef name) const {
  auto position = row->findInput(name);
  return position ? op.getInput(*position) : Value();
}

SmallVector<Value> BoundNode::inputs(StringRef name) const {
  SmallVector<Value> values;
  if (auto position = row->findInput(name))
    for (unsigned i = *position, e = op.getNumInputs(); i < e; ++i)
      values.push_back(op.getInput(i));
  return values;
}

int64_t BoundNode::integer(StringRef name, int64_t otherwise) const {
  if (const AttrSpec *spec = row->findAttribute(name))
    otherwise = spec->i;
  return op.getInt(name, otherwise);
}

double BoundNode::number(StringRef name, double otherwise) const {
  if (const AttrSpec *spec = row->findAttribute(name))
    otherwise = spec->f;
  return op.getFloat(name, otherwise);
}

StringRef BoundNode::string(StringRef name, StringRef otherwise) const {
  if (const AttrSpec *spec = row->findAttribute(name))
    otherwise = spec->otherwise.split('|').first;
  return op.getString(name, otherwise);
}

std::optional<SmallVector<int64_t>> BoundNode::integers(StringRef name) const {
  if (auto attr = dyn_cast_or_null<DenseI64ArrayAttr>(op.getNodeAttr(name)))
    return SmallVector<int64_t>(attr.asArrayRef());
  return std::nullopt;
}

std::optional<SmallVector<double>> BoundNode::numbers(StringRef name) const {
  if (auto attr = dyn_cast_or_null<DenseF32ArrayAttr>(op.getNodeAttr(name)))
    return SmallVector<double>(attr.asArrayRef());
  return std::nullopt;
}

FailureOr<std::optional<SmallVector<int64_t>>> BoundNode::constants(StringRef name,
                                                                    const SymbolicShapes &shapes) const {
  if (auto list = integers(name))
    return list;
  Value value = input(name);
  if (!value)
    return std::optional<SmallVector<int64_t>>();
  const auto &elements = shapes.get(value).elements;
  if (!elements)
    return failure();
  SmallVector<int64_t> result;
  for (AffineExpr element : *elements) {
    auto constant = dyn_cast<AffineConstantExpr>(element);
    if (!constant)
      return failure();
    result.push_back(constant.getValue());
  }
  return std::optional<SmallVector<int64_t>>(result);
}

FailureOr<std::optional<SmallVector<AffineExpr>>> BoundNode::expressions(StringRef name, SymbolicShapes &shapes) const {
  if (auto list = integers(name))
    return std::optional(llvm::map_to_vector(*list, [&](int64_t v) { return shapes.context().constant(v); }));
  Value value = input(name);
  if (!value)
    return std::optional<SmallVector<AffineExpr>>();
  auto elements = shapes.getElements(value);
  if (!elements)
    return failure();
  return elements;
}
