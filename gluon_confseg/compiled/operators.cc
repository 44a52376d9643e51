// Operators of a training step for arrays in MXNet's ordinary layout (N, C, H, W), through MXNet's extension interface:
// batch norm with a clip, depthwise convolution, and dilated convolution. See __init__.py for what they are for.

#include <dlfcn.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <cstring>
#include <string>
#include <unordered_map>
#include <vector>

#include "dilated.h"
#include "lanes.h"
#include "mxnet/lib_api.h"

namespace {

using mxnet::ext::MXTensor;
using mxnet::ext::OpResource;
using Attributes = std::unordered_map<std::string, std::string>;
using Shapes = std::vector<std::vector<unsigned int>>;
constexpr auto SUCCESS = mxnet::ext::MX_SUCCESS;

float number(const Attributes& attributes, const char* name) { return std::stof(attributes.at(name)); }

mxnet::ext::MXReturnValue float32(const Attributes&, std::vector<int>* inputs, std::vector<int>* outputs) {
  std::fill(inputs->begin(), inputs->end(), mxnet::ext::kFloat32);
  std::fill(outputs->begin(), outputs->end(), mxnet::ext::kFloat32);
  return SUCCESS;
}

// ---- batch norm by the batch's statistics, then a clip to [low, high]

struct Planes {  // of an array (samples, channels, ...), each of so many pixels
  int64_t samples, channels, pixels;
  explicit Planes(const MXTensor& array) : samples(array.shape[0]), channels(array.shape[1]), pixels(1) {
    for (size_t axis = 2; axis < array.shape.size(); axis++) pixels *= array.shape[axis];
  }
  int64_t at(int64_t sample, int64_t channel) const { return (sample * channels + channel) * pixels; }
  double count() const { return static_cast<double>(samples * pixels); }
};

// inputs: x, gamma, beta, running mean, running variance; outputs: y, the batch's mean, its inverse deviation
mxnet::ext::MXReturnValue norm_arity(const Attributes&, int* inputs, int* outputs) {
  *inputs = 5;
  *outputs = 3;
  return SUCCESS;
}

mxnet::ext::MXReturnValue norm_shapes(const Attributes&, Shapes* inputs, Shapes* outputs) {
  const std::vector<unsigned int> image = inputs->at(0), channels{image.at(1)};
  std::fill(inputs->begin() + 1, inputs->end(), channels);
  *outputs = {image, channels, channels};
  return SUCCESS;
}

mxnet::ext::MXReturnValue norm_mutates(const Attributes&, std::vector<int>* inputs) {
  *inputs = {3, 4};
  return SUCCESS;
}

mxnet::ext::MXReturnValue norm_forward(const Attributes& attributes, std::vector<MXTensor>* inputs,
                                       std::vector<MXTensor>* outputs, const OpResource&) {
  const Planes planes(inputs->at(0));
  const float *x = inputs->at(0).data<float>(), *gamma = inputs->at(1).data<float>(), *beta = inputs->at(2).data<float>();
  float *running_mean = inputs->at(3).data<float>(), *running_variance = inputs->at(4).data<float>();
  float *y = outputs->at(0).data<float>(), *means = outputs->at(1).data<float>(), *inverses = outputs->at(2).data<float>();
  const float epsilon = number(attributes, "eps"), momentum = number(attributes, "momentum");
  const float low = number(attributes, "low"), high = number(attributes, "high");
#pragma omp parallel for schedule(static)
  for (int64_t c = 0; c < planes.channels; c++) {
    double sum = 0, squares = 0;  // of planes, each summed in float32
    for (int64_t n = 0; n < planes.samples; n++) {
      const float* plane = x + planes.at(n, c);
      float part = 0;
#pragma omp simd reduction(+ : part)
      for (int64_t i = 0; i < planes.pixels; i++) part += plane[i];
      sum += part;
    }
    const float mean = static_cast<float>(sum / planes.count());
    for (int64_t n = 0; n < planes.samples; n++) {
      const float* plane = x + planes.at(n, c);
      float part = 0;
#pragma omp simd reduction(+ : part)
      for (int64_t i = 0; i < planes.pixels; i++) part += (plane[i] - mean) * (plane[i] - mean);
      squares += part;
    }
    const float variance = static_cast<float>(squares / planes.count());
    const float inverse = 1.0f / std::sqrt(variance + epsilon);
    const float scale = gamma[c] * inverse, shift = beta[c] - mean * scale;
    means[c] = mean;
    inverses[c] = inverse;
    running_mean[c] = running_mean[c] * momentum + mean * (1 - momentum);
    running_variance[c] = running_variance[c] * momentum + variance * (1 - momentum);
    for (int64_t n = 0; n < planes.samples; n++) {
      const float* plane = x + planes.at(n, c);
      float* out = y + planes.at(n, c);
#pragma omp simd
      for (int64_t i = 0; i < planes.pixels; i++) {
        const float value = plane[i] * scale + shift, above = value < low ? low : value;
        out[i] = above > high ? high : above;
      }
    }
  }
  return SUCCESS;
}

// inputs: gradients of the three outputs, the five inputs, the three outputs; outputs: gradients of the five inputs
mxnet::ext::MXReturnValue norm_backward(const Attributes& attributes, std::vector<MXTensor>* inputs,
                                        std::vector<MXTensor>* outputs, const OpResource&) {
  const Planes planes(inputs->at(3));
  const float *upstream = inputs->at(0).data<float>(), *x = inputs->at(3).data<float>();
  const float *gamma = inputs->at(4).data<float>(), *beta = inputs->at(5).data<float>();
  const float *means = inputs->at(9).data<float>(), *inverses = inputs->at(10).data<float>();
  const float low = number(attributes, "low"), high = number(attributes, "high");
  float *of_x = outputs->at(0).data<float>(), *of_gamma = outputs->at(1).data<float>();
  float* of_beta = outputs->at(2).data<float>();
  for (int i : {3, 4}) std::fill_n(outputs->at(i).data<float>(), planes.channels, 0.0f);
#pragma omp parallel for schedule(static)
  for (int64_t c = 0; c < planes.channels; c++) {
    const float mean = means[c], inverse = inverses[c], scale = gamma[c] * inverse, shift = beta[c] - mean * scale;
    double sum = 0, sum_by_x = 0;
    for (int64_t n = 0; n < planes.samples; n++) {
      const float *plane = x + planes.at(n, c), *gradient = upstream + planes.at(n, c);
      float part = 0, part_by_x = 0;
#pragma omp simd reduction(+ : part, part_by_x)
      for (int64_t i = 0; i < planes.pixels; i++) {
        const float value = plane[i] * scale + shift, passed = value > low && value < high ? gradient[i] : 0.0f;
        part += passed;
        part_by_x += passed * (plane[i] - mean);
      }
      sum += part;
      sum_by_x += part_by_x;
    }
    of_gamma[c] = static_cast<float>(sum_by_x * inverse);
    of_beta[c] = static_cast<float>(sum);
    const double slope = -scale * static_cast<double>(inverse) * inverse * sum_by_x / planes.count();
    const float by_x = static_cast<float>(slope);
    const float constant = static_cast<float>(-scale * sum / planes.count() - slope * mean);
    for (int64_t n = 0; n < planes.samples; n++) {
      const float *plane = x + planes.at(n, c), *gradient = upstream + planes.at(n, c);
      float* out = of_x + planes.at(n, c);
#pragma omp simd
      for (int64_t i = 0; i < planes.pixels; i++) {
        const float value = plane[i] * scale + shift, passed = value > low && value < high ? gradient[i] : 0.0f;
        out[i] = passed * scale + plane[i] * by_x + constant;
      }
    }
  }
  return SUCCESS;
}

// ---- depthwise convolution with a kernel of 3 or 5, stride 1 or 2, and half a kernel of padding

struct Geometry {
  int64_t samples, channels, height, width, out_height, out_width;
  int kernel, stride, padding;
  Geometry(const Attributes& attributes, const MXTensor& x)
      : samples(x.shape[0]), channels(x.shape[1]), height(x.shape[2]), width(x.shape[3]),
        kernel(static_cast<int>(number(attributes, "kernel"))), stride(static_cast<int>(number(attributes, "stride"))),
        padding(kernel / 2) {
    out_height = (height + 2 * padding - kernel) / stride + 1;
    out_width = (width + 2 * padding - kernel) / stride + 1;
  }
};

mxnet::ext::MXReturnValue depthwise_arity(const Attributes&, int* inputs, int* outputs) {
  *inputs = 2;
  *outputs = 1;
  return SUCCESS;
}

mxnet::ext::MXReturnValue depthwise_shapes(const Attributes& attributes, Shapes* inputs, Shapes* outputs) {
  const std::vector<unsigned int> x = inputs->at(0);
  const unsigned int kernel = number(attributes, "kernel"), stride = number(attributes, "stride");
  if ((kernel != 3 && kernel != 5) || (stride != 1 && stride != 2)) return mxnet::ext::MX_FAIL;
  const auto after = [=](unsigned int length) { return (length + kernel / 2 * 2 - kernel) / stride + 1; };
  inputs->at(1) = {x.at(1), 1, kernel, kernel};
  outputs->at(0) = {x.at(0), x.at(1), after(x.at(2)), after(x.at(3))};
  return SUCCESS;
}

// A plane with zeros around it, whose rows are `width` long. At stride 2 a row holds its even columns and then, from
// width / 2 on, its odd ones, so that the pixels of neighbouring windows are neighbours.
template <int STRIDE>
struct Padded {
  int64_t width;
  std::vector<float> values;
  Padded(int64_t rows, int64_t columns, int padding)
      : width(STRIDE * (whole_lanes(columns + 2 * padding) + 16)), values(width * (rows + 2 * padding + 2), 0.0f) {}
  int64_t offset(int column) const { return STRIDE == 1 ? column : (column & 1) * (width / 2) + column / 2; }
  void fill(const float* plane, int64_t rows, int64_t columns, int padding) {
    for (int64_t y = 0; y < rows; y++) {
      const float* from = plane + y * columns;
      float* to = values.data() + (y + padding) * width;
      if (STRIDE == 1)
        std::memcpy(to + padding, from, columns * sizeof(float));
      else
        for (int64_t x = 0; x < columns; x++) to[offset(static_cast<int>(x) + padding)] = from[x];
    }
  }
};

// Correlate a padded plane with a kernel: rows of `columns`, a multiple of the lanes, are written `columns` apart.
template <int KERNEL, int STRIDE>
inline void correlate(const Padded<STRIDE>& plane, const float* kernel, float* out, int64_t rows, int64_t columns) {
  for (int64_t x = 0; x < columns; x += 8) {
    int64_t y = 0;
    for (; y + 2 <= rows; y += 2) {  // two rows share the loads of the kernel
      Lanes first = {}, second = {};
      const float* window = plane.values.data() + STRIDE * y * plane.width + x;
      for (int i = 0; i < KERNEL; i++)
        for (int j = 0; j < KERNEL; j++) {
          const float* at = window + i * plane.width + plane.offset(j);
          first += kernel[i * KERNEL + j] * load(at);
          second += kernel[i * KERNEL + j] * load(at + STRIDE * plane.width);
        }
      store(out + y * columns + x, first);
      store(out + (y + 1) * columns + x, second);
    }
    if (y < rows) {
      Lanes last = {};
      const float* window = plane.values.data() + STRIDE * y * plane.width + x;
      for (int i = 0; i < KERNEL; i++)
        for (int j = 0; j < KERNEL; j++)
          last += kernel[i * KERNEL + j] * load(window + i * plane.width + plane.offset(j));
      store(out + y * columns + x, last);
    }
  }
}

// As `correlate`, to rows of any length, by way of `wide` where that is no multiple of the lanes.
template <int KERNEL, int STRIDE>
inline void correlate_any(const Padded<STRIDE>& plane, const float* kernel, float* out, int64_t rows, int64_t columns,
                          std::vector<float>* wide) {
  const int64_t whole = whole_lanes(columns);
  if (whole == columns) return correlate<KERNEL, STRIDE>(plane, kernel, out, rows, columns);
  wide->resize(std::max<size_t>(wide->size(), whole * rows));
  correlate<KERNEL, STRIDE>(plane, kernel, wide->data(), rows, whole);
  for (int64_t y = 0; y < rows; y++) std::memcpy(out + y * columns, wide->data() + y * whole, columns * sizeof(float));
}

template <int KERNEL, int STRIDE>
void depthwise_forward(const Geometry& g, const float* x, const float* kernels, float* y) {
#pragma omp parallel
  {
    Padded<STRIDE> plane(g.height, g.width, g.padding);
    std::vector<float> wide;
#pragma omp for schedule(static) collapse(2)
    for (int64_t c = 0; c < g.channels; c++)
      for (int64_t n = 0; n < g.samples; n++) {
        const int64_t number = n * g.channels + c;
        plane.fill(x + number * g.height * g.width, g.height, g.width, g.padding);
        correlate_any<KERNEL, STRIDE>(plane, kernels + c * KERNEL * KERNEL, y + number * g.out_height * g.out_width,
                                      g.out_height, g.out_width, &wide);
      }
  }
}

template <int KERNEL, int STRIDE>
void depthwise_backward(const Geometry& g, const float* upstream, const float* x, const float* kernels, float* of_x,
                        float* of_kernels) {
  constexpr int TAPS = KERNEL * KERNEL;
  const int64_t whole = whole_lanes(g.out_width);
#pragma omp parallel
  {
    Padded<STRIDE> plane(g.height, g.width, g.padding), spread(g.height, g.width, g.padding);
    Padded<1> gradient(std::max(g.out_height, g.height), std::max(g.out_width, g.width), g.padding);
    std::vector<float> wide;
#pragma omp for schedule(static)
    for (int64_t c = 0; c < g.channels; c++) {  // one thread sums a kernel's gradient, whatever their number
      const float* kernel = kernels + c * TAPS;
      float turned[TAPS];
      Lanes sums[TAPS] = {};
      std::reverse_copy(kernel, kernel + TAPS, turned);
      for (int64_t n = 0; n < g.samples; n++) {
        const int64_t number = n * g.channels + c;
        plane.fill(x + number * g.height * g.width, g.height, g.width, g.padding);
        gradient.fill(upstream + number * g.out_height * g.out_width, g.out_height, g.out_width, g.padding);
        const auto row_of = [&](int64_t y) { return gradient.values.data() + (y + g.padding) * gradient.width + g.padding; };
        for (int i = 0; i < KERNEL; i++) {
          Lanes parts[KERNEL];
          std::copy_n(sums + i * KERNEL, KERNEL, parts);
          for (int64_t y = 0; y < g.out_height; y++) {
            const float *row = row_of(y), *window = plane.values.data() + (STRIDE * y + i) * plane.width;
            for (int64_t q = 0; q < whole; q += 8)  // zeros beyond the row's end add nothing
              for (int j = 0; j < KERNEL; j++) parts[j] += load(row + q) * load(window + q + plane.offset(j));
          }
          std::copy_n(parts, KERNEL, sums + i * KERNEL);
        }
        float* out = of_x + number * g.height * g.width;
        if (STRIDE == 1) {
          correlate_any<KERNEL, 1>(gradient, turned, out, g.height, g.width, &wide);
          continue;
        }
        std::fill(spread.values.begin(), spread.values.end(), 0.0f);
        for (int64_t y = 0; y < g.out_height; y++)
          for (int i = 0; i < KERNEL; i++) {
            const float* row = row_of(y);
            float* to = spread.values.data() + (STRIDE * y + i) * spread.width;
            for (int64_t q = 0; q < whole; q += 8)
              for (int j = 0; j < KERNEL; j++) {
                float* at = to + q + spread.offset(j);
                store(at, load(at) + kernel[i * KERNEL + j] * load(row + q));
              }
          }
        for (int64_t y = 0; y < g.height; y++) {
          const float* from = spread.values.data() + (y + g.padding) * spread.width;
          for (int64_t q = 0; q < g.width; q++) out[y * g.width + q] = from[spread.offset(static_cast<int>(q) + g.padding)];
        }
      }
      for (int tap = 0; tap < TAPS; tap++) {
        float total = 0;
        for (int lane = 0; lane < 8; lane++) total += sums[tap][lane];
        of_kernels[c * TAPS + tap] = total;
      }
    }
  }
}

#define CALL_BY_GEOMETRY(function, g, ...)                                                \
  (g.kernel == 3 ? (g.stride == 1 ? function<3, 1>(g, __VA_ARGS__) : function<3, 2>(g, __VA_ARGS__)) \
                 : (g.stride == 1 ? function<5, 1>(g, __VA_ARGS__) : function<5, 2>(g, __VA_ARGS__)))

mxnet::ext::MXReturnValue depthwise_value(const Attributes& attributes, std::vector<MXTensor>* inputs,
                                          std::vector<MXTensor>* outputs, const OpResource&) {
  const Geometry g(attributes, inputs->at(0));
  CALL_BY_GEOMETRY(depthwise_forward, g, inputs->at(0).data<float>(), inputs->at(1).data<float>(),
                   outputs->at(0).data<float>());
  return SUCCESS;
}

mxnet::ext::MXReturnValue depthwise_gradients(const Attributes& attributes, std::vector<MXTensor>* inputs,
                                              std::vector<MXTensor>* outputs, const OpResource&) {
  const Geometry g(attributes, inputs->at(1));
  CALL_BY_GEOMETRY(depthwise_backward, g, inputs->at(0).data<float>(), inputs->at(1).data<float>(),
                   inputs->at(2).data<float>(), outputs->at(0).data<float>(), outputs->at(1).data<float>());
  return SUCCESS;
}

// ---- dilated convolution with a kernel of 3 x 3, stride 1, and as much padding as dilation

// A sum of nine matrix products, one for each tap, of the tap's weights with the pixels that it meets. Taps of one row
// of the kernel differ by whole rows of pixels, which are a shift of the pointer; only columns are shifted by a copy.

using Sgemm = void (*)(int, int, int, int, int, int, float, const float*, int, const float*, int, float, float*, int);
constexpr int ROW_MAJOR = 101, AS_IS = 111, TRANSPOSED = 112;  // of CBLAS
constexpr int64_t CHANNELS_AT_ONCE = 256;
constexpr int TAPS_OF_3 = 9;

Sgemm find_sgemm() {  // of the OpenBLAS that MXNet has loaded
  void* blas = dlopen("libopenblas.so.0", RTLD_LAZY | RTLD_NOLOAD);
  return blas ? reinterpret_cast<Sgemm>(dlsym(blas, "cblas_sgemm")) : nullptr;
}

Sgemm sgemm() {
  static const Sgemm found = find_sgemm();
  return found;
}

struct Grid {
  int64_t height, width, dilation;
  int64_t pixels() const { return height * width; }
};

// to[c][y][x] = from[c][y][x + by], 0 outside
void shift_columns(const Grid& grid, const float* from, int64_t channels, int64_t by, float* to) {
  const int64_t first = std::max<int64_t>(0, -by), last = std::min(grid.width, grid.width - by);
#pragma omp parallel for schedule(static)
  for (int64_t row = 0; row < channels * grid.height; row++) {
    const float* source = from + row * grid.width;
    float* target = to + row * grid.width;
    std::fill(target, target + first, 0.0f);
    std::copy(source + first + by, source + last + by, target + first);
    std::fill(target + last, target + grid.width, 0.0f);
  }
}

// Calls product(tap, row of the result, row of the shifted plane, rows) for each tap, with a plane whose columns have
// been shifted for it; `sign` -1 turns the kernel around.
template <typename Product>
void for_each_tap(const Grid& grid, const float* planes, int64_t channels, int sign, std::vector<float>* shifted,
                  const Product& product) {
  for (int j = 0; j < 3; j++) {
    const int64_t across = sign * (j - 1) * grid.dilation;
    if (std::abs(across) >= grid.width) continue;
    if (across) shift_columns(grid, planes, channels, across, shifted->data());
    for (int i = 0; i < 3; i++) {
      const int64_t down = sign * (i - 1) * grid.dilation;
      const int64_t first = std::max<int64_t>(0, -down), last = std::min(grid.height, grid.height - down);
      if (first < last) product(i * 3 + j, first, first + down, last - first, across ? shifted->data() : planes);
    }
  }
}

// out (samples, outputs, ...) += the convolution of in (samples, inputs, ...); the weight of an output and an input
// begins at output * of_output + input * of_input.
void add_dilated(const Grid& grid, int64_t samples, const float* in, int64_t inputs, float* out, int64_t outputs,
                 const float* weights, int64_t of_output, int64_t of_input, int sign) {
  const int64_t pixels = grid.pixels(), most = std::min(inputs, CHANNELS_AT_ONCE);
  std::vector<float> taps(TAPS_OF_3 * outputs * most), shifted(most * pixels);
  for (int64_t start = 0; start < inputs; start += most) {
    const int64_t some = std::min(most, inputs - start);
#pragma omp parallel for schedule(static)
    for (int64_t o = 0; o < outputs; o++)
      for (int64_t c = 0; c < some; c++)
        for (int tap = 0; tap < TAPS_OF_3; tap++)
          taps[(tap * outputs + o) * some + c] = weights[o * of_output + (start + c) * of_input + tap];
    for (int64_t n = 0; n < samples; n++) {
      float* result = out + n * outputs * pixels;
      for_each_tap(grid, in + (n * inputs + start) * pixels, some, sign, &shifted,
                   [&](int tap, int64_t to_row, int64_t from_row, int64_t rows, const float* planes) {
                     sgemm()(ROW_MAJOR, AS_IS, AS_IS, outputs, rows * grid.width, some, 1.0f,
                             taps.data() + tap * outputs * some, some, planes + from_row * grid.width, pixels, 1.0f,
                             result + to_row * grid.width, pixels);
                   });
    }
  }
}

void dilated_of_weights(const Grid& grid, int64_t samples, const float* in, int64_t inputs, const float* upstream,
                        int64_t outputs, float* of_weights) {
  const int64_t pixels = grid.pixels(), most = std::min(inputs, CHANNELS_AT_ONCE);
  std::vector<float> taps(TAPS_OF_3 * outputs * most), shifted(most * pixels);
  for (int64_t start = 0; start < inputs; start += most) {
    const int64_t some = std::min(most, inputs - start);
    std::fill(taps.begin(), taps.end(), 0.0f);
    for (int64_t n = 0; n < samples; n++) {
      const float* gradient = upstream + n * outputs * pixels;
      for_each_tap(grid, in + (n * inputs + start) * pixels, some, 1, &shifted,
                   [&](int tap, int64_t to_row, int64_t from_row, int64_t rows, const float* planes) {
                     sgemm()(ROW_MAJOR, AS_IS, TRANSPOSED, outputs, some, rows * grid.width, 1.0f,
                             gradient + to_row * grid.width, pixels, planes + from_row * grid.width, pixels, 1.0f,
                             taps.data() + tap * outputs * some, some);
                   });
    }
#pragma omp parallel for schedule(static)
    for (int64_t o = 0; o < outputs; o++)
      for (int64_t c = 0; c < some; c++)
        for (int tap = 0; tap < TAPS_OF_3; tap++)
          of_weights[(o * inputs + start + c) * TAPS_OF_3 + tap] = taps[(tap * outputs + o) * some + c];
  }
}

// inputs: x, weight, and with "bias" 1 the bias
mxnet::ext::MXReturnValue dilated_arity(const Attributes& attributes, int* inputs, int* outputs) {
  *inputs = number(attributes, "bias") ? 3 : 2;
  *outputs = 1;
  return SUCCESS;
}

mxnet::ext::MXReturnValue dilated_shapes(const Attributes& attributes, Shapes* inputs, Shapes* outputs) {
  std::vector<unsigned int> shape = inputs->at(0);
  const unsigned int filters = number(attributes, "filters");
  inputs->at(1) = {filters, shape.at(1), 3, 3};
  if (inputs->size() > 2) inputs->at(2) = {filters};
  shape.at(1) = filters;
  outputs->at(0) = shape;
  return SUCCESS;
}

Grid grid_of(const Attributes& attributes, const MXTensor& x) {
  return {x.shape[2], x.shape[3], static_cast<int64_t>(number(attributes, "dilation"))};
}

mxnet::ext::MXReturnValue dilated_value(const Attributes& attributes, std::vector<MXTensor>* inputs,
                                        std::vector<MXTensor>* outputs, const OpResource&) {
  if (sgemm() == nullptr) return mxnet::ext::MX_FAIL;
  const Grid grid = grid_of(attributes, inputs->at(0));
  const int64_t samples = inputs->at(0).shape[0], channels = inputs->at(0).shape[1], pixels = grid.pixels();
  const int64_t filters = outputs->at(0).shape[1];
  float* y = outputs->at(0).data<float>();
  const float* bias = inputs->size() > 2 ? inputs->at(2).data<float>() : nullptr;
#pragma omp parallel for schedule(static)
  for (int64_t plane = 0; plane < samples * filters; plane++)
    std::fill_n(y + plane * pixels, pixels, bias ? bias[plane % filters] : 0.0f);
  add_dilated(grid, samples, inputs->at(0).data<float>(), channels, y, filters, inputs->at(1).data<float>(),
              channels * TAPS_OF_3, TAPS_OF_3, 1);
  return SUCCESS;
}

// inputs: the gradient of the output, the inputs, the output; outputs: the gradients of the inputs. That of x is left
// out with "of_x" 0: nobody asks for it.
mxnet::ext::MXReturnValue dilated_gradients(const Attributes& attributes, std::vector<MXTensor>* inputs,
                                            std::vector<MXTensor>* outputs, const OpResource&) {
  if (sgemm() == nullptr) return mxnet::ext::MX_FAIL;
  const MXTensor& x = inputs->at(1);
  const Grid grid = grid_of(attributes, x);
  const int64_t samples = x.shape[0], channels = x.shape[1], pixels = grid.pixels();
  const int64_t filters = inputs->at(0).shape[1];
  const float *upstream = inputs->at(0).data<float>(), *values = inputs->at(1).data<float>();
  float* of_x = outputs->at(0).data<float>();
  if (!attributes.count("of_x") || number(attributes, "of_x")) {
    std::memset(of_x, 0, samples * channels * pixels * sizeof(float));
    add_dilated(grid, samples, upstream, filters, of_x, channels, inputs->at(2).data<float>(), TAPS_OF_3,
                channels * TAPS_OF_3, -1);
  }
  dilated_of_weights(grid, samples, values, channels, upstream, filters, outputs->at(1).data<float>());
  if (outputs->size() > 2)
    confseg_dilated_products::sum_planes(upstream, samples, filters, pixels, outputs->at(2).data<float>());
  return SUCCESS;
}

}  // namespace

namespace confseg_dilated_products {

bool available() { return sgemm() != nullptr; }

mxnet::ext::MXReturnValue arity(const Attributes& attributes, int* inputs, int* outputs) {
  return dilated_arity(attributes, inputs, outputs);
}

mxnet::ext::MXReturnValue shapes(const Attributes& attributes, Shapes* inputs, Shapes* outputs) {
  return dilated_shapes(attributes, inputs, outputs);
}

mxnet::ext::MXReturnValue value(const Attributes& attributes, Arrays* inputs, Arrays* outputs, const OpResource& resource) {
  return dilated_value(attributes, inputs, outputs, resource);
}

mxnet::ext::MXReturnValue gradients(const Attributes& attributes, Arrays* inputs, Arrays* outputs,
                                    const OpResource& resource) {
  return dilated_gradients(attributes, inputs, outputs, resource);
}

// (samples, channels, pixels) -> (channels,)
void sum_planes(const float* planes, int64_t samples, int64_t channels, int64_t pixels, float* sums) {
#pragma omp parallel for schedule(static)
  for (int64_t c = 0; c < channels; c++) {
    double sum = 0;
    for (int64_t n = 0; n < samples; n++) {
      const float* plane = planes + (n * channels + c) * pixels;
      for (int64_t i = 0; i < pixels; i++) sum += plane[i];
    }
    sums[c] = static_cast<float>(sum);
  }
}

}  // namespace confseg_dilated_products

// Whether confseg_dilated can be called.
extern "C" int confseg_has_dilated() { return sgemm() != nullptr; }

using namespace mxnet::ext;  // REGISTER_OP needs it

REGISTER_OP(confseg_norm_clip)
    .setParseAttrs(norm_arity)
    .setInferType(float32)
    .setInferShape(norm_shapes)
    .setMutateInputs(norm_mutates)
    .setForward(norm_forward, "cpu")
    .setBackward(norm_backward, "cpu");

REGISTER_OP(confseg_depthwise)
    .setParseAttrs(depthwise_arity)
    .setInferType(float32)
    .setInferShape(depthwise_shapes)
    .setForward(depthwise_value, "cpu")
    .setBackward(depthwise_gradients, "cpu");

REGISTER_OP(confseg_dilated)
    .setParseAttrs(dilated_arity)
    .setInferType(float32)
    .setInferShape(dilated_shapes)
    .setForward(dilated_value, "cpu")
    .setBackward(dilated_gradients, "cpu");

MXReturnValue initialize(int) { return MX_SUCCESS; }
