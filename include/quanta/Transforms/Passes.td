//===- Passes.td - Passes of lib/Transforms -*- tablegen -*-===//
#ifndef QUANTA_TRANSFORMS_PASSES_TD
#define QUANTA_TRANSFORMS_PASSES_TD

include "mlir/Pass/PassBase.td"

#endif
