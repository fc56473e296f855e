//===- Binder.cpp - Check a node of the file against its row ------------------------------------------------------===//
#include "Binder.h"
#include "llvm/ADT/StringSet.h"

using namespace mlir;
using namespace mlir::quanta;
using Proto = ::onnx::AttributeProto;

std::string quanta::getDisplayName(const ::onnx::NodeProto &node) {
  if (!node.name().empty())
    return node.name();
  for (const std::string &output : node.output())
    if (!output.empty())
      return "-> '" + output + "'";
  return "(unnamed " + node.op_type() + ")";
}

/// Files before IR version 2 do not say the type.
static Proto::AttributeType typeOf(const Proto &attribute) {
  if (attribute.has_type() && attribute.type() != Proto::UNDEFINED)
    return attribute.type();
  return attribute.has_f()         ? Proto::FLOAT
         : attribute.has_i()       ? Proto::INT
         : attribute.has_s()       ? Proto::STRING
         : attribute.has_t()       ? Proto::TENSOR
         : attribute.has_g()       ? Proto::GRAPH
         : attribute.ints_size()   ? Proto::INTS
         : attribute.floats_size() ? Proto::FLOATS
                                   : Proto::UNDEFINED;
}

static bool matches(Proto::AttributeType type, AttrSpec::Type expected) {
  switch (expected) {
  case AttrSpec::Type::Int:
    return type == Proto::INT;
  case AttrSpec::Type::Float:
    return type == Proto::FLOAT;
  case AttrSpec::Type::String:
    return type == Proto::STRING;
  // An empty list has no type in old files.
  case AttrSpec::Type::Ints:
    return type == Proto::INTS || type == Proto::UNDEFINED;
  case AttrSpec::Type::Floats:
    return type == Proto::FLOATS || type == Proto::UNDEFINED;
  case AttrSpec::Type::Tensor:
    return type == Proto::TENSOR;
  }
  return false;
}

static std::string orList(StringRef texts) {
  std::string result;
  for (StringRef rest = texts; !rest.empty();) {
    auto [text, more] = rest.split('|');
    result += (result.empty() ? "" : more.empty() ? " or " : ", ") + text.str();
    rest = more;
  }
  return result;
}

void quanta::checkNode(const ::onnx::NodeProto &node, const OpRow &row, StringRef subject, WeightStore &weights,
                       Problems &problems) {
  std::string name = getDisplayName(node);
  auto bad = [&](StringRef kind, const Twine &text) { problems.error(kind, subject + "  " + text, "node", name); };

  bool variadic = !row.inputs.empty() && row.inputs.back().kind == InputSpec::Kind::Variadic;
  if (!variadic && size_t(node.input_size()) > row.inputs.size())
    bad("bad input", "has " + Twine(node.input_size()) + " inputs (at most " + Twine(row.inputs.size()) + ")");
  for (auto [position, spec] : llvm::enumerate(row.inputs))
    if (spec.kind != InputSpec::Kind::Optional &&
        (position >= size_t(node.input_size()) || node.input(position).empty()))
      bad("bad input", "input " + spec.name + " is missing");
  if (variadic && llvm::any_of(node.input(), [](const std::string &input) { return input.empty(); }))
    bad("bad input", "an input has no name");

  llvm::StringSet<> seen;
  for (const Proto &attribute : node.attribute()) {
    StringRef key = attribute.name();
    const AttrSpec *spec = row.findAttribute(key);
    if (!seen.insert(key).second)
      bad("bad attribute", key + " is given twice");
    if (!spec) {
      bad("bad attribute", key + " is not supported");
      continue;
    }
    if (spec->rule == AttrSpec::Rule::Ignored)
      continue;
    if (!attribute.ref_attr_name().empty() || hasUnknownFields(attribute.unknown_fields(), {}) ||
        !matches(typeOf(attribute), spec->type)) {
      bad("bad attribute", key + " has the wrong kind of value");
      continue;
    }
    if (spec->rule == AttrSpec::Rule::OneOf) {
      std::string value = spec->type == AttrSpec::Type::Int ? std::to_string(attribute.i()) : attribute.s();
      SmallVector<StringRef> allowed;
      spec->otherwise.split(allowed, '|');
      if (!llvm::is_contained(allowed, value))
        bad("bad attribute", key + "=" + value + " (only " + orList(spec->otherwise) + ")");
    }
    std::string why;
    if (spec->type == AttrSpec::Type::Tensor && failed(weights.check(attribute.t(), why)))
      bad("bad attribute", key + ": " + why);
  }
  for (const AttrSpec &spec : row.attributes)
    if (spec.rule == AttrSpec::Rule::Required && !seen.contains(spec.name))
      bad("bad attribute", spec.name + " is missing");
  if (row.op == "Constant" && seen.size() != 1)
    bad("bad attribute", "needs exactly one value");
}

DictionaryAttr quanta::buildAttributes(::onnx::NodeProto &node, WeightStore &weights, MLIRContext *context) {
  Builder b(context);
  NamedAttrList list;
  for (Proto &attribute : *node.mutable_attribute()) {
    Attribute value;
    switch (typeOf(attribute)) {
    case Proto::INT:
      value = b.getI64IntegerAttr(attribute.i());
      break;
    case Proto::FLOAT:
      value = b.getF32FloatAttr(attribute.f());
      break;
    case Proto::STRING:
      value = b.getStringAttr(attribute.s());
      break;
    case Proto::INTS:
    case Proto::UNDEFINED:
      value = b.getDenseI64ArrayAttr(ArrayRef(attribute.ints().data(), attribute.ints_size()));
      break;
    case Proto::FLOATS:
      value = b.getDenseF32ArrayAttr(ArrayRef(attribute.floats().data(), attribute.floats_size()));
      break;
    case Proto::TENSOR:
      value = weights.take(*attribute.mutable_t(), getDisplayName(node) + "." + attribute.name());
      break;
    default:
      break;
    }
    if (value && !attribute.name().empty())
      list.set(attribute.name(), value);
  }
  return list.getDictionary(context);
}
