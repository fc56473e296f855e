//===- Recipes.cpp - Named quantization pipelines -----------------------------------------------------------------------===//
#include "quanta/Pipelines/Recipes.h"
#include "quanta/Support/Error.h"
#include "quanta/Transforms/ActivationForm.h"
#include "llvm/ADT/STLExtras.h"
#include "llvm/ADT/StringExtras.h"
#include "llvm/Support/Regex.h"
#include "llvm/Support/raw_ostream.h"

using namespace mlir::quanta;
using llvm::StringRef;
using llvm::Twine;
using ::quanta::userError;

//===- The table ----------------------------------------------------------------------------------------------------------===//

/// Pass options end at spaces and braces, unless quoted.
static std::string quote(StringRef value) {
  if (value.find_first_of(" {}'\",()") == StringRef::npos)
    return value.str();
  return (value.contains('"') ? "'" + value + "'" : "\"" + value + "\"").str();
}

static bool isStaticActivation(StringRef act) {
  auto form = ActivationForm::parse(act);
  return form && form->isStatic();
}

static std::string selectNames(const RecipeValues &values) {
  std::string text;
  for (StringRef pattern : {"only", "keep"})
    if (std::string value = values.lookup(pattern); !value.empty())
      text += (" " + pattern + "=" + quote(value)).str();
  return text;
}

/// Parses uses of recipes; their options are complete.
static llvm::Expected<std::vector<RecipeUse>> parseUses(StringRef text);

/// The command line's data for a pass that runs the model itself.
static std::string dataOptions(const RecipeValues &values, StringRef seed) {
  std::string text;
  for (auto [option, key] : {std::pair<StringRef, StringRef>{"data", "--calib"}, {"samples", "--calib-samples"},
                             {"window", "--window"}, {seed, "--seed"}, {"threads", "--threads"}})
    if (std::string value = values.lookup(key); !value.empty())
      text += (option + "=" + quote(value) + " ").str();
  return text;
}

static bool correctsBiases(const RecipeValues &values) { return values.lookup("correct-bias") == "true"; }

/// Selects layers, and notes what they compute if their biases will be corrected.
static std::string selectLayers(const RecipeValues &values) {
  return "quanta-select-layers{head=" + values.lookup("head") + selectNames(values) + "}" +
         (correctsBiases(values) ? ",quanta-measure-outputs{" + dataOptions(values, "seed") + "}" : "");
}

/// What follows the quantization of weights; begins with a comma.
static std::string quantizeActivations(const RecipeValues &values) {
  std::string act = values.lookup("act");
  if (act.empty() || act == "f32")
    return "";
  std::string data = isStaticActivation(act) ? " " + dataOptions(values, "seed") + "range=" + values.lookup("act-range") : "";
  return ",quanta-quantize-activations{act=" + act + selectNames(values) + data + "}";
}

static std::string groupColumns(const RecipeValues &values) {
  std::string group = values.lookup("group");
  return " group=" + (group == "row" ? "0" : group == "tensor" ? "-1" : group);
}

static bool hasMultiples(const RecipeValues &values) { return StringRef(values.lookup("multiples")).trim("0") != ""; }

static std::string multiples(const RecipeValues &values) { return hasMultiples(values) ? " multiples=" + values.lookup("multiples") : ""; }

/// The options of a uniform format. `asymmetric`: what stands for zero unless it is the middle code; multiples have no offsets.
static std::string uniformOptions(const RecipeValues &values, StringRef asymmetric) {
  return " bits=" + values.lookup("bits") + groupColumns(values) + multiples(values) +
         " zero=" + (values.lookup("sym") == "true" ? "symmetric" : hasMultiples(values) ? "point" : asymmetric.str());
}

std::string mlir::quanta::buildCalibration(const RecipeValues &values, StringRef pipeline) {
  std::string text = "quanta-calibrate{";
  for (auto [option, key] : {std::pair<StringRef, StringRef>{"data", "--calib"}, {"samples", "--calib-samples"}, {"window", "--window"},
                             {"seed", "--seed"}, {"store", "--store"}, {"resume", "--resume"}, {"threads", "--threads"},
                             {"dry-run", "--dry-run"}, {"sequential", "sequential"}})
    if (std::string value = values.lookup(key); !value.empty())
      text += (option + "=" + quote(value) + " ").str();
  return text + "pipeline=" + quote(pipeline) + "}";
}

//===- What encodes selected layers ---------------------------------------------------------------------------------------===//

static std::string buildRoundToNearest(const RecipeValues &values) {
  return "quanta-quantize-weights{method=" + std::string(values.lookup("range") == "true" ? "rtn-range" : "rtn") +
         uniformOptions(values, "point") + "}";
}

/// An option of a pass, unless the recipe leaves it at what the pass does by itself.
static std::string unless(StringRef initial, StringRef option, const RecipeValues &values) {
  std::string value = values.lookup(option);
  return value == initial ? "" : (" " + option + "=" + value).str();
}

static std::string damping(const RecipeValues &values) { return unless("0", "damping", values); }

static std::string buildGptq(const RecipeValues &values) {
  return "quanta-quantize-weights{method=gptq" + uniformOptions(values, "offset") + damping(values) + "}";
}

static std::string buildTernary(const RecipeValues &values) {
  return "quanta-quantize-weights{method=gptq bits=2 levels=3" + groupColumns(values) + damping(values) +
         multiples(values) + (hasMultiples(values) ? " zero=symmetric}" : " zero=offset}");
}

static std::string buildBinary(const RecipeValues &values) {
  return "quanta-binarize{" + groupColumns(values).substr(1) + damping(values) + "}";
}

/// Binary weights but for those that a mask of this form chooses.
static std::string buildMasked(const RecipeValues &values, const std::string &form) {
  return "quanta-saliency-mask{form=" + form + unless("hessian", "by", values) + damping(values) +
         "},quanta-binarize{high-bits=" + values.lookup("high-bits") + damping(values) + "}";
}

static std::string buildPartlyBinary(const RecipeValues &values) {
  std::string salient = values.lookup("salient");
  return buildMasked(values, salient == "0" ? "tiles tile=" + values.lookup("tile") + " kept=" + values.lookup("kept")
                                            : "elements salient=" + salient);
}

static std::string buildStructured(const RecipeValues &values) {
  return buildMasked(values, "columns salient=" + values.lookup("salient"));
}

static std::string chooseRanks(const RecipeValues &values, const std::string &factor);

std::string RecipeUse::getPipeline() const {
  std::string text = recipe->build(values);
  if (recipe->encodes)
    text = selectLayers(values) + "," +
           (values.contains("ranks") ? chooseRanks(values, text) : recipe->calibrated ? buildCalibration(values, text) : text);
  return text + quantizeActivations(values) +
         (correctsBiases(values) ? ",quanta-correct-biases{" + dataOptions(values, "seed") + "}" : "");
}

static std::string buildFloat(const RecipeValues &) { return "quanta-leave-float"; }

static std::string buildAsvd(const RecipeValues &values) {
  return "quanta-low-rank{method=asvd ratio=" + values.lookup("ratio") + " alpha=" + values.lookup("alpha") + "}";
}

static std::string buildWhitenedSvd(const RecipeValues &values) {
  return "quanta-low-rank{method=whitened ratio=" + values.lookup("ratio") + unless("0", "factor-bits", values) + "}";
}

static std::string buildLowRank(const RecipeValues &values) {
  std::string bits = values.lookup("bits"), factorBits = values.lookup("factor-bits");
  return "quanta-add-low-rank{rank=" + values.lookup("rank") + " bits=" + bits + " factor-bits=" + factorBits +
         " iterations=" + values.lookup("iterations") + "},quanta-binarize{low-bits=" + bits + " high-bits=" + factorBits + "}";
}

//===- What does more -----------------------------------------------------------------------------------------------------===//

static std::string buildSvd(const RecipeValues &values) {
  return selectLayers(values) + ",quanta-low-rank{method=svd ratio=" + values.lookup("ratio") + "}";
}

/// Solves all candidates of each layer with the float model's inputs, on at most so many samples.
static std::string measureCandidates(const RecipeValues &values, const std::string &solvers, const std::string &samples) {
  RecipeValues floatInputs = values;
  floatInputs["sequential"] = "false";
  floatInputs["--calib-samples"] = std::to_string(std::min(std::stoll(values.lookup("--calib-samples")), std::stoll(samples)));
  return buildCalibration(floatInputs, "quanta-measure-candidates{solvers='" + solvers + "'}");
}

/// quanta-allocate with these options and those of the data.
static std::string allocate(const RecipeValues &values, std::string text) {
  for (auto [option, key] : {std::pair<StringRef, StringRef>{"samples", "samples"}, {"data", "--calib"}, {"window", "--window"},
                             {"seed", "--seed"}, {"store", "--store"}, {"resume", "--resume"}, {"threads", "--threads"}})
    if (std::string value = values.lookup(key); !value.empty())
      text += (" " + option + "=" + quote(value)).str();
  return "quanta-allocate{" + text + "}";
}

/// Recipes with the option `ranks`: how the share of the weights is spread over layers. STRS tries six ratios for each, as published.
static std::string chooseRanks(const RecipeValues &values, const std::string &factor) {
  std::string ranks = values.lookup("ranks"), ratio = values.lookup("ratio");
  if (ranks == "equal")
    return buildCalibration(values, factor);
  if (ranks == "knapsack") {
    RecipeValues floatInputs = values;
    floatInputs["sequential"] = "false";
    return buildCalibration(floatInputs, "quanta-measure-spectrum") + ",quanta-choose-ranks{ratio=" + ratio + "}," +
           buildCalibration(values, factor);
  }
  std::string solvers = "quanta-leave-float";
  for (StringRef share : {"0.4", "0.5", "0.6", "0.7", "0.8", "0.9"}) {
    RecipeValues candidate = values;
    candidate["ratio"] = share.str();
    solvers += ";" + buildWhitenedSvd(candidate);
  }
  return measureCandidates(values, solvers, values.lookup("--calib-samples")) + "," +
         allocate(values, "bpw=" + std::to_string(32 * std::stod(ratio)) + " loss=kl solver=strs") + "," +
         buildCalibration(values, "quanta-solve-allocated");
}

/// Every layer is measured with the float model's inputs; the chosen solvers see those of the layers encoded before. What is
/// measured does not depend on the budget, so runs with other budgets can take it from --store.
static std::string buildAuto(const RecipeValues &values) {
  std::vector<RecipeUse> candidates = llvm::cantFail(parseUses(values.lookup("candidates"))); // checked before
  std::string solvers =
      llvm::join(llvm::map_range(candidates, [](const RecipeUse &use) { return use.recipe->build(use.values); }), ";");
  bool timed = values.lookup("ms") != "0";
  std::string bpw = values.lookup("bpw");
  std::string options = "bpw=" + (bpw == "0" && !timed ? "2.5" : bpw) + " loss=" + values.lookup("loss");
  if (timed) {
    for (StringRef option : {"ms", "cost-table", "bandwidth", "peak", "tokens", "cores", "act"})
      if (std::string value = values.lookup(option); !value.empty())
        options += (" " + option + "=" + quote(value)).str();
  }
  return selectLayers(values) + "," + measureCandidates(values, solvers, values.lookup("calib-samples")) + "," +
         allocate(values, options) + "," + buildCalibration(values, "quanta-solve-allocated");
}

static std::string buildCache(const RecipeValues &values) {
  std::string text = "quanta-use-cache{capacity=" + values.lookup("capacity") + " batch=" + values.lookup("batch") + "},canonicalize,cse";
  if (values.lookup("keys") == "unrotated")
    text += ",quanta-unrotate-keys";
  std::string bits = values.lookup("bits"), options = " group=" + values.lookup("group");
  if (values.lookup("bytes") != "0") {
    RecipeValues few = values;
    few["--calib-samples"] =
        std::to_string(std::min(std::stoll(values.lookup("--calib-samples")), std::stoll(values.lookup("samples"))));
    text += ",quanta-allocate-cache{" + dataOptions(few, "seed") + "bytes=" + values.lookup("bytes") +
            (bits == "0" ? "" : " candidates=" + bits) + options + " recent=" + values.lookup("window");
    for (auto [option, key] : {std::pair<StringRef, StringRef>{"store", "--store"}, {"resume", "--resume"}})
      if (std::string value = values.lookup(key); !value.empty())
        text += (" " + option + "=" + quote(value)).str();
    return text + "}";
  }
  if (bits == "0")
    return text;
  return text + ",quanta-quantize-cache{bits=" + bits + options + " window=" + values.lookup("window") + "}";
}

static std::string buildAttention(const RecipeValues &values) {
  return "quanta-quantize-activations{act=int" + values.lookup("bits") + "-attention" + selectNames(values) + "}";
}

static std::string buildVision(const RecipeValues &values) {
  return "quanta-decompose-attention," + selectLayers(values) + ",quanta-ptq4vit{" + dataOptions(values, "seed") + "bits=" +
         values.lookup("bits") + " act-bits=" + values.lookup("act-bits") + " method=" + values.lookup("method") + "}";
}

static std::string buildSmooth(const RecipeValues &values) {
  return "quanta-smooth{" + dataOptions(values, "seed") + "alpha=" + values.lookup("alpha") +
         " equalize=" + values.lookup("equalize") + unless("0", "bits", values) + unless("0", "act-bits", values) + unless("128", "group", values) + "}";
}

static std::string buildRotate(const RecipeValues &values) {
  return "quanta-rotate{" + dataOptions(values, "data-seed") + "seed=" + values.lookup("seed") +
         " online=" + values.lookup("online") + "}";
}

static std::string buildReorder(const RecipeValues &values) {
  return "quanta-reorder{" + dataOptions(values, "seed") + "clusters=" + values.lookup("clusters") +
         " head-clusters=" + values.lookup("head-clusters") + " align=" + values.lookup("align") + "}";
}

using Options = std::vector<RecipeOption>;

/// From 1.06 to 5.07 bits. Groups of a row are left out: with them there was nothing to gain (docs/Recipes.md).
static constexpr llvm::StringLiteral kCandidates = "binary,ternary,gptq{bits=2},gptq{bits=3},gptq{bits=4},gptq{bits=5}";

/// A recipe's own options, then those that say which layers.
static Options withSelection(Options options) {
  for (RecipeOption option : Options{{"head", RecipeOption::Flag, "false", "quantize the output head, too"},
                                     {"only", RecipeOption::Pattern, "", "regular expression: only these nodes or weights"},
                                     {"keep", RecipeOption::Pattern, "", "regular expression: leave these nodes or weights in float"},
                                     {"act", RecipeOption::Activation, "f32",
                                      "activations: f32, or int8-token, int8-tensor, int8-cluster: what shares a scale, of 2 to 8 bits"},
                                     {"act-range", RecipeOption::Word, "mse",
                                      "how static ranges of activations are chosen: mse or minmax", 0, 0, {"mse", "minmax"}},
                                     {"correct-bias", RecipeOption::Flag, "false", "biases take the mean error of the outputs on data"}})
    options.push_back(option);
  return options;
}

static Options withCalibration(Options options) {
  options.push_back({"sequential", RecipeOption::Flag, "true", "statistics and targets know the layers quantized before"});
  return withSelection(std::move(options));
}

static Options uniform(StringRef bits, StringRef group, StringRef sym) {
  return {{"bits", RecipeOption::Integer, bits, "bits of a code", 1, 8},
          {"group", RecipeOption::Group, group, "weights along the contraction that share a scale: a number, row or tensor"},
          {"sym", RecipeOption::Flag, sym, "zero is the middle code; no zero points"}};
}

static const RecipeOption rowGroup = {"group", RecipeOption::RowGroup, "row",
                                      "weights along the contraction that share a scale: a number, or row"};

static const RecipeOption multiplesOption = {"multiples", RecipeOption::Integer, "0",
                                             "bits of an integer of each group that multiplies the scale of its row; 0: groups have scales", 0, 7};

static Options withRange(Options options) {
  options.push_back({"range", RecipeOption::Flag, "false", "search for the range that leaves the least error"});
  options.push_back(multiplesOption);
  return options;
}

static RecipeOption highBits(StringRef initial) {
  return {"high-bits", RecipeOption::Integer, initial, "bits of a salient weight", 1, 8};
}

static const RecipeOption dampingOption = {"damping", RecipeOption::Number, "0",
                                           "added to the diagonal of the inputs' moments, relative to its mean; 0: 0.01, more with little data", 0,
                                           1000};
static const RecipeOption salientBy = {"by", RecipeOption::Word, "hessian", "what makes a weight salient: hessian, magnitude or activation", 0, 0,
                                       {"hessian", "magnitude", "activation"}};

static const RecipeOption factorRatio = {"ratio", RecipeOption::Number, "0.9", "share of the weights that the factors have", 0, 1};

llvm::ArrayRef<Recipe> mlir::quanta::getRecipes() {
  static const std::vector<Recipe> recipes = {
      {"rtn", Phase::Quantize, "round each weight to the nearest level", withSelection(withRange(uniform("4", "128", "false"))),
       buildRoundToNearest, false, true},
      {"int8", Phase::Quantize, "8-bit weights with a scale for each row", withSelection(uniform("8", "row", "true")),
       buildRoundToNearest, false, true},
      {"gptq", Phase::Quantize, "the least error of each layer's output on data",
       withCalibration({{"bits", RecipeOption::Integer, "4", "bits of a code", 1, 8},
                        rowGroup,
                        {"sym", RecipeOption::Flag, "false", "zero is the middle code; no offsets"},
                        multiplesOption, dampingOption}),
       buildGptq, true, true},
      {"ternary", Phase::Quantize, "three values for each row, by the same means", withCalibration({rowGroup, multiplesOption, dampingOption}), buildTernary, true, true},
      {"binary", Phase::Quantize, "two values for each row, by the same means", withCalibration({rowGroup, dampingOption}), buildBinary, true, true},
      {"pb-llm", Phase::Quantize, "two values for each row, and more bits for salient weights",
       withCalibration({{"salient", RecipeOption::Share, "0", "share of salient weights; 0: `kept` of each `tile`"},
                        {"tile", RecipeOption::Integer, "32", "columns of which so many weights are salient", 1, 1024},
                        {"kept", RecipeOption::Integer, "3", "salient weights of a tile", 0, 1024},
                        highBits("8"), salientBy, dampingOption}),
       buildPartlyBinary, true, true},
      {"structured", Phase::Quantize, "two values for each row, and more bits for salient columns",
       withCalibration({{"salient", RecipeOption::Share, "0.16", "share of salient columns"}, highBits("4"), salientBy, dampingOption}),
       buildStructured, true, true},
      {"svd", Phase::Quantize, "products of two thin matrices for weights",
       withSelection({factorRatio}), buildSvd},
      {"asvd", Phase::Quantize, "the same, nearest where inputs are large",
       withCalibration({factorRatio, {"alpha", RecipeOption::Number, "0.5", "power of the inputs' mean magnitudes", 0, 4}}), buildAsvd,
       true, true},
      {"whitened-svd", Phase::Quantize, "the same, with the least error of the layers' outputs",
       withCalibration({factorRatio,
                        {"factor-bits", RecipeOption::Integer, "0", "bits of a code of the matrices, from 2 on; 0: they stay in float", 0, 8},
                        {"ranks", RecipeOption::Word, "equal",
                         "equal: each layer keeps that share; knapsack: the least sum of errors; strs: by what each layer alone does to the output",
                         0, 0, {"equal", "knapsack", "strs"}},
                        {"samples", RecipeOption::Integer, "16", "strs: samples to measure the output on", 1, 1000000}}),
       buildWhitenedSvd, true, true},
      {"low-rank", Phase::Quantize, "2^bits levels for each row, and a product of two thin matrices for what they leave",
       withCalibration({{"rank", RecipeOption::Integer, "16", "rows of the second matrix", 1, 65536},
                        {"bits", RecipeOption::Integer, "2", "bits of a code", 1, 8},
                        {"factor-bits", RecipeOption::Integer, "8", "bits of a code of the matrices", 2, 8},
                        {"iterations", RecipeOption::Integer, "1", "fits of both in turns", 1, 100}}),
       buildLowRank, true, true},
      {"float", Phase::Quantize, "leaves weights as they are: a candidate of auto", withSelection({}), buildFloat, false, true},
      {"auto", Phase::Quantize, "a recipe for each layer, within a budget, by what layers do to the output",
       withCalibration({{"bpw", RecipeOption::Number, "0", "stored bits for each weight, at most; left out: 2.5, or no limit if `ms` is given", 0, 64},
                        {"ms", RecipeOption::Number, "0", "predicted milliseconds of these layers, at most; left out: no limit", 0, 1000000000},
                        {"cost-table", RecipeOption::Path, "", "what predicts them: JSON of quant-bench --layers, or a --history"},
                        {"bandwidth", RecipeOption::Number, "0", "without a table: GB/s that the target reads", 0, 1000000000},
                        {"peak", RecipeOption::Number, "0", "without a table: GOP/s of the target", 0, 1000000000},
                        {"tokens", RecipeOption::Integer, "1", "rows of the layers' input whose latency counts", 1, 1 << 20},
                        {"cores", RecipeOption::Integer, "1", "threads whose latency counts", 1, 1024},
                        {"candidates", RecipeOption::Recipes, kCandidates, "the recipes to choose from"},
                        {"loss", RecipeOption::Word, "probe",
                         "what adds up over layers: proxy, the relative error of a layer's output; that times what a probe of the layer does to "
                         "the model's output: probe, with neighbours: pairwise, with noise: fisher; kl, what each candidate does to it; lim "
                         "and zd, by scores of blocks and weights", 0, 0, {"proxy", "probe", "pairwise", "kl", "fisher", "lim", "zd"}},
                        {"samples", RecipeOption::Integer, "16", "samples to measure the output on", 1, 1000000},
                        {"calib-samples", RecipeOption::Integer, "128", "samples to solve the candidates on", 1, 1000000}}),
       buildAuto, true},
      {"kv", Phase::Quantize, "keep past keys and values in the model, in place",
       {{"capacity", RecipeOption::Integer, "2048", "positions for which there is room", 1, 1 << 30},
        {"batch", RecipeOption::Integer, "1", "sequences that are decoded side by side", 1, 1 << 20},
        {"bits", RecipeOption::Widths, "0", "bits of a cached value; KEYS/VALUES, keys maybe sketch; a list: of each layer, or with `bytes` what "
         "each can have; 0 keeps floats", 0, 8},
        {"bytes", RecipeOption::Integer, "0", "chooses widths for each layer: bytes of all caches, at most", 0, int64_t(1) << 50},
        {"samples", RecipeOption::Integer, "16", "with `bytes`: samples to measure the output on", 1, 1000000},
        {"group", RecipeOption::Integer, "32", "positions that share a scale of a key's channel; 0: a scale a position", 0, 1 << 20},
        {"window", RecipeOption::Integer, "32", "newest positions that stay floats", 0, 1 << 20},
        {"keys", RecipeOption::Word, "rotated", "rotated or unrotated: behind or before their rotary embedding", 0, 0,
         {"rotated", "unrotated"}}},
       buildCache},
      {"attention", Phase::Quantize, "products of attention multiply codes, whose scales are found while the model runs",
       {{"bits", RecipeOption::Integer, "8", "bits of a query, key, probability or value", 2, 8},
        {"only", RecipeOption::Pattern, "", "regular expression: only these nodes"},
        {"keep", RecipeOption::Pattern, "", "regular expression: leave these nodes in float"}},
       buildAttention},
      {"ptq4vit", Phase::Quantize, "weights and activations of vision models, for the least error of each product",
       {{"bits", RecipeOption::Integer, "8", "bits of a weight", 2, 8},
        {"act-bits", RecipeOption::Integer, "8", "bits of an activation", 2, 8},
        {"method", RecipeOption::Word, "twin-hessian", "base, twin, twin-hessian or repq", 0, 0,
         {"base", "twin", "twin-hessian", "repq"}},
        {"head", RecipeOption::Flag, "true", "quantize the output head, too"},
        {"only", RecipeOption::Pattern, "", "regular expression: only these nodes or weights"},
        {"keep", RecipeOption::Pattern, "", "regular expression: leave these nodes or weights in float"}},
       buildVision, true},
      {"smooth", Phase::Transform, "move the range of activations into weights; quantizes nothing by itself",
       {{"alpha", RecipeOption::Share, "0.5", "how much of it"},
        {"equalize", RecipeOption::Flag, "false", "equal ranges of weights that follow each other instead"},
        {"bits", RecipeOption::Integer, "0", "search how much for weights of so many bits; 0: alpha", 0, 8},
        {"act-bits", RecipeOption::Integer, "0", "and for activations of so many bits; 0: floats", 0, 8},
        {"group", RecipeOption::Integer, "128", "columns of a weight that share a scale; 0: a row", 0, 1 << 20}}, buildSmooth, true},
      {"rotate", Phase::Transform, "turn activations into a basis without outliers; quantizes nothing by itself",
       {{"seed", RecipeOption::Integer, "0", "of the random signs", 0, std::numeric_limits<int64_t>::max()},
        {"online", RecipeOption::Flag, "false", "also inputs behind nonlinear ops, at run time"}}, buildRotate},
      {"rptq", Phase::Transform, "put channels of similar ranges side by side; quantizes nothing by itself",
       {{"clusters", RecipeOption::Integer, "32", "of the channels of a layer's input", 1, 65536},
        {"head-clusters", RecipeOption::Integer, "4", "of the channels of a head", 1, 65536},
        {"align", RecipeOption::Integer, "32", "clusters end at multiples of so many channels", 1, 65536}}, buildReorder, true},
  };
  return recipes;
}

std::string mlir::quanta::describeRecipes() {
  std::string text;
  llvm::raw_string_ostream os(text);
  for (const Recipe &recipe : getRecipes()) {
    os << "  " << llvm::left_justify(recipe.name, 12) << recipe.summary << "\n";
    for (const RecipeOption &option : recipe.options)
      os << "    " << llvm::left_justify((option.name + "=" + option.initial).str(), 14) << option.summary << "\n";
  }
  return text;
}

//===- Values -------------------------------------------------------------------------------------------------------------===//

/// Which layers and how their statistics are taken: not for one candidate to say.
static bool saysWhichLayers(StringRef option) {
  return llvm::is_contained({"head", "only", "keep", "act", "correct-bias", "sequential", "ranks"}, option);
}

static llvm::Error checkCandidate(const RecipeUse &use) {
  const Recipe &recipe = *use.recipe;
  if (!recipe.encodes)
    return userError("recipe '" + recipe.name + "' cannot be a candidate; these can: " +
                     llvm::join(llvm::map_range(llvm::make_filter_range(getRecipes(), [](const Recipe &r) { return r.encodes; }),
                                                [](const Recipe &r) { return r.name; }), ", "));
  for (const RecipeOption &option : recipe.options)
    if (saysWhichLayers(option.name) && use.values.lookup(option.name) != option.initial)
      return userError("candidate '" + recipe.name + "': give option '" + option.name + "' to the recipe that chooses");
  return llvm::Error::success();
}

static llvm::Expected<std::string> checkValue(const RecipeOption &option, StringRef value, StringRef where) {
  auto wrong = [&](const Twine &expected) {
    return userError("recipe '" + where + "': option '" + option.name + "' must be " + expected + ", got '" + value + "'");
  };
  int64_t number;
  switch (option.kind) {
  case RecipeOption::Integer:
    if (value.getAsInteger(10, number) || number < option.minimum || number > option.maximum)
      return wrong("a number from " + Twine(option.minimum) + " to " + Twine(option.maximum));
    return std::to_string(number);
  case RecipeOption::Recipes: {
    auto uses = parseUses(value);
    if (!uses)
      return uses.takeError();
    for (const RecipeUse &use : *uses)
      if (llvm::Error error = checkCandidate(use))
        return std::move(error);
    return value.str();
  }
  case RecipeOption::Word:
    if (llvm::is_contained(option.words, value))
      return value.str();
    return wrong("one of " + llvm::join(option.words, ", "));
  case RecipeOption::Widths:
    for (StringRef width : llvm::split(value, ',')) {
      auto [keys, values] = width.split('/');
      bool sketched = keys.consume_front("sketch") && !values.empty();
      auto isWidth = [&](StringRef part) { return !part.getAsInteger(10, number) && number >= option.minimum && number <= option.maximum; };
      bool keysFit = sketched ? keys.empty() || (isWidth(keys) && number >= 1) : isWidth(keys);
      if (width.count('/') > 1 || !keysFit || (width.contains('/') && !isWidth(values)))
        return wrong("a number from " + Twine(option.minimum) + " to " + Twine(option.maximum) +
                     ", or two with '/' between them, the first maybe 'sketch', for all or, separated by commas, for each");
    }
    return value.str();
  case RecipeOption::Number: {
    double fraction;
    if (value.getAsDouble(fraction) || !(fraction > option.minimum && fraction <= option.maximum))
      return wrong("a number above " + Twine(option.minimum) + ", at most " + Twine(option.maximum));
    return value.str();
  }
  case RecipeOption::Share: {
    double share;
    if (value.getAsDouble(share) || !(share >= 0 && share <= 1))
      return wrong("a share from 0 to 1");
    return share == 0 ? std::string("0") : value.str();
  }
  case RecipeOption::Group:
  case RecipeOption::RowGroup: {
    bool tensor = option.kind == RecipeOption::Group;
    if (value == "row" || (tensor && value == "tensor"))
      return value.str();
    if (value.getAsInteger(10, number) || number < 1)
      return wrong(tensor ? "a positive number, 'row' or 'tensor'" : "a positive number or 'row'");
    return std::to_string(number);
  }
  case RecipeOption::Flag:
    if (value == "true" || value == "1" || value.empty())
      return std::string("true");
    if (value == "false" || value == "0")
      return std::string("false");
    return wrong("'true' or 'false'");
  case RecipeOption::Activation:
    if (value == "f32" || ActivationForm::parse(value))
      return value.str();
    return wrong("'f32', 'bf16', or 'int' with 2 to 8 bits and '-token', '-tensor' or '-cluster', as 'int8-token'");
  case RecipeOption::Path:
    if (value.contains('"') && value.contains('\''))
      return wrong("a path without both kinds of quotes");
    return value.str();
  case RecipeOption::Pattern: {
    std::string error;
    if (!value.empty() && !llvm::Regex(value).isValid(error))
      return wrong("a regular expression (" + error + ")");
    if (value.contains('"') && value.contains('\''))
      return wrong("an expression without both kinds of quotes");
    return value.str();
  }
  }
  llvm_unreachable("all kinds are handled");
}

//===- Parsing ------------------------------------------------------------------------------------------------------------===//

namespace {
class RecipeParser {
public:
  explicit RecipeParser(StringRef text) : text(text), rest(text) {}

  llvm::Expected<std::vector<RecipeUse>> parse() {
    std::vector<RecipeUse> uses;
    do {
      auto use = parseUse();
      if (!use)
        return use.takeError();
      uses.push_back(std::move(*use));
    } while (consume(','));
    if (!rest.empty())
      return wrong("expected ',' or the end before '" + rest + "'");
    return uses;
  }

private:
  llvm::Error wrong(const Twine &message) { return userError("recipe '" + text + "': " + message); }
  bool consume(char c) {
    rest = rest.ltrim();
    return rest.consume_front(StringRef(&c, 1));
  }
  StringRef word() {
    rest = rest.ltrim();
    StringRef result = rest.take_while([](char c) { return llvm::isAlnum(c) || c == '-' || c == '_'; });
    rest = rest.drop_front(result.size());
    return result;
  }
  /// Up to a space or the closing brace, except inside quotes or braces of its own.
  std::string value() {
    std::string result;
    char quote = 0;
    unsigned depth = 0;
    for (; !rest.empty(); rest = rest.drop_front()) {
      char c = rest.front();
      if (quote) {
        if (c == quote) {
          quote = 0;
          continue;
        }
      } else if (c == '\'' || c == '"') {
        quote = c;
        continue;
      } else if (c == '{') {
        ++depth;
      } else if (c == '}') {
        if (depth-- == 0)
          break;
      } else if (c == ' ' && depth == 0) {
        break;
      }
      result += c;
    }
    return result;
  }

  llvm::Expected<RecipeUse> parseUse() {
    StringRef name = word();
    const Recipe *recipe = llvm::find_if(getRecipes(), [&](const Recipe &r) { return r.name == name; });
    if (recipe == getRecipes().end())
      return wrong("there is no recipe '" + name + "'; there are: " +
                   llvm::join(llvm::map_range(getRecipes(), [](const Recipe &r) { return r.name; }), ", "));
    RecipeUse use{recipe, {}};
    for (const RecipeOption &option : recipe->options)
      use.values[option.name] = option.initial.str();
    if (!consume('{'))
      return use;
    while (!consume('}')) {
      if (rest.empty())
        return wrong("'}' is missing");
      StringRef key = word();
      auto *option = llvm::find_if(recipe->options, [&](const RecipeOption &o) { return o.name == key; }).base();
      if (option == recipe->options.data() + recipe->options.size())
        return wrong("'" + name + "' has no option '" + (key.empty() ? rest.take_front(1) : key) + "'; it has: " +
                     llvm::join(llvm::map_range(recipe->options, [](const RecipeOption &o) { return o.name; }), ", "));
      // A flag alone is true; everything else needs a value.
      bool given = consume('=');
      if (!given && option->kind != RecipeOption::Flag)
        return wrong("option '" + key + "' needs a value");
      auto checked = checkValue(*option, given ? value() : std::string("true"), name);
      if (!checked)
        return checked.takeError();
      use.values[key] = *checked;
    }
    return use;
  }

  StringRef text, rest;
};
} // namespace

static llvm::Expected<std::vector<RecipeUse>> parseUses(StringRef text) { return RecipeParser(text).parse(); }

llvm::Expected<std::vector<RecipeUse>> mlir::quanta::parseRecipes(StringRef text, StringRef keep,
                                                                         const RecipeValues &calibration) {
  if (text.trim().empty())
    return std::vector<RecipeUse>();
  std::string error;
  if (!keep.empty() && !llvm::Regex(keep).isValid(error))
    return userError("--keep '" + keep + "' is not a regular expression: " + error);
  auto uses = parseUses(text);
  if (!uses)
    return uses;
  for (RecipeUse &use : *uses) {
    if (use.values.lookup("ranks") == "strs" && use.values.lookup("factor-bits") != "0")
      return userError("recipe '" + use.recipe->name + "': ranks=strs counts float factors; give factor-bits to ranks=equal or knapsack, "
                       "or another recipe behind it");
    std::string act = use.values.lookup("act"), bytes = use.values.lookup("bytes");
    bool allocates = !bytes.empty() && bytes != "0";
    bool corrects = correctsBiases(use.values);
    if ((use.recipe->calibrated || allocates || corrects || isStaticActivation(act)) && calibration.lookup("--calib").empty())
      return userError("recipe '" + use.recipe->name +
                       (use.recipe->calibrated ? "'" : allocates ? "' with bytes=" + bytes : corrects ? "' with correct-bias" : "' with act=" + act) +
                       " looks at data: give --calib=FILE, an .npz file of inputs, a folder of them, or an .npy token stream");
    for (const auto &entry : calibration)
      use.values[entry.first()] = entry.second;
    if (auto own = use.values.find("keep"); !keep.empty() && own != use.values.end())
      own->second = own->second.empty() ? keep.str() : "(" + own->second + ")|(" + keep.str() + ")";
  }
  return uses;
}
