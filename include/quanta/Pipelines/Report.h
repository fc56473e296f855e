//===- Report.h - What a compilation did ----------------------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_PIPELINES_REPORT_H
#define QUANTA_PIPELINES_REPORT_H

#include "mlir/IR/BuiltinOps.h"
#include "llvm/Support/Error.h"
#include "llvm/Support/JSON.h"
#include <optional>
#include <string>
#include <vector>

namespace mlir::quanta {

struct Report {
  struct Layer {
    std::string name, op, encoding;
    std::vector<int64_t> shape;
    double bitsPerWeight = 0;
    std::string act = "f32";
    bool kept = false; ///< the user asked to leave it alone: not eligible
    std::optional<double> errorWeight; ///< squared, relative to the weight
    std::optional<double> errorCalibration, errorHeldOut, seconds;
    std::string note; ///< why a recipe left it out
  };

  /// What quanta-allocate chose.
  struct Allocation {
    struct Weight {
      std::string encoding; ///< attribute, or element type
      std::vector<int64_t> shape;
    };
    struct Candidate {
      std::string solver;          ///< pipeline
      std::vector<Weight> weights; ///< the layer's own, and if that has two factors the first one
      uint64_t bits = 0;
      double error = 0, loss = 0; ///< relative, of the layer's output; of the model, as the allocation counts it
    };
    struct Layer {
      std::string name;
      size_t chosen = 0;
      std::vector<Candidate> candidates;
    };
    uint64_t budget = 0, bits = 0, weights = 0; ///< of the layers among whose candidates it chose
    double loss = 0, lowerBound = 0;
    std::optional<uint64_t> ns, nsBudget; ///< predicted latency, if that was a budget
    std::vector<std::pair<uint64_t, double>> frontier; ///< bits and loss, from small to good
    std::vector<Layer> layers;
  };

  std::string model, target, recipe;
  uint64_t weightsBytes = 0, objectBytes = 0;
  /// Stored bits and elements of eligible weights and of all parameters.
  uint64_t eligibleBits = 0, eligibleCount = 0, modelBits = 0, modelCount = 0;
  std::vector<Layer> layers;
  std::optional<Allocation> allocation;
  std::vector<std::string> problems;
  std::vector<std::pair<std::string, double>> seconds; ///< by phase
  uint64_t peakBytes = 0;

  /// Reads layers and bits from IR between the phases prepare and lower. Layers or weights whose name matches one of `keep`
  /// are not eligible.
  void addLayers(ModuleOp module, llvm::ArrayRef<std::string> keep);

  llvm::json::Value toJSON() const;
  std::string toHTML() const;
  /// The suffix says which.
  llvm::Error write(llvm::StringRef path) const;
};

/// Largest resident size of this process so far.
uint64_t getPeakBytes();

} // namespace mlir::quanta

#endif // QUANTA_PIPELINES_REPORT_H
