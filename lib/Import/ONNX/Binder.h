//===- Binder.h - Check a node of the file against its row --------------------------------------------------------===//
#ifndef QUANTA_LIB_IMPORT_ONNX_BINDER_H
#define QUANTA_LIB_IMPORT_ONNX_BINDER_H

#include "WeightStore.h"
#include "quanta/Import/ONNX/OpTable.h"
#include "quanta/Import/ONNX/Problems.h"

namespace mlir::quanta {

/// Name of a node for reports: its own or that of its first output.
std::string getDisplayName(const ::onnx::NodeProto &node);

/// Reports everything about inputs and attributes that the row does not allow. `subject` is the operator's name.
void checkNode(const ::onnx::NodeProto &node, const OpRow &row, StringRef subject, WeightStore &weights,
               Problems &problems);

/// The attributes of a checked node. Takes tensors' bytes away.
DictionaryAttr buildAttributes(::onnx::NodeProto &node, WeightStore &weights, MLIRContext *context);

} // namespace mlir::quanta
#endif
