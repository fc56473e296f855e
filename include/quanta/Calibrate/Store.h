//===- Store.h - Statistics on disk ---------------------------------------------------------------------------*- C++ -*-===//
//
// A folder with one file for each layer and fingerprint. Files appear complete or not at all, so a run that ended early
// resumes with the layers that are there. Processes that share the samples write a store each, which are merged.
//
//===----------------------------------------------------------------------------------------------------------------------===//
#ifndef QUANTA_CALIBRATE_STORE_H
#define QUANTA_CALIBRATE_STORE_H

#include "quanta/Calibrate/RunFolder.h"
#include "quanta/Calibrate/Statistics.h"
#include <string>

namespace quanta {

struct StoreKey {
  std::string layer;
  uint64_t run = 0; ///< fingerprint of model, data, seed and recipe

  /// What the statistics of this layer are made with.
  uint64_t getFingerprint() const;
};

class StatisticsStore {
public:
  /// Makes the folder if it is not there.
  static llvm::Expected<StatisticsStore> open(llvm::StringRef folder);

  std::string getPath(const StoreKey &key) const;
  /// Whether a file is there with the right fingerprint and size; false for a damaged or foreign one.
  bool has(const StoreKey &key) const;
  llvm::Expected<Statistics> load(const StoreKey &key) const;
  /// Replaces the file. The statistics must have been made with the key's fingerprint.
  llvm::Error save(const StoreKey &key, const Statistics &statistics) const;
  /// Adds what `other` has, in the order of file names, one layer in memory at a time. Samples that are here already
  /// are passed over if all of a file's are, so a merge that ended early can be repeated.
  llvm::Error mergeFrom(const StatisticsStore &other) const;

private:
  explicit StatisticsStore(std::string folder) : folder(std::move(folder)) {}
  std::string folder;
};

} // namespace quanta

#endif // QUANTA_CALIBRATE_STORE_H
