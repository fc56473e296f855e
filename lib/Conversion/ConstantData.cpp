//===- ConstantData.cpp - Numbers of ONNX constants -------------------------------------------------------------===//
#include "ConvertContext.h"

using namespace mlir;
using namespace mlir::quanta;

static ArrayRef<char> getResourceData(DenseResourceElementsAttr attr) {
  AsmResourceBlob *blob = attr.getRawHandle().getBlob();
  return blob ? blob->getData() : ArrayRef<char>();
}

template <typename T> static T load(ArrayRef<char> data, size_t index) {
  T value;
  memcpy(&value, data.data() + index * sizeof(T), sizeof(T));
  return value;
}

std::vector<float> quanta::readFloats(ElementsAttr attr) {
  std::vector<float> result(attr.getNumElements());
  Type type = attr.getElementType();
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(Attribute(attr))) {
    ArrayRef<char> data = getResourceData(resource);
    if (data.size() < result.size() * type.getIntOrFloatBitWidth() / 8)
      return result;
    if (type.isF32()) {
      memcpy(result.data(), data.data(), result.size() * sizeof(float));
    } else if (type.isF64()) {
      for (size_t i = 0; i < result.size(); ++i)
        result[i] = static_cast<float>(load<double>(data, i));
    } else if (type.isBF16()) {
      for (size_t i = 0; i < result.size(); ++i)
        result[i] = llvm::bit_cast<float>(static_cast<uint32_t>(load<uint16_t>(data, i)) << 16);
    } else {
      for (size_t i = 0; i < result.size(); ++i)
        result[i] = APFloat(APFloat::IEEEhalf(), APInt(16, load<uint16_t>(data, i))).convertToFloat();
    }
    return result;
  }
  for (auto [out, value] : llvm::zip(result, cast<DenseElementsAttr>(attr).getValues<APFloat>())) {
    APFloat number = value;
    bool lost;
    number.convert(APFloat::IEEEsingle(), APFloat::rmNearestTiesToEven, &lost);
    out = number.convertToFloat();
  }
  return result;
}

SmallVector<int64_t> quanta::readInts(ElementsAttr attr) {
  SmallVector<int64_t> result;
  unsigned bits = attr.getElementType().getIntOrFloatBitWidth();
  bool zeroExtend = attr.getElementType().isUnsignedInteger() || bits == 1;
  if (auto resource = dyn_cast<DenseResourceElementsAttr>(Attribute(attr))) {
    ArrayRef<char> data = getResourceData(resource);
    size_t bytes = llvm::divideCeil(bits, 8);
    for (size_t i = 0; (i + 1) * bytes <= data.size(); ++i) {
      uint64_t value = 0;
      memcpy(&value, data.data() + i * bytes, bytes);
      result.push_back(zeroExtend ? value : llvm::SignExtend64(value, bits));
    }
    return result;
  }
  for (const APInt &value : cast<DenseElementsAttr>(attr).getValues<APInt>())
    result.push_back(zeroExtend ? value.getZExtValue() : value.getSExtValue());
  return result;
}
