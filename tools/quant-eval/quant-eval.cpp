//===- quant-eval.cpp - Task metrics of a model on real data --------------------------------------------------------------===//
//
// Definitions.
//   perplexity  The token stream is cut into consecutive windows, each an independent sequence (a last partial one is
//               dropped); the logits at a position predict the next token of the window. exp(mean negative log-likelihood)
//               over all predicted tokens, the log-softmax in double precision.
//   top1        Share of samples whose largest logit is the label's; the first of equal ones counts.
//   --reference KL: mean over predictions of KL(reference ‖ model) of the softmax, in nats. Flips: share of predictions
//               whose largest logit differs. The standard error of the difference of the metric is a paired one: over
//               windows (of the mean log-likelihood) or samples (of being right).
//
//===----------------------------------------------------------------------------------------------------------------------===//
#include "../ModelOptions.h"
#include "quanta/Support/TokenModel.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include "llvm/Support/Parallel.h"
#include <algorithm>
#include <chrono>
#include <optional>

using namespace llvm;
using namespace quanta;

namespace {
enum class Task { Perplexity, Top1 };

struct Options : ModelOptions {
  cl::opt<Task> task{"task", cl::desc("what to measure"), cl::Required,
                     cl::values(clEnumValN(Task::Perplexity, "perplexity", "of a decoder on a token stream (--tokens)"),
                                clEnumValN(Task::Top1, "top1", "accuracy of a classifier (--data)")),
                     in()};
  cl::opt<std::string> tokens{"tokens", cl::desc("one-dimensional array of token numbers"), cl::value_desc("IDS.npy"), in()};
  cl::opt<int64_t> window{"window", cl::desc("tokens of a sequence (256)"), cl::init(256), in()};
  cl::opt<int64_t> chunk{"chunk", cl::desc("give a model with a key/value cache so many tokens of a window at a time"), in()};
  cl::opt<bool> perWindow{"per-window", cl::desc("with perplexity: also the mean negative log-likelihood of each window"), in()};
  cl::opt<std::string> data{"data", cl::desc("arrays 'image' (or the input's name), 'label' and, for --groups, 'group'"),
                            cl::value_desc("D.npz"), in()};
  cl::opt<bool> groups{"groups", cl::desc("accuracy of each group and of the worst one"), in()};
  cl::opt<int64_t> limit{"limit", cl::desc("use only the first windows or samples"), cl::value_desc("N"), in()};
  cl::opt<std::string> reference{"reference", cl::desc("compare with this model"), cl::value_desc("MODEL"), in()};
};

//===- Running ------------------------------------------------------------------------------------------------------------===//

Error modelError(const CompiledModel &model, const Twine &why) {
  return userError("model '" + model.getName() + "': " + why);
}

/// Runs a model on rows of its inputs and returns its logits.
class Predictor {
public:
  /// `windows` is [windows, tokens] of i64, of which the model gets `chunk` tokens at a time (0: all).
  static Expected<Predictor> forTokens(CompiledModel &model, const Array &windows, int64_t chunk) {
    Predictor result(model);
    int64_t length = windows.getShape()[1];
    Expected<TokenModel> tokens = TokenModel::get(model);
    if (!tokens)
      return tokens.takeError();
    const Port &port = tokens->getIds();
    if (port.shape[1] >= 0 && port.shape[1] != length)
      return modelError(model, "input '" + port.name + "' is " + port.describe() + ", but windows have " + Twine(length) +
                                   " tokens; choose another --window");
    if (chunk && !tokens->hasCache())
      return modelError(model, "keeps no keys and values between the parts of a window; compile it with --recipe kv, or "
                               "leave out --chunk");
    result.inputs[port.name] = windows;
    result.logits = &tokens->getLogits();
    result.tokens = std::move(*tokens);
    result.chunk = chunk ? std::min(chunk, length) : length;
    return result.checkBatch();
  }

  /// `samples` is what the only input takes, for all samples.
  static Expected<Predictor> forSamples(CompiledModel &model, const Array &samples) {
    Predictor result(model);
    const Port &port = model.getInputs()[0];
    if (port.shape.empty() || samples.getRank() != static_cast<int64_t>(port.shape.size()))
      return modelError(model, "input '" + port.name + "' is " + port.describe() + ", the samples are " +
                                   samples.describe());
    result.inputs[port.name] = samples;
    return result.findLogits(2);
  }

  const CompiledModel &getModel() const { return *model; }

  /// Classes, or -1 if the model does not say.
  int64_t getClassCount() const { return logits->shape.back(); }

  /// f32 logits of rows [begin, end).
  Expected<Array> predict(int64_t begin, int64_t end) {
    int64_t fixed = fixedBatch();
    if (fixed < 0 || fixed == end - begin)
      return predictBatch(begin, end, end - begin);
    std::vector<float> values;
    std::vector<int64_t> shape;
    for (int64_t at = begin; at < end; at += fixed) {
      Expected<Array> part = predictBatch(at, std::min(at + fixed, end), fixed);
      if (!part)
        return part;
      append_range(values, part->as<float>());
      shape = part->getShape().vec();
    }
    shape[0] = end - begin;
    return Array::copyOf<float>(DType::F32, shape, values);
  }

private:
  explicit Predictor(CompiledModel &model) : model(&model) {}

  /// The output of this rank, by preference the one called "logits".
  Expected<Predictor> findLogits(size_t rank) {
    for (const Port &port : model->getOutputs())
      if (port.shape.size() == rank && (!logits || port.name == "logits"))
        logits = &port;
    if (!logits)
      return modelError(*model, "has no output of " + Twine(rank) + " dimensions that could be logits");
    return checkBatch();
  }

  Expected<Predictor> checkBatch() {
    if (fixedBatch() == 0)
      return modelError(*model, "takes empty batches only");
    return *this;
  }

  /// The batch size that the model was compiled for, or -1.
  int64_t fixedBatch() const {
    for (const Port &port : model->getInputs())
      if (!port.shape.empty() && port.shape[0] >= 0)
        return port.shape[0];
    return -1;
  }

  /// Fills up with copies of the last row to `size` rows.
  static Array padded(const Array &rows, int64_t size) {
    int64_t count = rows.getShape()[0];
    std::vector<int64_t> shape = rows.getShape().vec();
    shape[0] = size;
    Array result = Array::zeros(rows.getType(), shape);
    size_t width = rows.getByteSize() / static_cast<size_t>(count);
    for (int64_t row = 0; row < size; ++row)
      std::copy_n(rows.data() + static_cast<size_t>(std::min(row, count - 1)) * width, width,
                  result.mutableData() + static_cast<size_t>(row) * width);
    return result;
  }

  Expected<Array> predictBatch(int64_t begin, int64_t end, int64_t size) {
    ArrayMap feed;
    for (const auto &[name, rows] : inputs) {
      Array batch = rows.slice(begin, end);
      feed[name] = size == end - begin ? batch : padded(batch, size);
    }
    if (Error error = model->reset())
      return std::move(error);
    if (tokens) {
      Expected<Array> result = predictTokens(feed.begin()->second);
      return result ? result->slice(0, end - begin) : std::move(result);
    }
    Expected<ArrayMap> outputs = model->run(feed);
    if (!outputs)
      return outputs.takeError();
    const Array &array = outputs->at(logits->name);
    if (array.getRank() != static_cast<int64_t>(logits->shape.size()) || array.getShape()[0] != size ||
        array.getShape().back() == 0)
      return modelError(*model, "output '" + logits->name + "' is " + array.describe() + " for a batch of " + Twine(size));
    Expected<Array> floats = array.convertTo(DType::F32);
    if (!floats)
      return modelError(*model, "output '" + logits->name + "' cannot be logits: " + toString(floats.takeError()));
    return floats->slice(0, end - begin);
  }

  /// Logits of whole windows [batch, length], from runs on parts of them.
  Expected<Array> predictTokens(const Array &windows) {
    int64_t batch = windows.getShape()[0], length = windows.getShape()[1];
    if (chunk >= length)
      return tokens->run(windows, 0);
    ArrayRef<int64_t> ids = windows.as<int64_t>();
    Array result;
    for (int64_t at = 0; at < length; at += chunk) {
      int64_t count = std::min(chunk, length - at);
      std::vector<int64_t> part;
      for (int64_t row = 0; row < batch; ++row)
        append_range(part, ids.slice(static_cast<size_t>(row * length + at), static_cast<size_t>(count)));
      Expected<Array> logits = tokens->run(Array::copyOf<int64_t>(DType::I64, {batch, count}, part), at);
      if (!logits)
        return logits;
      int64_t classes = logits->getShape()[2];
      if (at == 0)
        result = Array::zeros(DType::F32, {batch, length, classes});
      if (result.getShape()[2] != classes)
        return modelError(*model, "output '" + this->logits->name + "' changes its last size");
      size_t token = static_cast<size_t>(classes) * sizeof(float), bytes = static_cast<size_t>(count) * token;
      for (int64_t row = 0; row < batch; ++row)
        std::copy_n(logits->data() + static_cast<size_t>(row) * bytes, bytes,
                    result.mutableData() + static_cast<size_t>(row * length + at) * token);
    }
    return result;
  }

  CompiledModel *model;
  ArrayMap inputs;
  const Port *logits = nullptr;
  std::optional<TokenModel> tokens; ///< of a decoder
  int64_t chunk = 0;                ///< tokens of a run
};

//===- Scores -------------------------------------------------------------------------------------------------------------===//

/// Logits of one prediction and what is derived from them.
struct Prediction {
  ArrayRef<float> logits;
  size_t best;   // the first of the largest
  double logSum; // log Σ exp; not finite if a logit is NaN or +infinity, or all are -infinity

  explicit Prediction(ArrayRef<float> logits) : logits(logits) {
    best = static_cast<size_t>(std::max_element(logits.begin(), logits.end()) - logits.begin());
    double sum = 0;
    for (float logit : logits)
      sum += std::exp(logit - static_cast<double>(logits[best]));
    logSum = logits[best] + std::log(sum);
  }
  double logProbability(size_t c) const { return logits[c] - logSum; }
};

/// KL(p ‖ q) in nats.
double divergence(const Prediction &p, const Prediction &q) {
  double sum = 0;
  for (size_t c = 0; c < p.logits.size(); ++c)
    if (double mass = std::exp(p.logProbability(c)); mass > 0)
      sum += mass * (p.logProbability(c) - q.logProbability(c));
  return sum;
}

/// Means over the predictions of one row: a window or a sample.
struct RowScore {
  double nll = 0, right = 0;
  // Against the reference.
  double referenceNll = 0, referenceRight = 0, divergence = 0, flips = 0;
};

/// `reference` is empty or as long as `logits`, which holds a vector of logits for each target, and maybe more.
RowScore scoreRow(ArrayRef<float> logits, ArrayRef<float> reference, size_t classes, ArrayRef<int64_t> targets) {
  RowScore score;
  double share = 1.0 / static_cast<double>(targets.size());
  for (auto [i, target] : enumerate(targets)) {
    size_t label = static_cast<size_t>(target);
    Prediction mine(logits.slice(i * classes, classes));
    score.nll -= mine.logProbability(label) * share;
    score.right += (mine.best == label) * share;
    if (reference.empty())
      continue;
    Prediction theirs(reference.slice(i * classes, classes));
    score.referenceNll -= theirs.logProbability(label) * share;
    score.referenceRight += (theirs.best == label) * share;
    score.divergence += divergence(theirs, mine) * share;
    score.flips += (theirs.best != mine.best) * share;
  }
  return score;
}

/// Scores all rows, `batch` at a time. `targets` is [rows, predictions] of i64.
Expected<std::vector<RowScore>> scoreRows(Predictor &model, Predictor *reference, const Array &targets, int64_t batch,
                                          StringRef what) {
  int64_t rows = targets.getShape()[0], predictions = targets.getShape()[1];
  std::vector<RowScore> scores(static_cast<size_t>(rows));
  ArrayRef<int64_t> labels = targets.as<int64_t>();
  int64_t largest = *std::max_element(labels.begin(), labels.end());
  auto checkClasses = [&](const Predictor &predictor, int64_t classes) {
    return classes < 0 || largest < classes
               ? Error::success()
               : modelError(predictor.getModel(), "tells " + Twine(classes) + " classes apart, but the data has " +
                                                      Twine(largest));
  };
  for (Predictor *predictor : {&model, reference ? reference : &model})
    if (Error error = checkClasses(*predictor, predictor->getClassCount()))
      return std::move(error);

  for (int64_t begin = 0; begin < rows; begin += batch) {
    int64_t end = std::min(begin + batch, rows);
    Expected<Array> logits = model.predict(begin, end);
    if (!logits)
      return logits.takeError();
    int64_t classes = logits->getShape().back();
    if (Error error = checkClasses(model, classes))
      return std::move(error);
    int64_t width = logits->getElementCount() / (end - begin);
    if (width < predictions * classes)
      return modelError(model.getModel(), "returned " + logits->describe() + " for " + Twine(predictions) +
                                              " predictions a " + what);
    std::optional<Array> other;
    if (reference) {
      Expected<Array> predicted = reference->predict(begin, end);
      if (!predicted)
        return predicted.takeError();
      other = std::move(*predicted);
      if (other->getShape() != logits->getShape())
        return modelError(model.getModel(), "returned " + logits->describe() + ", the reference " + other->describe());
    }
    // Each row has its own place, so the result does not depend on the number of threads.
    parallelFor(0, static_cast<size_t>(end - begin), [&](size_t i) {
      auto rowOf = [&](const Array &array) { return array.as<float>().slice(i * static_cast<size_t>(width), static_cast<size_t>(width)); };
      size_t row = static_cast<size_t>(begin) + i;
      scores[row] = scoreRow(rowOf(*logits), other ? rowOf(*other) : ArrayRef<float>(), static_cast<size_t>(classes),
                             labels.slice(row * static_cast<size_t>(predictions), static_cast<size_t>(predictions)));
    });
    for (int64_t row = begin; row < end; ++row) {
      const RowScore &score = scores[static_cast<size_t>(row)];
      if (!std::isfinite(score.nll))
        return modelError(model.getModel(), "the logits of " + what + " " + Twine(row) + " are not finite");
      if (!std::isfinite(score.referenceNll))
        return modelError(reference->getModel(), "the logits of " + what + " " + Twine(row) + " are not finite");
    }
  }
  return scores;
}

/// Mean, and the standard error of the mean of independent values.
struct Estimate {
  double mean = 0, error = 0;

  template <typename Fn> static Estimate of(ArrayRef<RowScore> rows, Fn value) {
    Estimate result;
    double n = static_cast<double>(rows.size()), squares = 0;
    for (const RowScore &row : rows)
      result.mean += value(row);
    result.mean /= n;
    for (const RowScore &row : rows)
      squares += std::pow(value(row) - result.mean, 2);
    result.error = n > 1 ? std::sqrt(squares / (n - 1) / n) : 0;
    return result;
  }
};

//===- Tasks --------------------------------------------------------------------------------------------------------------===//

/// Names and values in the order they are printed.
using Report = std::vector<std::pair<std::string, json::Value>>;

json::Value toObject(Report report) {
  json::Object object;
  for (auto &[name, value] : report)
    object[name] = std::move(value);
  return object;
}

class Evaluation {
public:
  Evaluation(const Options &options, CompiledModel &model, CompiledModel *reference)
      : options(options), model(model), reference(reference) {}

  Expected<Report> run() { return options.task == Task::Perplexity ? perplexity() : top1(); }

private:
  int64_t limited(int64_t count) const { return options.limit > 0 ? std::min<int64_t>(count, options.limit) : count; }

  template <typename Fn>
  Expected<std::vector<RowScore>> score(Fn makePredictor, const Array &targets, int64_t batch, StringRef what) {
    Expected<Predictor> mine = makePredictor(model);
    if (!mine)
      return mine.takeError();
    if (!reference)
      return scoreRows(*mine, nullptr, targets, batch, what);
    Expected<Predictor> theirs = makePredictor(*reference);
    if (!theirs)
      return theirs.takeError();
    return scoreRows(*mine, &*theirs, targets, batch, what);
  }

  /// Adds what both tasks say about the reference.
  void addReference(Report &report, Report metric, ArrayRef<RowScore> scores) const {
    if (!reference)
      return;
    metric.insert(metric.begin(), {"model", reference->getName().str()});
    metric.emplace_back("kl", jsonNumber(Estimate::of(scores, [](const RowScore &s) { return s.divergence; }).mean));
    metric.emplace_back("flips", Estimate::of(scores, [](const RowScore &s) { return s.flips; }).mean);
    report.emplace_back("reference", toObject(std::move(metric)));
  }

  Expected<Report> perplexity() {
    if (options.tokens.empty())
      return userError("--task perplexity needs --tokens IDS.npy");
    if (options.window < 2)
      return userError("--window must be at least 2: the first token of a window is not predicted");
    if (options.chunk < 0)
      return userError("--chunk must not be negative");
    Expected<Array> read = readNpy(options.tokens);
    if (!read)
      return read.takeError();
    if (read->getRank() != 1 || isFloat(read->getType()))
      return userError("'" + options.tokens + "' is " + read->describe() + ", not a one-dimensional array of integers");
    Expected<Array> tokens = read->convertTo(DType::I64);
    if (!tokens)
      return userError("'" + options.tokens + "': " + toString(tokens.takeError()));
    int64_t length = options.window, count = limited(tokens->getElementCount() / length);
    if (count == 0)
      return userError("'" + options.tokens + "' has fewer tokens than a window of " + Twine(length));
    ArrayRef<int64_t> ids = tokens->as<int64_t>().take_front(static_cast<size_t>(count * length));
    if (any_of(ids, [](int64_t id) { return id < 0; }))
      return userError("'" + options.tokens + "' has a negative token");
    Array windows = tokens->slice(0, count * length).reshaped({count, length});
    std::vector<int64_t> next;
    for (int64_t w = 0; w < count; ++w)
      append_range(next, ids.slice(static_cast<size_t>(w * length + 1), static_cast<size_t>(length - 1)));
    Array targets = Array::copyOf<int64_t>(DType::I64, {count, length - 1}, next);

    // A reference without a cache sees whole windows.
    auto forTokens = [&](CompiledModel &m, const Array &all) {
      return Predictor::forTokens(m, all, &m == &model || m.getCacheCapacity() ? options.chunk.getValue() : 0);
    };
    auto scores = score([&](CompiledModel &m) { return forTokens(m, windows); }, targets, 8, "window");
    if (!scores)
      return scores.takeError();
    Estimate nll = Estimate::of(*scores, [](const RowScore &s) { return s.nll; });
    Estimate other = Estimate::of(*scores, [](const RowScore &s) { return s.referenceNll; });
    Estimate change = Estimate::of(*scores, [](const RowScore &s) { return s.nll - s.referenceNll; });
    Report report = {{"task", "perplexity"},
                     {"perplexity", jsonNumber(std::exp(nll.mean))},
                     {"nll", nll.mean},
                     {"nll_stderr", nll.error},
                     {"windows", count},
                     {"window", length},
                     {"cache_bytes", model.getCacheBytes()},
                     {"predictions", count * (length - 1)}};
    if (options.perWindow)
      report.emplace_back("window_nll", json::Array(map_range(*scores, [](const RowScore &s) { return json::Value(s.nll); })));
    addReference(report,
                 {{"perplexity", jsonNumber(std::exp(other.mean))},
                  {"nll_difference", change.mean},
                  {"nll_difference_stderr", change.error}},
                 *scores);
    return report;
  }

  /// The array under the first of these keys that is there.
  Expected<Array> find(const NpzEntries &entries, ArrayRef<StringRef> keys) const {
    for (StringRef key : keys)
      for (const auto &[name, array] : entries)
        if (name == key)
          return array;
    return userError("'" + options.data + "' has no array '" + keys[0] + "'");
  }

  /// One integer a sample.
  Expected<Array> findIntegers(const NpzEntries &entries, ArrayRef<StringRef> keys, int64_t samples) const {
    Expected<Array> array = find(entries, keys);
    if (!array)
      return array;
    if (isFloat(array->getType()) || array->getRank() != 1 || array->getShape()[0] != samples)
      return userError("'" + options.data + "': '" + keys[0] + "' is " + array->describe() + ", but must hold one integer " +
                       "for each of the " + Twine(samples) + " samples");
    return array->convertTo(DType::I64);
  }

  Expected<Report> top1() {
    if (options.data.empty())
      return userError("--task top1 needs --data D.npz");
    if (model.getInputs().size() != 1)
      return modelError(model, "has " + Twine(model.getInputs().size()) + " inputs; --task top1 needs a model with one");
    Expected<NpzEntries> entries = readNpz(options.data);
    if (!entries)
      return entries.takeError();
    const Port &port = model.getInputs()[0];
    Expected<Array> samples = find(*entries, {port.name, "image", "images"});
    if (!samples)
      return userError(toString(samples.takeError()) + ", nor 'image'");
    if (samples->getRank() == 0 || samples->getElementCount() == 0)
      return userError("'" + options.data + "' has no samples");
    if (!isFloat(samples->getType()) && (port.type == QUANTA_F32 || port.type == QUANTA_F16 || port.type == QUANTA_BF16))
      return userError("'" + options.data + "': the samples are " + samples->describe() + ", but input '" + port.name +
                       "' of model '" + model.getName() + "' is " + port.describe() +
                       "; normalise them as the model was trained");
    int64_t all = samples->getShape()[0], count = limited(all);
    Expected<Array> labels = findIntegers(*entries, {"label", "labels"}, all);
    if (!labels)
      return labels.takeError();
    if (any_of(labels->as<int64_t>(), [](int64_t label) { return label < 0; }))
      return userError("'" + options.data + "' has a negative label");
    std::optional<Array> groups;
    if (options.groups) {
      Expected<Array> found = findIntegers(*entries, {"group", "groups"}, all);
      if (!found)
        return found.takeError();
      groups = *found;
    }

    Array used = samples->slice(0, count);
    Array targets = labels->slice(0, count).reshaped({count, 1});
    auto makePredictor = [&](CompiledModel &m) -> Expected<Predictor> {
      if (m.getInputs().size() != 1)
        return modelError(m, "has " + Twine(m.getInputs().size()) + " inputs; --task top1 needs a model with one");
      return Predictor::forSamples(m, used);
    };
    auto scores = score(makePredictor, targets, 100, "sample");
    if (!scores)
      return scores.takeError();
    Estimate right = Estimate::of(*scores, [](const RowScore &s) { return s.right; });
    Estimate other = Estimate::of(*scores, [](const RowScore &s) { return s.referenceRight; });
    Estimate change = Estimate::of(*scores, [](const RowScore &s) { return s.right - s.referenceRight; });
    Report report = {
        {"task", "top1"}, {"top1", right.mean}, {"top1_stderr", right.error}, {"samples", count}};
    if (groups)
      addGroups(report, *scores, groups->as<int64_t>());
    addReference(report,
                 {{"top1", other.mean}, {"top1_difference", change.mean}, {"top1_difference_stderr", change.error}},
                 *scores);
    return report;
  }

  static void addGroups(Report &report, ArrayRef<RowScore> scores, ArrayRef<int64_t> groups) {
    std::map<int64_t, std::pair<double, int64_t>> counts; // group -> (right, samples)
    for (auto [score, group] : zip_first(scores, groups)) {
      counts[group].first += score.right;
      ++counts[group].second;
    }
    json::Array rows;
    const std::pair<const int64_t, std::pair<double, int64_t>> *worst = nullptr;
    auto accuracy = [](const auto &entry) { return entry.second.first / static_cast<double>(entry.second.second); };
    for (const auto &entry : counts) {
      rows.push_back(toObject({{"group", entry.first}, {"top1", accuracy(entry)}, {"samples", entry.second.second}}));
      if (!worst || accuracy(entry) < accuracy(*worst))
        worst = &entry;
    }
    report.emplace_back("worst_group", toObject({{"group", worst->first}, {"top1", accuracy(*worst)}}));
    report.emplace_back("groups", std::move(rows));
  }

  const Options &options;
  CompiledModel &model;
  CompiledModel *reference;
};

void printText(const json::Value &value, const Twine &name) {
  if (const json::Object *object = value.getAsObject()) {
    std::map<StringRef, const json::Value *> sorted;
    for (const auto &entry : *object)
      sorted[entry.first] = &entry.second;
    for (const auto &[key, element] : sorted)
      printText(*element, name + "." + key);
  } else if (const json::Array *array = value.getAsArray()) {
    for (const json::Value &element : *array)
      outs() << name << ": " << element << "\n";
  } else if (auto text = value.getAsString()) {
    outs() << name << ": " << *text << "\n";
  } else if (auto integer = value.getAsInteger()) {
    outs() << name << ": " << *integer << "\n";
  } else if (auto number = value.getAsNumber()) {
    outs() << name << formatv(": {0:f6}\n", *number);
  } else {
    outs() << name << ": not finite\n";
  }
}

Expected<Report> evaluate(const Options &options) {
  if (options.limit < 0)
    return userError("--limit must not be negative");
  auto model = CompiledModel::load(options.model, options.get());
  if (!model)
    return model.takeError();
  std::unique_ptr<CompiledModel> reference;
  if (!options.reference.empty()) {
    // The recipe belongs to the model: a reference that has to be compiled first stays in float.
    CompiledModel::Options settings = options.get();
    settings.weightsFile.clear();
    settings.compileFlags.clear();
    for (const std::string &dim : options.dims)
      settings.compileFlags.insert(settings.compileFlags.end(), {"--dim", dim});
    auto loaded = CompiledModel::load(options.reference, settings);
    if (!loaded)
      return loaded.takeError();
    reference = std::move(*loaded);
  }
  auto start = std::chrono::steady_clock::now();
  Expected<Report> report = Evaluation(options, **model, reference.get()).run();
  if (!report)
    return report;
  // A copy: the name itself goes away with the library.
  report->insert(report->begin(), {"model", (*model)->getName().str()});
  report->emplace_back("seconds", std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  return report;
}
} // namespace

int main(int argc, char **argv) {
  Options options;
  options.parse(argc, argv, "Measures what a model is for: perplexity or accuracy, alone or against a reference\n");
  Expected<Report> report = evaluate(options);
  if (!report)
    return reportError("quant-eval", report.takeError());
  if (!options.json) {
    for (const auto &[name, value] : *report)
      printText(value, name);
    return 0;
  }
  json::OStream os(outs(), 2);
  os.object([&] {
    for (const auto &[name, value] : *report)
      os.attribute(name, value);
  });
  outs() << "\n";
  return 0;
}
