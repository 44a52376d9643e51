// Value and gradient of the paper's loss, in one pass over blocks of pixels: the arithmetic of losses/blockwise.py,
// with its names. docs/loss.md has the algebra. Shape letters: K classes, P pixels of a sample, B pixels of a block.

#include <algorithm>
#include <cfloat>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <vector>

namespace {

constexpr int B = 1024;  // most pixels of a block. Classes are far apart in memory, and shorter rows are read slowly
constexpr int64_t CACHED = 32768;  // numbers of an array (K, B) that stay in a second-level cache with a further one
constexpr float FAR = 150.0f;  // exp(-150) is 0 in float32, and half of its power of two is still a normal number

inline float bits_to_float(int32_t bits) { float value; std::memcpy(&value, &bits, sizeof value); return value; }
inline int32_t float_to_bits(float value) { int32_t bits; std::memcpy(&bits, &value, sizeof bits); return bits; }

// exp(x) for x <= 0, to about 1e-7 relative. The power of two is applied in two halves, so that denormals come out.
inline float exp_below_zero(float x) {
  x = x < -FAR ? -FAR : x > 0 ? 0.0f : x;  // above 0 is only the largest class, whose value is not used
  const float rounded = std::nearbyint(x * 1.44269504f);
  const float r = (x - rounded * 0.693359375f) + rounded * 2.12194440e-4f;
  float p = 1.0f / 5040;
  p = p * r + 1.0f / 720;
  p = p * r + 1.0f / 120;
  p = p * r + 1.0f / 24;
  p = p * r + 1.0f / 6;
  p = p * r + 0.5f;
  p = p * r + 1.0f;
  p = p * r + 1.0f;
  const int32_t n = static_cast<int32_t>(rounded), half = n >> 1;
  return p * bits_to_float((half + 127) << 23) * bits_to_float((n - half + 127) << 23);
}

// 2 atanh(s) for |s| <= 1/3
inline float two_atanh(float s) {
  const float t = s * s;
  float p = 1.0f / 17;
  p = p * t + 1.0f / 15;
  p = p * t + 1.0f / 13;
  p = p * t + 1.0f / 11;
  p = p * t + 1.0f / 9;
  p = p * t + 1.0f / 7;
  p = p * t + 1.0f / 5;
  p = p * t + 1.0f / 3;
  return 2.0f * s * (1.0f + p * t);
}

// log(x) for x >= 1
inline float log_from_one(float x) {
  const int32_t bits = float_to_bits(x), n = (bits - 0x3f3504f3) >> 23;  // mantissa from sqrt(1/2) to sqrt(2)
  const float m = bits_to_float(bits - (n << 23)), f = m - 1.0f;
  return two_atanh(f / (2.0f + f)) + static_cast<float>(n) * 0.69314718f;
}

// log(1 + x) for x >= 0; what 1 + x rounds away is added again
inline float log1p_from_zero(float x) {
  const float u = 1.0f + x;
  return log_from_one(u) + (x - (u - 1.0f)) / u;
}

struct Weights {  // diagonal (K,); columns (K, K): columns[k * K + i] = c_ik times lambda, 0 where k = i
  const float *diagonal, *columns;
  bool penalty;
};

// Sum of the loss over the labelled ones of `count` pixels. Rows of logits and gradient are `stride` apart.
double block(const float* logits, const int32_t* labels, float* gradient, int64_t classes, int64_t stride, int count,
             const Weights& weights, int ignored, float scale, float* shares, float* pulls) {
  float first[B], second[B], rest[B], gap[B], behind[B], log_total[B], q_top[B], q_rest[B], own[B], value[B], pulled[B];
  float at_top[B], valid[B];
  int32_t top[B], truth[B];
  int labelled = 0;
  for (int b = 0; b < count; b++) {
    valid[b] = labels[b] == ignored ? 0.0f : 1.0f;
    labelled += labels[b] != ignored;
    truth[b] = labels[b] == ignored ? 0 : labels[b];
  }
  if (!labelled) {
    if (gradient)
      for (int64_t k = 0; k < classes; k++) std::memset(gradient + k * stride, 0, count * sizeof(float));
    return 0.0;
  }
  for (int b = 0; b < count; b++) {
    first[b] = shares[b] = logits[b];
    second[b] = -INFINITY;
    top[b] = 0;
  }
  for (int64_t k = 1; k < classes; k++) {
    const float* row = logits + k * stride;
    float* copy = shares + k * count;
#pragma omp simd
    for (int b = 0; b < count; b++) {
      const float x = copy[b] = row[b], lower = x > first[b] ? first[b] : x;
      top[b] = x > first[b] ? static_cast<int32_t>(k) : top[b];
      second[b] = lower > second[b] ? lower : second[b];
      first[b] = x > first[b] ? x : first[b];
    }
  }
  for (int b = 0; b < count; b++) {
    behind[b] = std::min(first[b] - shares[truth[b] * count + b], FLT_MAX);
    own[b] = weights.diagonal[truth[b]];
    at_top[b] = weights.columns[top[b] * classes + truth[b]];
  }
  std::fill_n(rest, count, 0.0f);
  for (int64_t k = 0; k < classes; k++) {
    float* share = shares + k * count;
#pragma omp simd
    for (int b = 0; b < count; b++) {
      const float e = exp_below_zero(share[b] - second[b]);
      share[b] = top[b] == k ? 0.0f : e;
      rest[b] += share[b];
    }
  }
#pragma omp simd
  for (int b = 0; b < count; b++) {
    const float difference = first[b] - second[b];
    gap[b] = difference > FLT_MAX ? FLT_MAX : difference;
    const float odds = rest[b] * exp_below_zero(-gap[b]);  // (1 - q_J) / q_J
    log_total[b] = log1p_from_zero(odds);
    q_top[b] = 1.0f / (1.0f + odds);
    q_rest[b] = odds * q_top[b];
    value[b] = own[b] * (log_total[b] + behind[b]);
    pulled[b] = 0.0f;
  }
  if (weights.penalty) {
    float penalty[B] = {0};
    float inverse[B];
    for (int b = 0; b < count; b++) inverse[b] = 1.0f / rest[b];
    for (int64_t k = 0; k < classes; k++) {
      float *share = shares + k * count, *pull = pulls + k * count;
      const float* column = weights.columns + k * classes;
#pragma omp simd
      for (int b = 0; b < count; b++) {
        const float c = column[truth[b]];
        const float normalised = share[b] * inverse[b], q = normalised * q_rest[b];  // q <= 1/2, since J is left out
        const float shared = 1.0f / ((2.0f - q) * (1.0f - q));
        share[b] = normalised;
        penalty[b] += c * two_atanh(q * (1.0f - q) * shared);  // -c log(1 - q)
        pull[b] = c * q * (2.0f - q) * shared;                 // c q / (1 - q)
        pulled[b] += pull[b];
      }
    }
#pragma omp simd
    for (int b = 0; b < count; b++) {
      const float log_of_rest = log_total[b] + gap[b] - log_from_one(rest[b]);  // -log(1 - q_J)
      value[b] += penalty[b];
      value[b] += at_top[b] == 0.0f ? 0.0f : at_top[b] * log_of_rest;
    }
  } else {
    for (int64_t k = 0; k < classes; k++) {
      float* share = shares + k * count;
#pragma omp simd
      for (int b = 0; b < count; b++) share[b] /= rest[b];
    }
  }
  double total = 0.0;
  for (int b = 0; b < count; b++) total += valid[b] != 0.0f ? static_cast<double>(value[b]) : 0.0;
  if (!gradient) return total;

  float factor[B], weight[B];
#pragma omp simd
  for (int b = 0; b < count; b++) {
    factor[b] = q_rest[b] * (own[b] - pulled[b]) - at_top[b] * q_top[b];
    weight[b] = valid[b] * scale;
  }
  for (int64_t k = 0; k < classes; k++) {
    const float *share = shares + k * count, *pull = pulls + k * count;
    float* out = gradient + k * stride;
    if (weights.penalty) {
#pragma omp simd
      for (int b = 0; b < count; b++) out[b] = (share[b] * factor[b] + pull[b]) * weight[b];
    } else {
#pragma omp simd
      for (int b = 0; b < count; b++) out[b] = share[b] * factor[b] * weight[b];
    }
  }
  for (int b = 0; b < count; b++) {
    // where the network is right and sure, q_i - 1 would round, so it is computed as minus the sum of the others
    const bool right = top[b] == truth[b];
    const float exact = -own[b] * q_rest[b] - q_top[b] * pulled[b];
    const float of_top = q_top[b] * (own[b] - pulled[b] + at_top[b]);
    gradient[top[b] * stride + b] = (right ? exact : of_top) * weight[b];
    if (!right) gradient[truth[b] * stride + b] -= own[b] * weight[b];
  }
  return total;
}

}  // namespace

// The number of pixels of a block.
extern "C" int64_t confseg_loss_block(int64_t classes) {
  return std::max<int64_t>(32, std::min<int64_t>(B, CACHED / classes / 32 * 32));
}

// logits (N, K, P); labels (N, P); scales (N,) = 1 / divisor; parts (N, ceil(P / B)) and gradient, or null, are written.
extern "C" void confseg_loss(const float* logits, const int32_t* labels, const float* diagonal, const float* columns,
                             int penalty, int ignored, const float* scales, int64_t samples, int64_t classes,
                             int64_t pixels, int threads, double* parts, float* gradient) {
  const Weights weights{diagonal, columns, penalty != 0};
  const int64_t width = confseg_loss_block(classes), blocks = (pixels + width - 1) / width;
#pragma omp parallel num_threads(threads)
  {
    std::vector<float> shares(classes * width), pulls(classes * width);
#pragma omp for schedule(static) collapse(2)
    for (int64_t n = 0; n < samples; n++) {
      for (int64_t i = 0; i < blocks; i++) {
        const int64_t from = n * classes * pixels + i * width;
        const int count = static_cast<int>(std::min<int64_t>(width, pixels - i * width));
        parts[n * blocks + i] = block(logits + from, labels + n * pixels + i * width, gradient ? gradient + from : nullptr,
                                      classes, pixels, count, weights, ignored, scales[n], shares.data(), pulls.data());
      }
    }
  }
}
