//===- Half.h - 16-bit floating-point formats -----------------------------------------------------------------*- C++ -*-===//
#ifndef QUANTA_SUPPORT_HALF_H
#define QUANTA_SUPPORT_HALF_H

#include <cstdint>
#include <cstring>

namespace quanta {

/// IEEE binary16; rounds once to nearest even, overflows to infinity.
inline uint16_t floatToHalf(double value) {
  _Float16 half = static_cast<_Float16>(value);
  uint16_t bits;
  std::memcpy(&bits, &half, sizeof bits);
  return bits;
}

inline float halfToFloat(uint16_t bits) {
  _Float16 half;
  std::memcpy(&half, &bits, sizeof half);
  return static_cast<float>(half);
}

/// bfloat16; rounds to nearest even and keeps NaN a NaN.
inline uint16_t floatToBfloat(float value) {
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof bits);
  if ((bits & 0x7fffffff) > 0x7f800000)
    return static_cast<uint16_t>(bits >> 16 | 0x40);
  return static_cast<uint16_t>((bits + 0x7fff + (bits >> 16 & 1)) >> 16);
}

inline float bfloatToFloat(uint16_t half) {
  uint32_t bits = static_cast<uint32_t>(half) << 16;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

} // namespace quanta

#endif // QUANTA_SUPPORT_HALF_H
