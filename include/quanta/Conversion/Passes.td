//===- Passes.td - Passes of lib/Conversion -*- tablegen -*-===//
#ifndef QUANTA_CONVERSION_PASSES_TD
#define QUANTA_CONVERSION_PASSES_TD

include "mlir/Pass/PassBase.td"

#endif
