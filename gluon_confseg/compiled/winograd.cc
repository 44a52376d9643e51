// 3x3 convolution of a frozen graph, of stride 1, padded to keep its size, with any dilation, by Winograd's algorithm.
// Beside oneDNN's convolutions for CPUs without AVX-512, which follow the definition.

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string>
#include <unordered_map>
#include <vector>

#include "lanes.h"
#include "mxnet/lib_api.h"
#include "winograd.h"

namespace {

using mxnet::ext::MXTensor;
using mxnet::ext::OpResource;
using Attributes = std::unordered_map<std::string, std::string>;
using Shapes = std::vector<std::vector<unsigned int>>;

struct Geometry {
  int64_t samples, inputs, outputs;
  Image image;
  bool ones;              // whether a further input is 1 in every pixel
  bool adds;
  int64_t depth, panels;  // inputs in whole lanes, outputs in whole panels
  float low, high;
  Geometry(const Attributes& attributes, const std::vector<int64_t>& x)
      : samples(x[0]), inputs(x[1]), outputs(std::stol(attributes.at("num_filter"))),
        image{x[2], x[3], std::stol(attributes.at("dilation"))}, ones(attributes.at("ones") == "1"),
        adds(attributes.at("adds") == "1"),
        depth(whole_lanes(inputs + ones)), panels((outputs + OUTPUTS - 1) / OUTPUTS),
        low(std::stof(attributes.at("low"))), high(std::stof(attributes.at("high"))) {}
};

// inputs: x (N, C, H, W), weights (PRODUCTS, panels, depth, OUTPUTS), bias (num_filter,), and what is added if any
mxnet::ext::MXReturnValue arity(const Attributes& attributes, int* inputs, int* outputs) {
  *inputs = attributes.at("adds") == "1" ? 4 : 3;
  *outputs = 1;
  return mxnet::ext::MX_SUCCESS;
}

mxnet::ext::MXReturnValue types(const Attributes&, std::vector<int>* inputs, std::vector<int>* outputs) {
  std::fill(inputs->begin(), inputs->end(), mxnet::ext::kFloat32);
  std::fill(outputs->begin(), outputs->end(), mxnet::ext::kFloat32);
  return mxnet::ext::MX_SUCCESS;
}

mxnet::ext::MXReturnValue shapes(const Attributes& attributes, Shapes* inputs, Shapes* outputs) {
  const std::vector<unsigned int> x = inputs->at(0);
  const Geometry g(attributes, {x.begin(), x.end()});
  const auto size = [](int64_t value) { return static_cast<unsigned int>(value); };
  const std::vector<unsigned int> y{x.at(0), size(g.outputs), x.at(2), x.at(3)};
  inputs->at(1) = {PRODUCTS, size(g.panels), size(g.depth), OUTPUTS};
  inputs->at(2) = {size(g.outputs)};
  if (g.adds) inputs->at(3) = y;
  outputs->at(0) = y;
  return mxnet::ext::MX_SUCCESS;
}

mxnet::ext::MXReturnValue forward(const Attributes& attributes, std::vector<MXTensor>* inputs,
                                  std::vector<MXTensor>* outputs, const OpResource& resource) {
  const Geometry g(attributes, inputs->at(0).shape);
  const float *x = inputs->at(0).data<float>(), *weights = inputs->at(1).data<float>();
  const float* added = g.adds ? inputs->at(3).data<float>() : nullptr;
  float* y = outputs->at(0).data<float>();
  const int64_t width = g.panels * OUTPUTS, count = g.image.pixels();
  std::vector<float> outside(g.depth, 0.0f), bias(width, 0.0f);
  std::copy_n(inputs->at(2).data<float>(), g.outputs, bias.begin());

  const std::vector<Tile> tiles = tiles_of(g.image);
  const int64_t all = static_cast<int64_t>(tiles.size()), each = PRODUCTS * (g.depth + width) * sizeof(float);
  const int64_t blocks = (all * each + SCRATCH - 1) / SCRATCH;
  const int64_t most = multiple((all + blocks - 1) / blocks, TILES);
  const Planes of_factors(g.depth, most), of_products(width, most);
  const int64_t size = count * (g.depth + width) + of_factors.size() + of_products.size();
  std::vector<float> own;
  float* scratch;
  if (size * sizeof(float) < (1u << 31)) {
    scratch = static_cast<float*>(resource.alloc_cpu(static_cast<int>(size * sizeof(float))));
  } else {
    own.resize(size);
    scratch = own.data();
  }
  float *pixels = scratch, *results = pixels + count * g.depth, *factors = results + count * width;
  float* products = factors + of_factors.size();

#pragma omp parallel
  for (int64_t n = 0; n < g.samples; n++) {
    transpose(x + n * g.inputs * count, g.inputs, count, pixels, g.depth, g.ones);
    for (int64_t from = 0; from < all; from += most) {
      const int64_t some = std::min(most, all - from);
#pragma omp for schedule(static)
      for (int64_t t = 0; t < some; t++)
        analyse_tile(g.image, tiles[from + t], g.depth, pixels, outside.data(), of_factors, factors, t);
      for (int64_t k = 0; k < g.depth; k += DEPTH) {  // without barriers: a thread has the same products each time
#pragma omp for schedule(static) collapse(2) nowait
        for (int product = 0; product < PRODUCTS; product++)
          for (int64_t panel = 0; panel < g.panels; panel++) {
            const float* of_panel = weights + ((product * g.panels + panel) * g.depth + k) * OUTPUTS;
            for (int64_t t = 0; t < some; t += TILES)
              multiply(of_factors.at(factors, product, t) + k, of_factors.row, 1, of_panel, std::min(DEPTH, g.depth - k),
                       of_products.at(products, product, t) + panel * OUTPUTS, of_products.row, k > 0);
          }
      }
#pragma omp barrier
#pragma omp for schedule(static)
      for (int64_t t = 0; t < some; t++)
        synthesise_tile(g.image, tiles[from + t], width, of_products, products, t, bias.data(), results);
    }
    finish(results, count, width, g.outputs, added ? added + n * g.outputs * count : nullptr, g.low, g.high,
           y + n * g.outputs * count);
  }
  return mxnet::ext::MX_SUCCESS;
}

// Frozen graphs have no gradients, but MXNet asks every operator of a graph for its own.
mxnet::ext::MXReturnValue backward(const Attributes&, std::vector<MXTensor>*, std::vector<MXTensor>*, const OpResource&) {
  return mxnet::ext::MX_FAIL;
}

}  // namespace

using namespace mxnet::ext;  // REGISTER_OP needs it

REGISTER_OP(confseg_winograd)
    .setParseAttrs(arity)
    .setInferType(types)
    .setInferShape(shapes)
    .setForward(forward, "cpu")
    .setBackward(backward, "cpu");
