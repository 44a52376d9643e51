// 3x3 convolution of stride 1, padded to keep its size, with any dilation, and its gradients, for a training step: by
// Winograd's algorithm, or as nine matrix products where tiles would reach far beyond the image.
//
// The gradient of the input is a convolution with turned weights. That of the weights is the same algorithm read
// backwards: factors of the input times factors of the output's gradient, summed over tiles, and synthesised to 3x3.
// Transformed weights and their gradients are never whole in memory, since they would take four times the weights'.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <string>
#include <unordered_map>
#include <vector>

#include "dilated.h"
#include "lanes.h"
#include "mxnet/lib_api.h"
#include "winograd.h"

namespace {

using mxnet::ext::MXTensor;
using mxnet::ext::OpResource;
using Attributes = std::unordered_map<std::string, std::string>;

constexpr int TAPS = 9;
constexpr int64_t CHUNK = 16 * TILES;  // channels whose weights' gradients are summed at once, for PANELS panels:
constexpr int64_t PANELS = 2;          // with their 9 taps they stay in a second-level cache

// What a tap of the weights counts for a product: the outer product of the points' polynomials with themselves.
struct Shares {
  float of[PRODUCTS][TAPS];
  Shares() {
    const double points[] = {0, A, -A, B, -B};
    double once[SPAN][3] = {};
    for (int i = 0; i < SPAN - 1; i++) {
      double divisor = 1;
      for (int j = 0; j < SPAN - 1; j++) divisor *= i == j ? 1 : points[i] - points[j];
      for (int k = 0; k < 3; k++) once[i][k] = (k == 0 ? 1 : k == 1 ? points[i] : points[i] * points[i]) / divisor;
    }
    once[SPAN - 1][2] = 1;
    for (int product = 0; product < PRODUCTS; product++)
      for (int tap = 0; tap < TAPS; tap++)
        of[product][tap] = static_cast<float>(once[product / SPAN][tap / 3] * once[product % SPAN][tap % 3]);
  }
};

const Shares shares;

int64_t whole_panels(int64_t channels) { return multiple(channels, OUTPUTS); }

// A batch, of which some samples and of these some tiles are computed at once.
struct Batch {
  int64_t samples;
  Image image;
  int64_t widest;  // numbers of a tile in each plane: inputs and outputs together, in whole panels
  std::vector<Tile> tiles;
  int64_t together, most;
  Batch(int64_t number, const Image& of, int64_t width) : samples(number), image(of), widest(width), tiles(tiles_of(of)) {
    const int64_t each = PRODUCTS * widest * sizeof(float), fit = std::max<int64_t>(1, SCRATCH / each);
    const int64_t per_sample = static_cast<int64_t>(tiles.size());
    together = std::min(samples, std::max<int64_t>(1, fit / per_sample));
    const int64_t all = together * per_sample, blocks = (all + fit - 1) / fit;
    most = multiple((all + blocks - 1) / blocks, TILES);
  }
  int64_t pixels() const { return together * image.pixels(); }
  int64_t in(int64_t number) const { return number * static_cast<int64_t>(tiles.size()); }
};

// Memory of MXNet's, or of its own where MXNet, which counts bytes as int, can't give so much.
class Scratch {
 public:
  Scratch(const OpResource& resource, int64_t size) {
    const int64_t bytes = (size + APART) * sizeof(float);
    if (bytes < (int64_t{1} << 31)) {
      next_ = static_cast<float*>(resource.alloc_cpu(static_cast<int>(bytes)));
    } else {
      own_.resize(size + APART);
      next_ = own_.data();
    }
  }
  float* take(int64_t size) {
    next_ += size;
    return next_ - size;
  }

 private:
  std::vector<float> own_;
  float* next_;
};

// weights (filters, inputs, 3, 3) -> (TAPS, panels, depth, OUTPUTS), zero beyond; `turned` to compute the input's gradient
void sort_weights(const float* weights, int64_t filters, int64_t inputs, bool turned, float* to) {
  const int64_t outputs = turned ? inputs : filters, reads = turned ? filters : inputs;
  const int64_t panels = whole_panels(outputs) / OUTPUTS, depth = whole_panels(reads);
#pragma omp for schedule(static) collapse(2)
  for (int64_t panel = 0; panel < panels; panel++)
    for (int64_t k = 0; k < depth; k++) {
      float* at = to + (panel * depth + k) * OUTPUTS;
      for (int64_t o = 0; o < OUTPUTS; o++) {
        const int64_t output = panel * OUTPUTS + o;
        const bool inside = output < outputs && k < reads;
        const float* from = inside ? weights + (turned ? k * inputs + output : output * inputs + k) * TAPS : nullptr;
        for (int tap = 0; tap < TAPS; tap++)
          at[tap * panels * depth * OUTPUTS + o] = inside ? from[turned ? TAPS - 1 - tap : tap] : 0.0f;
      }
    }
}

// The weights of a product, for `size` numbers in the order of `sort_weights`, whose taps lie `stride` apart
inline void weights_of(int product, const float* taps, int64_t stride, int64_t size, float* to) {
  for (int64_t i = 0; i < size; i += OUTPUTS) {
    Lanes first = {}, second = {};
    for (int tap = 0; tap < TAPS; tap++) {
      const float share = shares.of[product][tap];
      if (share == 0) continue;
      first += share * load(taps + tap * stride + i);
      second += share * load(taps + tap * stride + i + 8);
    }
    store(to + i, first);
    store(to + i + 8, second);
  }
}

// Four numbers of a row or column of the output's gradient -> six factors: `synthesise` transposed
inline void spread(const Lanes* y, int step, Lanes* to, int to_step) {
  constexpr float AA = A * A, BB = B * B;
  const Lanes y0 = y[0], y1 = y[step], y2 = y[2 * step], y3 = y[3 * step];
  const Lanes even_a = y0 + AA * y2, odd_a = A * (y1 + AA * y3), even_b = y0 + BB * y2, odd_b = B * (y1 + BB * y3);
  to[0] = y0;
  to[to_step] = even_a + odd_a;
  to[2 * to_step] = even_a - odd_a;
  to[3 * to_step] = even_b + odd_b;
  to[4 * to_step] = even_b - odd_b;
  to[5 * to_step] = y3;
}

// pixels (height * width, depth) of the output's gradient -> the factors of a tile, as (PRODUCTS, panels, tiles, OUTPUTS)
void spread_tile(const Image& g, const Tile& tile, int64_t depth, const float* pixels, const float* outside, int64_t panel,
                 int64_t plane, float* factors, int64_t number) {
  const float* from[TILE * TILE];
  for (int i = 0; i < TILE; i++)
    for (int j = 0; j < TILE; j++) {
      const int64_t row = tile.row + i * g.dilation, column = tile.column + j * g.dilation;
      from[i * TILE + j] = row < g.height && column < g.width ? pixels + (row * g.width + column) * depth : outside;
    }
  for (int64_t c = 0; c < depth; c += 8) {
    Lanes y[TILE * TILE], half[SPAN * TILE], x[PRODUCTS];
    for (int i = 0; i < TILE * TILE; i++) y[i] = load(from[i] + c);
    for (int j = 0; j < TILE; j++) spread(y + j, TILE, half + j, TILE);
    for (int i = 0; i < SPAN; i++) spread(half + i * TILE, 1, x + i * SPAN, 1);
    float* to = factors + c / OUTPUTS * panel + number * OUTPUTS + c % OUTPUTS;
    for (int i = 0; i < PRODUCTS; i++) store(to + i * plane, x[i]);
  }
}

// pixels (samples, height * width, depth) -> y (samples, outputs, height * width): the convolution by weights in the order
// of `sort_weights`, by way of factors, products and results (samples, height * width, whole panels of outputs)
void convolve(const Batch& b, int64_t some_samples, const float* pixels, int64_t depth, const float* taps, int64_t outputs,
              const float* bias, const float* outside, float* factors, float* products, float* results, float* y) {
  const int64_t width = whole_panels(outputs), panels = width / OUTPUTS, count = b.image.pixels(), per_sample = b.in(1);
  const Planes of_factors(depth, b.most), of_products(width, b.most);
  for (int64_t from = 0; from < b.in(some_samples); from += b.most) {
    const int64_t some = std::min(b.most, b.in(some_samples) - from);
#pragma omp for schedule(static)
    for (int64_t t = 0; t < some; t++) {
      const int64_t sample = (from + t) / per_sample;
      analyse_tile(b.image, b.tiles[(from + t) % per_sample], depth, pixels + sample * count * depth, outside, of_factors,
                   factors, t);
    }
#pragma omp for schedule(static) collapse(2)
    for (int product = 0; product < PRODUCTS; product++)
      for (int64_t panel = 0; panel < panels; panel++)
        for (int64_t k = 0; k < depth; k += DEPTH) {
          float block[DEPTH * OUTPUTS];
          const int64_t part = std::min(DEPTH, depth - k);
          weights_of(product, taps + (panel * depth + k) * OUTPUTS, panels * depth * OUTPUTS, part * OUTPUTS, block);
          for (int64_t t = 0; t < some; t += TILES)
            multiply(of_factors.at(factors, product, t) + k, of_factors.row, 1, block, part,
                     of_products.at(products, product, t) + panel * OUTPUTS, of_products.row, k > 0);
        }
#pragma omp for schedule(static)
    for (int64_t t = 0; t < some; t++) {
      const int64_t sample = (from + t) / per_sample;
      synthesise_tile(b.image, b.tiles[(from + t) % per_sample], width, of_products, products, t, bias,
                      results + sample * count * width);
    }
  }
  constexpr float most = std::numeric_limits<float>::infinity();
  for (int64_t n = 0; n < some_samples; n++)
    finish(results + n * count * width, count, width, outputs, nullptr, -most, most, y + n * outputs * count);
}

// Adds to taps (TAPS, panels of outputs, rows, OUTPUTS) the weights' gradients of some samples.
void add_of_weights(const Batch& b, int64_t some_samples, const float* x, int64_t depth, const float* upstream,
                    int64_t width, const float* outside, float* factors, float* spreads, int64_t rows, float* taps) {
  const int64_t panels = width / OUTPUTS, count = b.image.pixels(), per_sample = b.in(1);
  const int64_t of_panel = b.most * OUTPUTS + APART, of_product = panels * of_panel, of_tap = panels * rows * OUTPUTS;
  const Planes of_factors(depth, b.most);
  for (int64_t from = 0; from < b.in(some_samples); from += b.most) {
    const int64_t some = std::min(b.most, b.in(some_samples) - from);
#pragma omp for schedule(static)
    for (int64_t t = 0; t < some; t++) {
      const int64_t sample = (from + t) / per_sample;
      const Tile& tile = b.tiles[(from + t) % per_sample];
      analyse_tile(b.image, tile, depth, x + sample * count * depth, outside, of_factors, factors, t);
      spread_tile(b.image, tile, width, upstream + sample * count * width, outside, of_panel, of_product, spreads, t);
    }
#pragma omp for schedule(static) collapse(2)
    for (int64_t first = 0; first < panels; first += PANELS)
      for (int64_t start = 0; start < rows; start += CHUNK) {
        const int64_t end = std::min(start + CHUNK, rows);
        for (int product = 0; product < PRODUCTS; product++)
          for (int64_t panel = first; panel < std::min(first + PANELS, panels); panel++) {
            float sums[CHUNK * OUTPUTS];
            for (int64_t t = 0; t < some; t += DEPTH) {
              const float* right = spreads + product * of_product + panel * of_panel + t * OUTPUTS;
              const float* left = of_factors.at(factors, product, t);
              for (int64_t c = start; c < end; c += TILES)
                multiply(left + c, 1, of_factors.row, right, std::min(DEPTH, some - t), sums + (c - start) * OUTPUTS,
                         OUTPUTS, t > 0);
            }
            for (int tap = 0; tap < TAPS; tap++) {
              const float share = shares.of[product][tap];
              if (share == 0) continue;
              float* to = taps + tap * of_tap + (panel * rows + start) * OUTPUTS;
              for (int64_t i = 0; i < (end - start) * OUTPUTS; i += 8) store(to + i, load(to + i) + share * load(sums + i));
            }
          }
      }
  }
}

// ---- the operator

struct Geometry {
  int64_t samples, inputs, filters;
  Image image;
  int64_t depth, width;  // inputs and filters in whole panels
  Geometry(const Attributes& attributes, const MXTensor& x)
      : samples(x.shape[0]), inputs(x.shape[1]), filters(std::stol(attributes.at("filters"))),
        image{x.shape[2], x.shape[3], std::stol(attributes.at("dilation"))}, depth(whole_panels(inputs)),
        width(whole_panels(filters)) {}
};

// How many pixels of a line of so many have one `distance` before them, themselves counted and those behind too
int64_t pairs(int64_t length, int64_t distance) { return length + 2 * std::max<int64_t>(0, length - distance); }

// Matrix products multiply no padding, but a tile of 4x4 may have a single pixel inside of the image.
bool by_products(const Image& image) {
  if (image.dilation < 4 || !confseg_dilated_products::available()) return false;
  const int64_t tiles = static_cast<int64_t>(tiles_of(image).size());
  return pairs(image.height, image.dilation) * pairs(image.width, image.dilation) < 3 * tiles * PRODUCTS / 2;
}

mxnet::ext::MXReturnValue types(const Attributes&, std::vector<int>* inputs, std::vector<int>* outputs) {
  std::fill(inputs->begin(), inputs->end(), mxnet::ext::kFloat32);
  std::fill(outputs->begin(), outputs->end(), mxnet::ext::kFloat32);
  return mxnet::ext::MX_SUCCESS;
}

mxnet::ext::MXReturnValue forward(const Attributes& attributes, std::vector<MXTensor>* inputs,
                                  std::vector<MXTensor>* outputs, const OpResource& resource) {
  const Geometry g(attributes, inputs->at(0));
  if (by_products(g.image)) return confseg_dilated_products::value(attributes, inputs, outputs, resource);
  const float *x = inputs->at(0).data<float>(), *weights = inputs->at(1).data<float>();
  float* y = outputs->at(0).data<float>();
  const Batch b(g.samples, g.image, g.depth + g.width);
  const Planes of_factors(g.depth, b.most), of_products(g.width, b.most);
  std::vector<float> outside(g.depth, 0.0f), bias(g.width, 0.0f);
  if (inputs->size() > 2) std::copy_n(inputs->at(2).data<float>(), g.filters, bias.begin());
  Scratch scratch(resource, TAPS * g.depth * g.width + b.pixels() * (g.depth + g.width) + of_factors.size() + of_products.size());
  float *taps = scratch.take(TAPS * g.depth * g.width), *pixels = scratch.take(b.pixels() * g.depth);
  float *results = scratch.take(b.pixels() * g.width), *factors = scratch.take(of_factors.size());
  float* products = scratch.take(of_products.size());
  const int64_t count = g.image.pixels();
#pragma omp parallel
  {
    sort_weights(weights, g.filters, g.inputs, false, taps);
    for (int64_t n = 0; n < g.samples; n += b.together) {
      const int64_t some = std::min(b.together, g.samples - n);
      for (int64_t i = 0; i < some; i++)
        transpose(x + (n + i) * g.inputs * count, g.inputs, count, pixels + i * count * g.depth, g.depth, false);
      convolve(b, some, pixels, g.depth, taps, g.filters, bias.data(), outside.data(), factors, products, results,
               y + n * g.filters * count);
    }
  }
  return mxnet::ext::MX_SUCCESS;
}

// inputs: the gradient of the output, the inputs, the output; outputs: the gradients of the inputs. That of x is left
// out with "of_x" 0: nobody asks for it.
mxnet::ext::MXReturnValue backward(const Attributes& attributes, std::vector<MXTensor>* inputs,
                                   std::vector<MXTensor>* outputs, const OpResource& resource) {
  const Geometry g(attributes, inputs->at(1));
  if (by_products(g.image)) return confseg_dilated_products::gradients(attributes, inputs, outputs, resource);
  const float *upstream = inputs->at(0).data<float>(), *x = inputs->at(1).data<float>();
  const float* weights = inputs->at(2).data<float>();
  float *of_x = outputs->at(0).data<float>(), *of_weights = outputs->at(1).data<float>();
  const bool needs_of_x = !attributes.count("of_x") || attributes.at("of_x") != "0";
  const Batch b(g.samples, g.image, g.depth + g.width);
  const int64_t rows = multiple(g.depth, TILES), count = g.image.pixels();
  const Planes of_x_tiles(g.depth, b.most), of_y_tiles(g.width, b.most);
  const int64_t spread_size = PRODUCTS * (g.width / OUTPUTS) * (b.most * OUTPUTS + APART);
  const int64_t right_size = std::max(of_y_tiles.size(), spread_size), taps_size = TAPS * g.width * rows;
  const std::vector<float> nothing(std::max(g.depth, g.width), 0.0f);
  Scratch scratch(resource, 2 * taps_size + b.pixels() * (g.depth + g.width) + of_x_tiles.size() + right_size);
  float *turned = scratch.take(taps_size), *sums = scratch.take(taps_size), *right_pixels = scratch.take(b.pixels() * g.width);
  float *left_pixels = scratch.take(b.pixels() * g.depth), *left = scratch.take(of_x_tiles.size());
  float* right = scratch.take(right_size);
#pragma omp parallel
  {
    if (needs_of_x) sort_weights(weights, g.filters, g.inputs, true, turned);
#pragma omp for schedule(static)
    for (int64_t i = 0; i < taps_size; i++) sums[i] = 0;
    for (int64_t n = 0; n < g.samples; n += b.together) {
      const int64_t some = std::min(b.together, g.samples - n);
      for (int64_t i = 0; i < some; i++) {
        transpose(x + (n + i) * g.inputs * count, g.inputs, count, left_pixels + i * count * g.depth, g.depth, false);
        transpose(upstream + (n + i) * g.filters * count, g.filters, count, right_pixels + i * count * g.width, g.width, false);
      }
      add_of_weights(b, some, left_pixels, g.depth, right_pixels, g.width, nothing.data(), left, right, rows, sums);
      if (needs_of_x)
        convolve(b, some, right_pixels, g.width, turned, g.inputs, nothing.data(), nothing.data(), right, left, left_pixels,
                 of_x + n * g.inputs * count);
    }
#pragma omp for schedule(static) collapse(2)
    for (int64_t o = 0; o < g.filters; o++)
      for (int64_t c = 0; c < g.inputs; c++)
        for (int tap = 0; tap < TAPS; tap++)
          of_weights[(o * g.inputs + c) * TAPS + tap] =
              sums[tap * g.width * rows + (o / OUTPUTS * rows + c) * OUTPUTS + o % OUTPUTS];
  }
  if (outputs->size() > 2)
    confseg_dilated_products::sum_planes(upstream, g.samples, g.filters, count, outputs->at(2).data<float>());
  return mxnet::ext::MX_SUCCESS;
}

mxnet::ext::MXReturnValue arity(const Attributes& attributes, int* inputs, int* outputs) {
  return confseg_dilated_products::arity(attributes, inputs, outputs);
}

mxnet::ext::MXReturnValue shapes(const Attributes& attributes, std::vector<std::vector<unsigned int>>* inputs,
                                 std::vector<std::vector<unsigned int>>* outputs) {
  return confseg_dilated_products::shapes(attributes, inputs, outputs);
}

}  // namespace

using namespace mxnet::ext;  // REGISTER_OP needs it

REGISTER_OP(confseg_convolution)
    .setParseAttrs(arity)
    .setInferType(types)
    .setInferShape(shapes)
    .setForward(forward, "cpu")
    .setBackward(backward, "cpu");
