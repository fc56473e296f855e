//===- quant-run.cpp - Runs a compiled model on .npz files ----------------------------------------------------------------===//
#include "quanta/Support/Compare.h"
#include "../ModelOptions.h"
#include "Generate.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/Support/FormatVariadic.h"
#include <algorithm>
#include <optional>

using namespace llvm;
using namespace quanta;

namespace {
struct Options : ModelOptions {
  cl::opt<std::string> inputs{"inputs", cl::desc("inputs: one case, or several with keys CASE.NAME"),
                              cl::value_desc("IN.npz"), in()};
  cl::opt<std::string> outputs{"outputs", cl::desc("write all outputs"), cl::value_desc("OUT.npz"), in()};
  cl::opt<std::string> expect{"expect", cl::desc("compare with these outputs; fails if one differs"),
                              cl::value_desc("REF.npz"), in()};
  cl::opt<double> rtol{"rtol", cl::desc("tolerance relative to the largest reference value (1e-4)"), cl::init(1e-4), in()};
  cl::opt<double> atol{"atol", cl::desc("absolute tolerance (0)"), cl::init(0), in()};
  cl::opt<unsigned> bench{"bench", cl::desc("time this many runs of each case after a warm-up"), cl::value_desc("N"), in()};
  cl::opt<int64_t> generate{"generate", cl::desc("continue --prompt by this many tokens, each the one of the largest logit"),
                            cl::value_desc("N"), in()};
  cl::opt<std::string> prompt{"prompt", cl::desc("token numbers"), cl::value_desc("IDS.npy|npz"), in()};
};

struct CheckedOutput {
  std::string name, type;
  std::optional<Comparison> comparison;
};

struct Timing {
  double median, min; // seconds
};

struct CaseResult {
  std::string name;
  std::vector<CheckedOutput> outputs;
  std::optional<Timing> timing;
};

class Runner {
public:
  Runner(const Options &options, CompiledModel &model) : options(options), model(model) {}

  Error run() {
    auto cases = readCases(options.inputs, model.getInputs());
    if (!cases)
      return cases.takeError();
    std::vector<NamedCase> expected;
    if (!options.expect.empty()) {
      auto read = readCases(options.expect, model.getOutputs());
      if (!read)
        return read.takeError();
      expected = std::move(*read);
      for (const NamedCase &reference : expected)
        if (none_of(*cases, [&](const NamedCase &c) { return c.name == reference.name; }))
          return userError("'" + options.expect + "' has the case '" + reference.name + "', but '" + options.inputs +
                           "' does not");
    }
    for (const NamedCase &one : *cases) {
      auto reference = find_if(expected, [&](const NamedCase &c) { return c.name == one.name; });
      if (!options.expect.empty() && reference == expected.end())
        return userError("'" + options.expect + "' lacks the case '" + one.name + "' of '" + options.inputs + "'");
      if (Error error = runCase(one, reference == expected.end() ? nullptr : &reference->arrays))
        return one.name.empty() ? std::move(error)
                                : userError("case '" + one.name + "': " + toString(std::move(error)));
    }
    return options.outputs.empty() ? Error::success() : writeNpz(options.outputs, written);
  }

  bool passed() const {
    return all_of(results, [](const CaseResult &result) {
      return all_of(result.outputs, [](const CheckedOutput &o) { return !o.comparison || o.comparison->passed; });
    });
  }

  void printText() const {
    for (const CaseResult &result : results) {
      std::string prefix = result.name.empty() ? "" : result.name + ": ";
      for (const CheckedOutput &output : result.outputs) {
        outs() << prefix << output.name << " " << output.type;
        if (const auto &c = output.comparison) {
          outs() << (c->passed ? formatv(" ok, error {0:e3}, tolerance {1:e3}", c->maxError, c->tolerance).str()
                               : " FAILED: " + c->problem);
        }
        outs() << "\n";
      }
      if (result.timing)
        outs() << prefix
               << formatv("median {0:f4} ms, min {1:f4} ms of {2} runs\n", result.timing->median * 1e3,
                          result.timing->min * 1e3, options.bench.getValue());
    }
  }

  void printJson() const {
    json::OStream os(outs(), 2);
    os.object([&] {
      os.attribute("model", model.getName());
      os.attribute("target", model.getTarget());
      os.attribute("recipe", model.getRecipe());
      os.attribute("passed", passed());
      os.attributeArray("cases", [&] {
        for (const CaseResult &result : results)
          os.object([&] { printJson(os, result); });
      });
    });
    outs() << "\n";
  }

private:
  static Expected<std::vector<NamedCase>> readCases(StringRef path, ArrayRef<Port> ports) {
    auto entries = readNpz(path);
    if (!entries)
      return entries.takeError();
    if (entries->empty() && ports.empty())
      return std::vector<NamedCase>(1);
    return groupCases(*entries, CompiledModel::getNames(ports), path);
  }

  Error runCase(const NamedCase &one, const ArrayMap *reference) {
    CaseResult result;
    result.name = one.name;
    if (Error error = model.reset())
      return error;
    auto arrays = model.run(one.arrays);
    if (!arrays)
      return arrays.takeError();
    for (const Port &port : model.getOutputs()) {
      const Array &array = arrays->at(port.name);
      written.emplace_back(one.name.empty() ? port.name : one.name + "." + port.name, array);
      CheckedOutput output{port.name, array.describe(), std::nullopt};
      if (auto found = reference ? reference->find(port.name) : ArrayMap::const_iterator();
          reference && found != reference->end())
        output.comparison = compare(array, found->second, options.rtol, options.atol);
      result.outputs.push_back(std::move(output));
    }
    if (options.bench > 0) {
      std::vector<double> times(options.bench);
      for (double &time : times) {
        if (Error error = model.reset())
          return error;
        if (auto again = model.run(one.arrays, &time); !again)
          return again.takeError();
      }
      sort(times);
      size_t half = times.size() / 2;
      result.timing = Timing{times.size() % 2 ? times[half] : (times[half - 1] + times[half]) / 2, times[0]};
    }
    results.push_back(std::move(result));
    return Error::success();
  }

  void printJson(json::OStream &os, const CaseResult &result) const {
    os.attribute("case", result.name);
    os.attributeArray("outputs", [&] {
      for (const CheckedOutput &output : result.outputs)
        os.object([&] {
          os.attribute("name", output.name);
          os.attribute("type", output.type);
          if (!output.comparison)
            return;
          os.attribute("passed", output.comparison->passed);
          os.attribute("max_error", jsonNumber(output.comparison->maxError));
          os.attribute("tolerance", jsonNumber(output.comparison->tolerance));
          if (!output.comparison->passed)
            os.attribute("problem", output.comparison->problem);
        });
    });
    if (result.timing)
      os.attributeObject("bench", [&] {
        os.attribute("runs", options.bench.getValue());
        os.attribute("median_ms", result.timing->median * 1e3);
        os.attribute("min_ms", result.timing->min * 1e3);
      });
  }

  const Options &options;
  CompiledModel &model;
  std::vector<CaseResult> results;
  NpzEntries written;
};

Error runGeneration(const Options &options, CompiledModel &model) {
  if (options.generate < 1)
    return userError("--generate must be at least 1");
  if (!options.inputs.empty() || !options.outputs.empty() || !options.expect.empty() || options.bench)
    return userError("--generate takes --prompt, not --inputs, --outputs, --expect or --bench");
  if (options.prompt.empty())
    return userError("--generate needs --prompt IDS.npy");
  auto prompt = readPrompt(options.prompt);
  if (!prompt)
    return prompt.takeError();
  auto result = generate(model, *prompt, options.generate);
  if (!result)
    return result.takeError();
  if (!options.json) {
    interleave(result->tokens, outs(), " ");
    outs() << formatv("\nprompt: {0} tokens in {1:f4} ms\n", result->promptTokens, result->promptSeconds * 1e3);
    if (double speed = result->getSpeed())
      outs() << formatv("then {0} tokens in {1:f4} ms: {2:f1} tokens/s\n", result->tokens.size() - 1, result->stepSeconds * 1e3, speed);
    return Error::success();
  }
  json::OStream os(outs(), 2);
  os.object([&] {
    os.attribute("model", model.getName());
    os.attribute("recipe", model.getRecipe());
    os.attribute("cache_bytes", model.getCacheBytes());
    os.attribute("prompt_tokens", result->promptTokens);
    os.attribute("prompt_ms", result->promptSeconds * 1e3);
    os.attribute("tokens_per_second", result->getSpeed());
    os.attributeArray("tokens", [&] {
      for (int64_t token : result->tokens)
        os.value(token);
    });
  });
  outs() << "\n";
  return Error::success();
}
} // namespace

int main(int argc, char **argv) {
  Options options;
  options.parse(argc, argv, "Runs a model on the arrays of an .npz file: outputs, comparison, timing\n");
  auto model = CompiledModel::load(options.model, options.get());
  if (!model)
    return reportError("quant-run", model.takeError());
  if (options.generate.getNumOccurrences() || !options.prompt.empty()) {
    if (Error error = runGeneration(options, **model))
      return reportError("quant-run", std::move(error));
    return 0;
  }
  if (options.inputs.empty())
    return reportError("quant-run", userError("give --inputs IN.npz, or --prompt IDS.npy and --generate N"));
  Runner runner(options, **model);
  if (Error error = runner.run())
    return reportError("quant-run", std::move(error));
  if (options.json)
    runner.printJson();
  else
    runner.printText();
  if (!runner.passed())
    return reportError("quant-run", userError("model '" + (*model)->getName() + "': outputs differ from '" +
                                              options.expect + "' by more than the tolerance"));
  return 0;
}
