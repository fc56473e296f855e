//===- RunFolder.h - Where a calibration run keeps what it has done -------------------------------------------*- C++ -*-===//
#ifndef QUANTA_CALIBRATE_RUNFOLDER_H
#define QUANTA_CALIBRATE_RUNFOLDER_H

#include "quanta/Support/Error.h"
#include "llvm/ADT/StringRef.h"
#include <memory>
#include <string>

namespace quanta {

/// A hash of strings; ("ab", "c") and ("a", "bc") differ.
uint64_t fingerprintOf(llvm::ArrayRef<llvm::StringRef> strings);

/// A folder of one run in a store, named by the fingerprint of all that its contents depend on: `STORE/run-FINGERPRINT`. Other
/// runs may lie beside it. While it is open no other process can open the same one.
class RunFolder {
public:
  /// `store` empty: a temporary folder, removed in the end. Without `resume` an earlier run of the same fingerprint is removed.
  static llvm::Expected<std::unique_ptr<RunFolder>> open(llvm::StringRef store, uint64_t fingerprint, bool resume);
  ~RunFolder();
  RunFolder(const RunFolder &) = delete;
  RunFolder &operator=(const RunFolder &) = delete;

  std::string getPath(const llvm::Twine &name) const { return (folder + "/" + name).str(); }
  /// A folder within; it is complete only when it says so, and then a run that was cut off may use it.
  llvm::Error startPart(const llvm::Twine &name) const;
  llvm::Error completePart(const llvm::Twine &name) const;
  bool isComplete(const llvm::Twine &name) const;
  void removePart(const llvm::Twine &name) const;
  /// Bytes of all files of a part.
  uint64_t getPartBytes(const llvm::Twine &name) const;

private:
  RunFolder(std::string folder, bool temporary, int lock) : folder(std::move(folder)), temporary(temporary), lock(lock) {}
  std::string folder;
  bool temporary;
  int lock; // an open file; the system gives the lock back even if the process is killed
};

} // namespace quanta

#endif // QUANTA_CALIBRATE_RUNFOLDER_H
