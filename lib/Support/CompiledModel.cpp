//===- CompiledModel.cpp - Running a compiled model on arrays -------------------------------------------------------------===//
#include "quanta/Support/CompiledModel.h"
#include "quanta/Support/Half.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/SmallString.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/BinaryFormat/Magic.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/Program.h"
#include <chrono>
#include <dlfcn.h>

using namespace llvm;

namespace quanta {

namespace {
struct TypeRow {
  quanta_type type;
  DType array; // what the arrays of such a port are
  const char *name;
};
constexpr TypeRow kTypeRows[] = {
    {QUANTA_F32, DType::F32, "f32"}, {QUANTA_F16, DType::F16, "f16"},    {QUANTA_BF16, DType::F32, "bf16"},
    {QUANTA_I8, DType::I8, "i8"},    {QUANTA_U8, DType::U8, "u8"},       {QUANTA_I16, DType::I16, "i16"},
    {QUANTA_I32, DType::I32, "i32"}, {QUANTA_I64, DType::I64, "i64"},    {QUANTA_BOOL, DType::Bool, "bool"},
    {QUANTA_F64, DType::F64, "f64"}, {QUANTA_U16, DType::U16, "u16"},    {QUANTA_U32, DType::U32, "u32"},
    {QUANTA_U64, DType::U64, "u64"}};

const TypeRow *rowOf(quanta_type type) {
  const TypeRow *row = find_if(kTypeRows, [&](const TypeRow &r) { return r.type == type; });
  return row == std::end(kTypeRows) ? nullptr : row;
}

std::string listOf(ArrayRef<Port> ports) {
  return join(map_range(ports, [](const Port &p) { return "'" + p.name + "' (" + p.describe() + ")"; }), ", ");
}

Array toBfloat(const Array &array) {
  Array result = Array::zeros(DType::U16, array.getShape().vec());
  auto *out = reinterpret_cast<uint16_t *>(result.mutableData());
  for (float value : array.as<float>())
    *out++ = floatToBfloat(value);
  return result;
}

// A copy of what the model owns.
Array fromTensor(const quanta_tensor &tensor) {
  std::vector<int64_t> shape(tensor.shape, tensor.shape + tensor.rank);
  Array result = Array::zeros(rowOf(tensor.type)->array, std::move(shape));
  if (tensor.type != QUANTA_BF16) {
    std::copy_n(static_cast<const char *>(tensor.data), result.getByteSize(), result.mutableData());
    return result;
  }
  auto *out = reinterpret_cast<float *>(result.mutableData());
  for (int64_t i = 0; i < result.getElementCount(); ++i)
    out[i] = bfloatToFloat(static_cast<const uint16_t *>(tensor.data)[i]);
  return result;
}
} // namespace

std::optional<quanta_type> findPortType(StringRef name) {
  const TypeRow *row = find_if(kTypeRows, [&](const TypeRow &r) { return r.name == name; });
  return row == std::end(kTypeRows) ? std::nullopt : std::optional(row->type);
}

std::string Port::describe() const {
  std::string text;
  for (int64_t size : shape)
    text += (size < 0 ? "?" : std::to_string(size)) + "x";
  const TypeRow *row = rowOf(type);
  return text + (row ? row->name : "unknown");
}

std::vector<std::string> CompiledModel::getNames(ArrayRef<Port> ports) {
  std::vector<std::string> names;
  for (const Port &port : ports)
    names.push_back(port.name);
  return names;
}

Error CompiledModel::open(StringRef path, const Options &options) {
  SmallString<256> absolute(path); // without a slash dlopen would search the system's folders
  if (std::error_code error = sys::fs::make_absolute(absolute))
    return userError("'" + path + "': " + error.message());
  library = dlopen(absolute.c_str(), RTLD_NOW | RTLD_LOCAL);
  if (!library)
    return userError("'" + path + "' cannot be loaded: " + StringRef(dlerror()));
  api = static_cast<const quanta_api *>(dlsym(library, "quanta_api_table"));
  if (!api)
    return userError("'" + path + "' is not a model compiled by quantc: it has no quanta_api_table");
  if (api->abi != QUANTA_ABI)
    return userError("'" + path + "' has interface version " + Twine(api->abi) + ", but this tool has version " +
                     Twine(QUANTA_ABI) + "; compile the model again");
  info = api->info();
  auto copyPorts = [&](std::vector<Port> &to, const quanta_port *ports, int32_t count) {
    for (const quanta_port &port : ArrayRef(ports, static_cast<size_t>(count)))
      to.push_back({port.name, port.type, std::vector<int64_t>(port.shape, port.shape + port.rank)});
    return all_of(to, [](const Port &port) { return rowOf(port.type); });
  };
  if (!copyPorts(inputs, info->input, info->inputs) || !copyPorts(outputs, info->output, info->outputs))
    return userError("model '" + getName() + "' has an input or output of a type that this tool does not know");
  quanta_options settings = {};
  settings.threads = options.threads;
  settings.pin = options.pin;
  settings.weights_file = options.weightsFile.empty() ? nullptr : options.weightsFile.c_str();
  if (api->create(&settings, &model) != QUANTA_OK)
    return userError(api->last_error(nullptr));
  return Error::success();
}

Expected<std::unique_ptr<CompiledModel>> CompiledModel::load(StringRef path, const Options &options) {
  file_magic magic;
  if (std::error_code error = identify_magic(path, magic))
    return userError("'" + path + "' cannot be read: " + error.message());
  std::string temporary;
  if (magic != file_magic::elf_shared_object) {
    Expected<std::string> compiled = compileToTemporaryLibrary(path, options.compileFlags);
    if (!compiled)
      return compiled.takeError();
    temporary = std::move(*compiled);
  }
  std::unique_ptr<CompiledModel> result(new CompiledModel);
  Error error = result->open(temporary.empty() ? path : StringRef(temporary), options);
  if (!temporary.empty())
    sys::fs::remove(temporary); // what is mapped stays
  if (error)
    return std::move(error);
  return result;
}

CompiledModel::~CompiledModel() {
  if (model)
    api->destroy(model);
  if (library)
    dlclose(library);
}

Expected<ArrayMap> CompiledModel::run(const ArrayMap &arrays, double *seconds) {
  auto fail = [&](const Twine &why) { return userError("model '" + getName() + "': " + why); };
  for (const auto &entry : arrays)
    if (none_of(inputs, [&](const Port &port) { return port.name == entry.first; }))
      return fail("has no input '" + entry.first + "'; its inputs are " + listOf(inputs));

  std::vector<Array> converted; // kept alive during the run
  std::vector<quanta_tensor> tensors;
  for (const Port &port : inputs) {
    auto found = arrays.find(port.name);
    if (found == arrays.end())
      return fail("input '" + port.name + "' (" + port.describe() + ") is missing");
    Expected<Array> array = found->second.convertTo(rowOf(port.type)->array);
    if (!array)
      return fail("input '" + port.name + "' must be " + port.describe() + ": " + toString(array.takeError()));
    if (array->getRank() > QUANTA_MAX_RANK)
      return fail("input '" + port.name + "' must be " + port.describe() + ", got " + array->describe());
    converted.push_back(port.type == QUANTA_BF16 ? toBfloat(*array) : *array);
    const Array &last = converted.back();
    quanta_tensor tensor = {};
    tensor.data = const_cast<char *>(last.data());
    tensor.type = port.type;
    tensor.rank = static_cast<int32_t>(last.getRank());
    copy(last.getShape(), tensor.shape);
    tensor.bytes = static_cast<int64_t>(last.getByteSize());
    tensors.push_back(tensor);
  }

  std::vector<quanta_tensor> results(outputs.size());
  auto start = std::chrono::steady_clock::now();
  int status = api->run(model, tensors.data(), results.data());
  std::chrono::duration<double> elapsed = std::chrono::steady_clock::now() - start;
  if (status != QUANTA_OK)
    return userError(api->last_error(model));
  if (seconds)
    *seconds = elapsed.count();
  ArrayMap map;
  for (auto [port, tensor] : zip_equal(outputs, results))
    map[port.name] = fromTensor(tensor);
  return map;
}

Error CompiledModel::reset() {
  if (api->reset(model) != QUANTA_OK)
    return userError(api->last_error(model));
  return Error::success();
}

Expected<std::string> compileToTemporaryLibrary(StringRef model, ArrayRef<std::string> flags) {
  static int anchor; // finds the executable where /proc is missing
  SmallString<256> compiler(sys::fs::getMainExecutable(nullptr, &anchor));
  sys::path::remove_filename(compiler);
  sys::path::append(compiler, "quantc");
  if (!sys::fs::can_execute(compiler))
    return userError("'" + model + "' is not a compiled model, and there is no quantc at '" + compiler +
                     "' to compile it with");
  SmallString<256> output;
  if (std::error_code error = sys::fs::createTemporaryFile("quanta", "so", output))
    return userError("no temporary file for '" + model + "': " + error.message());
  SmallVector<StringRef> arguments = {compiler, model, "-o", output};
  arguments.append(flags.begin(), flags.end());
  std::string problem;
  // Standard output belongs to the caller's own result.
  int status = sys::ExecuteAndWait(compiler, arguments, std::nullopt, {std::nullopt, StringRef(""), std::nullopt},
                                   /*SecondsToWait=*/0, /*MemoryLimit=*/0, &problem);
  if (status == 0)
    return std::string(output);
  sys::fs::remove(output);
  if (status > 0)
    return userError("'" + model + "' could not be compiled; quantc said why");
  return userError("'" + model + "' could not be compiled: quantc failed: " + problem);
}

} // namespace quanta
