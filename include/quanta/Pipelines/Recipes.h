//===- Recipes.h - Named quantization pipelines ---------------------------------------------------------------*- C++ -*-===//
//
// A recipe is a pass pipeline with a name and options of its own: `rtn{bits=4 group=128}`. Everything it does can be said
// with passes; it only chooses them.
//
//===----------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_PIPELINES_RECIPES_H
#define QUANTA_PIPELINES_RECIPES_H

#include "quanta/Pipelines/Phases.h"
#include "llvm/ADT/StringMap.h"
#include "llvm/Support/Error.h"
#include <string>
#include <vector>

namespace mlir::quanta {

struct RecipeOption {
  enum Kind { Integer, Number, Share, Group, RowGroup, Flag, Pattern, Path, Activation, Word, Widths, Recipes }; ///< Recipes: candidates
  llvm::StringRef name;
  Kind kind;
  llvm::StringRef initial;
  llvm::StringRef summary;
  int64_t minimum = 0, maximum = 0; ///< of Integer, Number and Widths
  std::vector<llvm::StringRef> words = {}; ///< of Word: the choice
};

/// Values of a recipe's options by name, and those of the command line that a calibrated recipe hands on (buildCalibration):
/// "--calib", "--calib-samples", "--window", "--seed", "--store", "--resume", "--threads", "--dry-run".
using RecipeValues = llvm::StringMap<std::string>;

struct Recipe {
  llvm::StringRef name;
  Phase phase;
  llvm::StringRef summary;
  std::vector<RecipeOption> options;
  /// Textual pass pipeline for complete, checked values.
  std::string (*build)(const RecipeValues &values);
  bool calibrated = false; ///< needs --calib
  /// `build` gives only what encodes the selected layers, each for itself; RecipeUse::getPipeline() selects them and, if the recipe
  /// is calibrated, puts it into a calibration. Such recipes can be candidates of others.
  bool encodes = false;
};

/// `quanta-calibrate` with the data options of the command line, the recipe's option `sequential` if it has one, and `pipeline`
/// nested in it.
std::string buildCalibration(const RecipeValues &values, llvm::StringRef pipeline);

llvm::ArrayRef<Recipe> getRecipes();

/// One use of a recipe, options complete.
struct RecipeUse {
  const Recipe *recipe;
  RecipeValues values;
  std::string getPipeline() const;
};

/// Parses `NAME{option=value ...}[,...]`. Unknown names and options are errors that list what exists. `keep` is a pattern
/// that every recipe adds to its own; `calibration` has what the command line says of data. A calibrated recipe without data is an
/// error.
llvm::Expected<std::vector<RecipeUse>> parseRecipes(llvm::StringRef text, llvm::StringRef keep = {},
                                                    const RecipeValues &calibration = {});

/// Recipes and their options, for --help.
std::string describeRecipes();

} // namespace mlir::quanta

#endif // QUANTA_PIPELINES_RECIPES_H
