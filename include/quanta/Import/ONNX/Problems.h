//===- Problems.h - What is wrong with a model, all of it at once -------------------------------------------------===//
#ifndef QUANTA_IMPORT_ONNX_PROBLEMS_H
#define QUANTA_IMPORT_ONNX_PROBLEMS_H

#include "llvm/ADT/StringMap.h"
#include "llvm/ADT/StringRef.h"
#include "llvm/ADT/Twine.h"
#include "llvm/Support/JSON.h"
#include <string>
#include <vector>

namespace mlir::quanta {

/// Problems and warnings of one import, grouped by kind and subject in order of first occurrence.
class Problems {
public:
  /// One line of the report: `kind  subject  N units`, then the names.
  struct Group {
    std::string kind, subject, unit;
    std::vector<std::string> names; ///< of the nodes, tensors, values ... concerned; empty if the model as a whole
  };

  void error(llvm::StringRef kind, const llvm::Twine &subject, llvm::StringRef unit = "",
             const llvm::Twine &name = "") {
    add(errorIndex, errors, kind, subject, unit, name);
  }
  void warning(llvm::StringRef kind, const llvm::Twine &subject, llvm::StringRef unit = "",
               const llvm::Twine &name = "") {
    add(warningIndex, warnings, kind, subject, unit, name);
  }
  bool hasErrors() const { return !errors.empty(); }
  llvm::ArrayRef<Group> getErrors() const { return errors; }
  llvm::ArrayRef<Group> getWarnings() const { return warnings; }

  /// Facts about the model for the first and the last line.
  std::string model, opset, producer;
  size_t nodeCount = 0;

  /// The report as text; a line names at most three nodes.
  void print(llvm::raw_ostream &os) const;
  /// The report with every name.
  llvm::json::Value toJSON() const;

private:
  using Index = llvm::StringMap<size_t>;
  static void add(Index &index, std::vector<Group> &groups, llvm::StringRef kind, const llvm::Twine &subject,
                  llvm::StringRef unit, const llvm::Twine &name);
  Index errorIndex, warningIndex;
  std::vector<Group> errors, warnings;
};

} // namespace mlir::quanta
#endif
