//===- Data.cpp - Calibration data ----------------------------------------------------------------------------------------===//
#include "quanta/Calibrate/Data.h"
#include "llvm/ADT/DenseMap.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/FileSystem.h"
#include "llvm/Support/MemoryBuffer.h"
#include "llvm/Support/Path.h"
#include "llvm/Support/xxhash.h"
#include <cmath>
#include <random>

using namespace llvm;

namespace quanta {

//===- Windows ------------------------------------------------------------------------------------------------------------===//

std::vector<int64_t> chooseWindows(int64_t tokens, int64_t window, int64_t count, uint64_t seed) {
  assert(window > 0 && tokens >= window);
  std::mt19937_64 random(seed);
  // The standard's distributions differ between libraries; its generators do not.
  auto below = [&](uint64_t limit) {
    uint64_t tooFew = (0 - limit) % limit, value; // 2^64 mod limit
    do
      value = random();
    while (value < tooFew);
    return static_cast<int64_t>(value % limit);
  };
  int64_t windows = tokens / window;
  std::vector<int64_t> offsets;
  while (static_cast<int64_t>(offsets.size()) < count) {
    int64_t start = below(static_cast<uint64_t>(tokens - windows * window + 1));
    // A shuffle of which only the part that is used is carried out.
    DenseMap<int64_t, int64_t> moved;
    auto at = [&](int64_t i) {
      auto found = moved.find(i);
      return found == moved.end() ? i : found->second;
    };
    for (int64_t i = 0; i < windows && static_cast<int64_t>(offsets.size()) < count; ++i) {
      int64_t other = i + below(static_cast<uint64_t>(windows - i)), chosen = at(other);
      moved[other] = at(i);
      offsets.push_back(start + chosen * window);
    }
  }
  return offsets;
}

//===- Checks -------------------------------------------------------------------------------------------------------------===//

// What the arrays of a port are, as for CompiledModel.
static std::optional<DType> arrayTypeOf(quanta_type type) {
  switch (type) {
  case QUANTA_F32:
  case QUANTA_BF16:
    return DType::F32;
  case QUANTA_F16:
    return DType::F16;
  case QUANTA_F64:
    return DType::F64;
  case QUANTA_I8:
    return DType::I8;
  case QUANTA_U8:
    return DType::U8;
  case QUANTA_I16:
    return DType::I16;
  case QUANTA_U16:
    return DType::U16;
  case QUANTA_I32:
    return DType::I32;
  case QUANTA_U32:
    return DType::U32;
  case QUANTA_I64:
    return DType::I64;
  case QUANTA_U64:
    return DType::U64;
  case QUANTA_BOOL:
    return DType::Bool;
  }
  return std::nullopt;
}

static bool fits(ArrayRef<int64_t> shape, const Port &port) {
  return shape.size() == port.shape.size() && all_of(zip(shape, port.shape), [](auto sizes) {
           return std::get<1>(sizes) < 0 || std::get<0>(sizes) == std::get<1>(sizes);
         });
}

Error CalibrationData::check(CalibrationBatch &batch, const std::string &where) const {
  for (const Port &port : inputs) {
    Array &array = batch.arrays[port.name];
    auto refuse = [&](const Twine &why) {
      return userError(where + ", batch " + Twine(batch.number) + ": input '" + port.name + "' " + why);
    };
    if (!fits(array.getShape(), port))
      return refuse("is " + array.describe() + ", but the model takes " + port.describe());
    std::optional<DType> type = arrayTypeOf(port.type);
    if (!type)
      return refuse("has a type that calibration data cannot have");
    std::string described = array.describe();
    bool wasFloat = isFloat(array.getType());
    if (wasFloat != isFloat(*type) || (*type == DType::Bool) != (array.getType() == DType::Bool))
      return refuse("is " + described + ", but the model takes " + port.describe());
    auto checkFinite = [&](const Twine &what) -> Error {
      for (int64_t i = 0, count = wasFloat ? array.getElementCount() : 0; i < count; ++i)
        if (double value = array.getDouble(i); !std::isfinite(value))
          return refuse(what + (std::isnan(value) ? "NaN" : "an infinite value") + " at element " + Twine(i) +
                        "; remove the sample or repair the data");
      return Error::success();
    };
    if (Error error = checkFinite("holds "))
      return error;
    if (array.getType() == *type)
      continue;
    Expected<Array> converted = array.convertTo(*type);
    if (!converted)
      return refuse("does not fit: " + toString(converted.takeError()));
    array = std::move(*converted);
    // A finite number may be too large for a smaller type.
    if (Error error = checkFinite("as " + getName(*type) + " holds "))
      return error;
  }
  return Error::success();
}

/// What exporters' models take beside the tokens; as quant-eval has it.
static void supplyTokenInputs(ArrayRef<Port> inputs, ArrayMap &arrays) {
  auto tokens = arrays.find("input_ids");
  if (tokens == arrays.end() || tokens->second.getRank() != 2)
    return;
  std::vector<int64_t> shape = tokens->second.getShape().vec();
  size_t count = static_cast<size_t>(tokens->second.getElementCount());
  for (const Port &port : inputs) {
    if (arrays.count(port.name) || (port.name != "attention_mask" && port.name != "position_ids"))
      continue;
    std::vector<int64_t> values(count, 1);
    if (port.name == "position_ids")
      for (auto [i, value] : enumerate(values))
        value = static_cast<int64_t>(i) % shape[1];
    Array array = Array::copyOf<int64_t>(DType::I64, shape, values);
    std::optional<DType> type = arrayTypeOf(port.type);
    if (type && *type == DType::Bool && port.name == "attention_mask") // conversions to bool are refused
      array = Array::copyOf<uint8_t>(DType::Bool, shape, std::vector<uint8_t>(count, 1));
    else if (type && isFloat(*type)) {
      std::vector<float> floats(values.begin(), values.end());
      array = Array::copyOf<float>(DType::F32, shape, floats);
    }
    arrays[port.name] = std::move(array);
  }
}

//===- Opening ------------------------------------------------------------------------------------------------------------===//

int64_t CalibrationData::getFixedBatch() const {
  for (const Port &port : inputs)
    if (!port.shape.empty() && port.shape[0] >= 0)
      return port.shape[0];
  return -1;
}

const Port *CalibrationData::findTokenPort() const {
  for (const Port &port : inputs)
    if (port.name == "input_ids" || inputs.size() == 1)
      return &port;
  return nullptr;
}

Error CalibrationData::openStream(StringRef path) {
  Expected<Array> array = readNpy(path);
  if (!array)
    return array.takeError();
  if (array->getRank() != 1 || isFloat(array->getType()) || array->getType() == DType::Bool)
    return userError("'" + path + "' is " + array->describe() +
                     ", but a token stream is one-dimensional and of integers; put other data into an .npz file");
  const Port *port = findTokenPort();
  if (!port)
    return userError("'" + path + "' is a token stream, but the model has no input 'input_ids'; use an .npz file");
  for (const Port &other : inputs)
    if (&other != port && other.name != "attention_mask" && other.name != "position_ids")
      return userError("'" + path + "' is a token stream, but the model also takes '" + other.name +
                       "'; use an .npz file with all inputs");
  std::optional<DType> type = arrayTypeOf(port->type);
  if (port->shape.size() != 2 || !type || isFloat(*type) || *type == DType::Bool)
    return userError("'" + path + "' is a token stream, but input '" + port->name + "' is " + port->describe());
  if (port->shape[1] >= 0 && port->shape[1] != options.window)
    return userError("input '" + port->name + "' is " + port->describe() + ", but windows have " +
                     Twine(options.window) + " tokens; set --window to " + Twine(port->shape[1]));
  if (array->getElementCount() < options.window)
    return userError("'" + path + "' has " + Twine(array->getElementCount()) + " tokens, but a window has " +
                     Twine(options.window) + "; choose a smaller --window");
  int64_t count = options.samples, batch = options.batch;
  count += (batch - count % batch) % batch * (getFixedBatch() >= 0);
  offsets = chooseWindows(array->getElementCount(), options.window, count, options.seed);
  stream = std::move(*array);
  return Error::success();
}

Expected<CalibrationData> CalibrationData::open(StringRef path, const CalibrationOptions &options,
                                                ArrayRef<Port> inputs) {
  // Far beyond any use; keeps sums of sizes in range.
  constexpr int64_t kMax = int64_t(1) << 24;
  for (auto [option, value] : {std::pair<StringRef, int64_t>{"--calib-samples", options.samples},
                               {"--window", options.window},
                               {"the batch size", options.batch}})
    if (value < 1 || value > kMax)
      return userError(option + " must be between 1 and " + Twine(kMax));
  if (inputs.empty())
    return userError("'" + path + "' cannot be used: the model has no inputs");
  CalibrationData data;
  data.options = options;
  data.inputs = inputs.vec();
  int64_t fixed = data.getFixedBatch();
  if (fixed == 0 || fixed > kMax)
    return userError("the model takes batches of " + Twine(fixed) + " samples, which cannot be calibrated");
  if (fixed > 0)
    data.options.batch = fixed;

  if (sys::fs::is_directory(path)) {
    std::error_code code;
    for (sys::fs::directory_iterator it(path, code), end; it != end && !code; it.increment(code))
      if (StringRef(it->path()).ends_with(".npz"))
        data.files.push_back(it->path());
    if (code)
      return userError("'" + path + "' cannot be read: " + code.message());
    if (data.files.empty())
      return userError("'" + path + "' holds no .npz files");
    sort(data.files);
    return data;
  }
  if (!sys::fs::exists(path))
    return userError("'" + path + "' does not exist");
  data.files.push_back(path.str());
  if (path.ends_with(".npy")) {
    if (Error error = data.openStream(path))
      return std::move(error);
  } else if (!path.ends_with(".npz")) {
    return userError("'" + path +
                     "' is no calibration data; give an .npz file, a folder of them, or an .npy token stream");
  }
  return data;
}

Expected<uint64_t> CalibrationData::getFingerprint() const {
  std::string text =
      (Twine(options.samples) + "," + Twine(options.window) + "," + Twine(options.seed) + "," + Twine(options.batch))
          .str();
  for (const std::string &file : files) {
    auto bytes = MemoryBuffer::getFile(file, /*IsText=*/false, /*RequiresNullTerminator=*/false);
    if (!bytes)
      return userError("'" + file + "' cannot be read: " + bytes.getError().message());
    text += "," + utohexstr(xxh3_64bits((*bytes)->getBuffer()));
  }
  return xxh3_64bits(text);
}

//===- Batches ------------------------------------------------------------------------------------------------------------===//

void CalibrationData::seek(int64_t batch) {
  cases.clear();
  nextFile = nextCase = 0;
  caseSamples = caseAt = number = sample = 0;
  foundSamples = failed = false;
  firstBatch = batch;
}

Error CalibrationData::startCase() {
  NamedCase &current = cases[nextCase++];
  std::string where = "'" + files[nextFile - 1] + "'" + (current.name.empty() ? "" : ", case '" + current.name + "'");
  supplyTokenInputs(inputs, current.arrays);
  rowsAreSamples = true;
  std::optional<int64_t> rows;
  for (const Port &port : inputs) {
    auto found = current.arrays.find(port.name);
    if (found == current.arrays.end())
      return userError(where + ", batch " + Twine(number) + ": input '" + port.name + "' (" + port.describe() +
                       ") is missing");
    ArrayRef<int64_t> shape = found->second.getShape();
    if (shape.empty() || port.shape.empty() || (rows && *rows != shape[0]))
      rowsAreSamples = false;
    else
      rows = shape[0];
  }
  caseAt = 0;
  caseSamples = rowsAreSamples ? *rows : 1;
  if (rowsAreSamples && getFixedBatch() >= 0) {
    // Less than one batch is an error that check() describes.
    if (int64_t whole = caseSamples / options.batch * options.batch)
      caseSamples = whole;
  }
  return Error::success();
}

Expected<bool> CalibrationData::findCase() {
  std::vector<std::string> names = CompiledModel::getNames(inputs);
  while (caseAt == caseSamples) {
    if (nextCase < cases.size()) {
      if (nextCase) // its memory
        cases[nextCase - 1].arrays.clear();
      if (Error error = startCase())
        return std::move(error);
      continue;
    }
    cases.clear();
    nextCase = 0;
    caseAt = caseSamples = 0;
    if (nextFile == files.size())
      return false;
    const std::string &file = files[nextFile++];
    Expected<NpzEntries> entries = readNpz(file);
    if (!entries)
      return entries.takeError();
    auto isInput = [&](StringRef key) {
      return any_of(names, [&](const std::string &name) { return key == name || key.ends_with("." + name); });
    };
    // The usual name of a classifier's data, as for quant-eval.
    if (names.size() == 1 && none_of(*entries, [&](const auto &entry) { return isInput(entry.first); }))
      for (auto &entry : *entries)
        if (entry.first == "image")
          entry.first = names[0];
    erase_if(*entries, [&](const auto &entry) { return !isInput(entry.first); });
    if (entries->empty())
      return userError("'" + file + "' holds none of the model's inputs: " + join(names, ", "));
    Expected<std::vector<NamedCase>> grouped = groupCases(*entries, names, file);
    if (!grouped)
      return grouped.takeError();
    cases = std::move(*grouped);
  }
  return true;
}

Expected<std::optional<CalibrationBatch>> CalibrationData::next() {
  auto fail = [&](Error error) -> Error {
    failed = true;
    return error;
  };
  while (!failed) {
    CalibrationBatch batch;
    batch.number = number;
    batch.firstSample = sample;
    std::string where = "'" + files[0] + "'";
    if (stream) {
      batch.samples = std::min(options.batch, static_cast<int64_t>(offsets.size()) - sample);
      if (batch.samples <= 0)
        break;
      if (number >= firstBatch) {
        std::vector<int64_t> tokens;
        for (int64_t i = sample; i < sample + batch.samples; ++i)
          for (int64_t t = 0; t < options.window; ++t)
            if (tokens.push_back(stream->getInt(offsets[static_cast<size_t>(i)] + t)); tokens.back() < 0)
              return fail(userError(where + ", batch " + Twine(number) + ": token " +
                                    Twine(offsets[static_cast<size_t>(i)] + t) + " is negative"));
        const Port *port = findTokenPort();
        Array array = Array::copyOf<int64_t>(DType::I64, {batch.samples, options.window}, tokens);
        // The only input of a model may have any name, but the other inputs hang on this one.
        batch.arrays["input_ids"] = array;
        supplyTokenInputs(inputs, batch.arrays);
        batch.arrays.erase("input_ids");
        batch.arrays[port->name] = array;
      }
    } else {
      if (sample >= options.samples)
        break;
      Expected<bool> found = findCase();
      if (!found)
        return fail(found.takeError());
      if (!*found)
        break;
      batch.samples = std::min(options.batch, caseSamples - caseAt);
      if (getFixedBatch() < 0)
        batch.samples = std::min(batch.samples, options.samples - sample);
      NamedCase &current = cases[nextCase - 1];
      where = "'" + files[nextFile - 1] + "'" + (current.name.empty() ? "" : ", case '" + current.name + "'");
      if (number >= firstBatch)
        for (const Port &port : inputs) {
          const Array &array = current.arrays[port.name];
          batch.arrays[port.name] = rowsAreSamples ? array.slice(caseAt, caseAt + batch.samples) : array;
        }
      caseAt += batch.samples;
    }
    foundSamples = true;
    ++number;
    sample += batch.samples;
    if (batch.number < firstBatch)
      continue;
    if (Error error = check(batch, where))
      return fail(std::move(error));
    return std::optional(std::move(batch));
  }
  if (!failed && !foundSamples)
    return fail(userError("'" + files[0] + "'" + (files.size() > 1 ? " and the others" : "") + " hold no samples"));
  return std::optional<CalibrationBatch>();
}

} // namespace quanta
