// Eight numbers that are computed with together.

#pragma once

#include <cstdint>

namespace {

using Lanes = float __attribute__((vector_size(32)));
using Unaligned = float __attribute__((vector_size(32), aligned(4), may_alias));

inline Lanes load(const float* from) { return *reinterpret_cast<const Unaligned*>(from); }
inline void store(float* to, Lanes value) { *reinterpret_cast<Unaligned*>(to) = value; }
inline int64_t whole_lanes(int64_t width) { return (width + 7) / 8 * 8; }

}  // namespace
