//===- Data.h - Calibration data ------------------------------------------------------------------------------*- C++ -*-===//
//
// Batches from an .npz file (one case or several), a folder of them in the order of their names, or a token stream.
// Files are untrusted: a batch fits the model and is finite, or it is an error that names the batch.
//
// Samples are rows along the first dimension if all arrays of a case agree in it, else a case is one sample. Arrays
// that the model does not take, as labels, are left out.
//
//===----------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_CALIBRATE_DATA_H
#define QUANTA_CALIBRATE_DATA_H

#include "quanta/Support/CompiledModel.h"
#include <optional>

namespace quanta {

struct CalibrationOptions {
  int64_t samples = 128; ///< at most; from files the first ones
  int64_t window = 256;  ///< tokens of a sample from a token stream
  uint64_t seed = 0;     ///< of the windows' offsets
  int64_t batch = 1;     ///< samples that run at once, if the model leaves it open
};

struct CalibrationBatch {
  int64_t number = 0, firstSample = 0, samples = 0;
  ArrayMap arrays; ///< of the types that the inputs' arrays have
};

/// `count` offsets of windows in a stream of `tokens` >= `window`. The stream is cut into windows behind a random
/// start; these come in random order, and are cut anew when all are used. The same on every machine.
std::vector<int64_t> chooseWindows(int64_t tokens, int64_t window, int64_t count, uint64_t seed);

class CalibrationData {
public:
  /// Reads a token stream, and of .npz files nothing yet.
  ///
  /// If the model fixes the size of a batch, that holds: more windows are drawn to fill the last batch, and rows of a
  /// case that do not fill one are left out.
  static llvm::Expected<CalibrationData> open(llvm::StringRef path, const CalibrationOptions &options,
                                              llvm::ArrayRef<Port> inputs);

  /// The next batch, or nothing after the last one. One file is in memory at a time. After an error: nothing.
  llvm::Expected<std::optional<CalibrationBatch>> next();
  /// Starts again with this batch, so that a run can resume and several can share the batches; those in front of it are
  /// not checked.
  void seek(int64_t batch);

  /// A hash of the files' contents and the options.
  llvm::Expected<uint64_t> getFingerprint() const;

private:
  llvm::Error openStream(llvm::StringRef path);
  /// Moves on to a case with samples left, if the one before nextCase has none; false if there is no other.
  llvm::Expected<bool> findCase();
  llvm::Error startCase();
  llvm::Error check(CalibrationBatch &batch, const std::string &where) const;
  const Port *findTokenPort() const;
  int64_t getFixedBatch() const;

  CalibrationOptions options;
  std::vector<Port> inputs;
  std::vector<std::string> files;
  // Token streams.
  std::optional<Array> stream;
  std::vector<int64_t> offsets;
  // The open file.
  size_t nextFile = 0, nextCase = 0;
  std::vector<NamedCase> cases;
  int64_t caseSamples = 0, caseAt = 0; // samples of the case before nextCase; 0: none is open
  bool rowsAreSamples = false;
  int64_t number = 0, sample = 0, firstBatch = 0;
  bool foundSamples = false, failed = false;
};

} // namespace quanta

#endif // QUANTA_CALIBRATE_DATA_H
