//===- Passes.h - Passes of lib/Conversion ------------------------------------------------------------------------===//
#ifndef QUANTA_CONVERSION_PASSES_H
#define QUANTA_CONVERSION_PASSES_H

#include "mlir/Pass/Pass.h"

namespace mlir::quanta {
#define GEN_PASS_DECL
#define GEN_PASS_REGISTRATION
#include "quanta/Conversion/Passes.h.inc"
} // namespace mlir::quanta
#endif
