//===- Error.h - Errors that a user can act on ----------------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_SUPPORT_ERROR_H
#define QUANTA_SUPPORT_ERROR_H

#include "llvm/ADT/Twine.h"
#include "llvm/Support/Error.h"

namespace quanta {

/// One message that names the file or model, what is wrong, and the remedy. Starts in lower case, without a full stop.
inline llvm::Error userError(const llvm::Twine &message) {
  return llvm::createStringError(llvm::inconvertibleErrorCode(), message);
}

} // namespace quanta

#endif // QUANTA_SUPPORT_ERROR_H
