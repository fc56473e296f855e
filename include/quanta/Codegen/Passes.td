//===- Passes.td - Passes of lib/Codegen -*- tablegen -*-===//
#ifndef QUANTA_CODEGEN_PASSES_TD
#define QUANTA_CODEGEN_PASSES_TD

include "mlir/Pass/PassBase.td"

#endif
