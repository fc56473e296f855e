//===- Header.cpp - C headers of compiled models ------------------------------------------------------------------------===//
#include "quanta/Codegen/Header.h"
#include "quanta/Runtime/Embedded.h"
#include "quanta/Runtime/quanta.h"
#include "quanta/Support/Error.h"
#include "llvm/ADT/StringExtras.h"

using namespace mlir;
using namespace mlir::quanta;
using ::quanta::userError;

//===- The description ----------------------------------------------------------------------------------------------------===//

static int32_t getTypeCode(StringRef type) {
  return llvm::StringSwitch<int32_t>(type)
      .Case("f32", QUANTA_F32).Case("f16", QUANTA_F16).Case("bf16", QUANTA_BF16).Case("f64", QUANTA_F64)
      .Case("i8", QUANTA_I8).Case("i16", QUANTA_I16).Case("i32", QUANTA_I32).Case("i64", QUANTA_I64)
      .Case("u8", QUANTA_U8).Case("u16", QUANTA_U16).Case("u32", QUANTA_U32).Case("u64", QUANTA_U64)
      .Case("bool", QUANTA_BOOL)
      .Default(-1);
}

static llvm::Expected<std::vector<ModelDescription::Port>> getPorts(DictionaryAttr model, StringRef kind,
                                                                    size_t symbolCount) {
  auto attrs = model.getAs<ArrayAttr>(kind);
  if (!attrs)
    return userError("module attribute 'quanta.model' has no array '" + kind + "'");
  std::vector<ModelDescription::Port> ports;
  for (auto [index, attr] : llvm::enumerate(attrs)) {
    auto port = dyn_cast<DictionaryAttr>(attr);
    auto name = port ? port.getAs<StringAttr>("name") : StringAttr();
    auto type = port ? port.getAs<StringAttr>("type") : StringAttr();
    auto shape = port ? port.getAs<DenseI64ArrayAttr>("shape") : DenseI64ArrayAttr();
    auto symbols = port ? port.getAs<DenseI32ArrayAttr>("symbols") : DenseI32ArrayAttr();
    std::string where = ("module attribute 'quanta.model', " + kind + "[" + Twine(index) + "]").str();
    if (!name || !type || !shape)
      return userError(where + ": expected {name, type, shape, symbols}");
    int32_t code = getTypeCode(type);
    if (code < 0)
      return userError(where + ": unknown type '" + type.getValue() + "'");
    if (shape.size() > QUANTA_MAX_RANK)
      return userError(where + ": '" + name.getValue() + "' has " + Twine(shape.size()) + " dimensions, compiled models take up to " +
                       Twine(QUANTA_MAX_RANK));
    std::vector<int32_t> indices(shape.size(), -1);
    if (symbols && symbols.size() == shape.size())
      indices.assign(symbols.asArrayRef().begin(), symbols.asArrayRef().end());
    else if (symbols && !symbols.empty())
      return userError(where + ": expected as many symbols as dimensions");
    if (llvm::any_of(indices, [&](int32_t i) { return i < -1 || i >= static_cast<int64_t>(symbolCount); }))
      return userError(where + ": symbol out of range");
    ports.push_back({name.str(), type.str(), code, {shape.asArrayRef().begin(), shape.asArrayRef().end()}, indices});
  }
  return ports;
}

llvm::Expected<ModelDescription> ModelDescription::get(DictionaryAttr attr) {
  if (!attr)
    return userError("the module has no attribute 'quanta.model'");
  ModelDescription model;
  if (auto name = attr.getAs<StringAttr>("name"))
    model.name = name.str();
  if (auto recipe = attr.getAs<StringAttr>("recipe"))
    model.recipe = recipe.str();
  if (auto symbols = attr.getAs<ArrayAttr>("symbols"))
    for (Attribute symbol : symbols) {
      auto name = dyn_cast<StringAttr>(symbol);
      if (!name)
        return userError("module attribute 'quanta.model': expected strings in 'symbols'");
      model.symbols.push_back(name.str());
    }
  auto inputs = getPorts(attr, "inputs", model.symbols.size());
  if (!inputs)
    return inputs.takeError();
  auto outputs = getPorts(attr, "outputs", model.symbols.size());
  if (!outputs)
    return outputs.takeError();
  if (auto cache = attr.getAs<DenseI64ArrayAttr>("cache")) {
    if (cache.size() != 2 || cache[0] < 0 || cache[1] < 0)
      return userError("module attribute 'quanta.model': expected 'cache' to hold a capacity and a number of bytes");
    std::tie(model.cacheCapacity, model.cacheBytes) = std::pair(cache[0], cache[1]);
  }
  model.inputs = std::move(*inputs);
  model.outputs = std::move(*outputs);
  return model;
}

//===- The text -----------------------------------------------------------------------------------------------------------===//

/// Names come from the model's file: nothing in them may end the comment.
static std::string inComment(StringRef text) {
  std::string result;
  for (char c : text)
    result += llvm::isPrint(c) && c != '*' && c != '\\' ? c : '_';
  return result;
}

static void describePorts(llvm::raw_ostream &os, StringRef title, ArrayRef<ModelDescription::Port> ports,
                          ArrayRef<std::string> symbols) {
  os << " *\n * " << title << ":\n";
  for (auto [index, port] : llvm::enumerate(ports)) {
    os << " *   [" << index << "] " << inComment(port.name) << ": " << port.type << " [";
    llvm::ListSeparator comma;
    for (auto [size, symbol] : llvm::zip(port.shape, port.symbols)) {
      os << comma;
      if (size >= 0)
        os << size;
      else
        os << (symbol < 0 ? "?" : inComment(symbols[symbol]));
    }
    os << "]\n";
  }
}

std::string mlir::quanta::getModelHeader(const ModelDescription &model, StringRef name) {
  std::string text;
  llvm::raw_string_ostream os(text);
  ::quanta::EmbeddedFile header = ::quanta::getEmbeddedHeader();
  // Not in capitals: names may differ only in case.
  std::string guard = ("QUANTA_MODEL_" + name + "_H").str();
  os << "/* " << name << ": a model compiled by Quanta. This file was generated and needs no other.\n"
     << " *\n * Recipe: " << (model.recipe.empty() ? "none" : inComment(model.recipe)) << "\n";
  describePorts(os, "Inputs", model.inputs, model.symbols);
  describePorts(os, "Outputs", model.outputs, model.symbols);
  if (model.cacheCapacity)
    os << " *\n * Key/value cache of " << model.cacheCapacity << " positions, " << model.cacheBytes
       << " bytes an instance: each run continues behind the runs before.\n";
  os << " *\n * Equal names of dimensions stand for equal sizes.\n */\n"
     << "#ifndef " << guard << "\n#define " << guard << "\n\n"
     << StringRef(reinterpret_cast<const char *>(header.data), header.size) << "\n"
     << "#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n"
     << "typedef struct " << name << "_model " << name << "_model;\n\n"
     << "/* Makes an instance. Null options are the defaults. */\n"
     << "int " << name << "_create(const quanta_options *options, " << name << "_model **model);\n"
     << "/* Runs it once on " << model.inputs.size() << " input(s) and gives " << model.outputs.size()
     << " output(s). An output whose data is null, or the model's own buffer of an\n"
     << " * earlier run, gets the model's buffer, valid until the next run; else the caller's buffer is filled. */\n"
     << "int " << name << "_run(" << name << "_model *model, const quanta_tensor *inputs, quanta_tensor *outputs);\n"
     << "/* Forgets all state: the key/value cache becomes empty. */\n"
     << "int " << name << "_reset(" << name << "_model *model);\n"
     << "void " << name << "_destroy(" << name << "_model *model);\n"
     << "const quanta_model_info *" << name << "_info(void);\n"
     << "/* Why the last call failed; null model: the calling thread's last create. */\n"
     << "const char *" << name << "_last_error(const " << name << "_model *model);\n\n"
     << "#ifdef __cplusplus\n}\n#endif\n#endif /* " << guard << " */\n";
  return text;
}
