//===- Passes.td - Passes of lib/Lowering -*- tablegen -*-===//
#ifndef QUANTA_LOWERING_PASSES_TD
#define QUANTA_LOWERING_PASSES_TD

include "mlir/Pass/PassBase.td"

#endif
