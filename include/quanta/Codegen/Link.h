//===- Link.h - Running the linker ----------------------------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_CODEGEN_LINK_H
#define QUANTA_CODEGEN_LINK_H

#include "quanta/Target/Target.h"
#include "llvm/ADT/ArrayRef.h"
#include "llvm/Support/Error.h"

namespace mlir::quanta {

/// Merges objects into one relocatable object.
llvm::Error linkRelocatable(llvm::ArrayRef<std::string> objects, llvm::StringRef output);

/// Makes a shared library that exports the functions of model `name` and the runtime's public symbols only. Temporary files
/// go to `folder`.
llvm::Error linkShared(llvm::ArrayRef<std::string> objects, llvm::StringRef name, const ::quanta::Target &target,
                       llvm::StringRef folder, llvm::StringRef output);

/// Makes an executable through a C compiler for the target, which knows where the system's start-up code lies.
llvm::Error linkExecutable(llvm::ArrayRef<std::string> objects, const ::quanta::Target &target, llvm::StringRef output);

} // namespace mlir::quanta

#endif // QUANTA_CODEGEN_LINK_H
