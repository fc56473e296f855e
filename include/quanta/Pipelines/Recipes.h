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
  enum Kind { Integer, Group, Flag, Pattern };
  llvm::StringRef name;
  Kind kind;
  llvm::StringRef initial;
  llvm::StringRef summary;
  int64_t minimum = 0, maximum = 0; ///< of an Integer
};

using RecipeValues = llvm::StringMap<std::string>;

struct Recipe {
  llvm::StringRef name;
  Phase phase;
  llvm::StringRef summary;
  std::vector<RecipeOption> options;
  /// Textual pass pipeline for complete, checked values.
  std::string (*build)(const RecipeValues &values);
};

llvm::ArrayRef<Recipe> getRecipes();

/// One use of a recipe, options complete.
struct RecipeUse {
  const Recipe *recipe;
  RecipeValues values;
  std::string getPipeline() const { return recipe->build(values); }
};

/// Parses `NAME{option=value ...}[,...]`. Unknown names and options are errors that list what exists. `keep` is a pattern
/// that every recipe adds to its own.
llvm::Expected<std::vector<RecipeUse>> parseRecipes(llvm::StringRef text, llvm::StringRef keep = {});

/// Recipes and their options, for --help.
std::string describeRecipes();

} // namespace mlir::quanta

#endif // QUANTA_PIPELINES_RECIPES_H
