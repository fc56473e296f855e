//===- ONNX.h - The onnx dialect ----------------------------------------------------------------------------------------===//
#ifndef QUANTA_DIALECT_ONNX_ONNX_H
#define QUANTA_DIALECT_ONNX_ONNX_H

#include "mlir/Bytecode/BytecodeOpInterface.h"
#include "mlir/Dialect/Arith/IR/Arith.h"
#include "mlir/Dialect/Func/IR/FuncOps.h"
#include "mlir/IR/Builders.h"
#include "mlir/IR/BuiltinAttributes.h"
#include "mlir/IR/Dialect.h"
#include "mlir/IR/OpDefinition.h"
#include "mlir/IR/OpImplementation.h"
#include "mlir/Interfaces/SideEffectInterfaces.h"

#include "quanta/Dialect/ONNX/ONNXDialect.h.inc"

#define GET_OP_CLASSES
#include "quanta/Dialect/ONNX/ONNXOps.h.inc"

#endif
