// Tiles of Winograd's algorithm F(4x4, 3x3) with the points 0, A, -A, B, -B and infinity (Lavin and Gray, 2016): 36
// multiplications for 16 results, where the definition takes 144.
//
// A convolution of dilation d is d * d convolutions without dilation, each of every d-th pixel in both directions; here
// they only have other tiles. A tile is 4x4 results and the 6x6 pixels that they depend on.

#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "lanes.h"

namespace {

constexpr int TILE = 4, SPAN = 6, PRODUCTS = SPAN * SPAN;
constexpr float A = 0.625f, B = 1.5f;             // winograd.py computes weights with the same points
constexpr int TILES = 6, OUTPUTS = 16;           // results of the innermost product: they fill the registers
constexpr int64_t DEPTH = 256;                   // channels of a product at once: they stay in a first-level cache
constexpr int64_t SCRATCH = 48 << 20;            // bytes of transformed tiles and products at once
constexpr int64_t APART = 16;                    // numbers between arrays, so that a cache holds all of them at once

int64_t multiple(int64_t value, int64_t of) { return (value + of - 1) / of * of; }

struct Image {
  int64_t height, width, dilation;
  int64_t pixels() const { return height * width; }
};

struct Tile {
  int64_t row, column;  // of the first result
};

std::vector<Tile> tiles_of(const Image& g) {
  std::vector<Tile> tiles;
  const int64_t step = TILE * g.dilation;
  for (int64_t p = 0; p < std::min(g.dilation, g.height); p++)
    for (int64_t row = p; row < g.height; row += step)
      for (int64_t q = 0; q < std::min(g.dilation, g.width); q++)
        for (int64_t column = q; column < g.width; column += step) tiles.push_back({row, column});
  return tiles;
}

// (rows, columns) -> (columns, rows), with 1 and 0 in the further columns of whole lanes, or only 0
void transpose(const float* from, int64_t rows, int64_t columns, float* to, int64_t stride, bool ones) {
#pragma omp for schedule(static)
  for (int64_t begin = 0; begin < columns; begin += 32) {
    const int64_t end = std::min(begin + 32, columns);
    for (int64_t first = 0; first < rows; first += 8) {
      const int64_t last = std::min(first + 8, rows);
      for (int64_t column = begin; column < end; column++)
        for (int64_t row = first; row < last; row++) to[column * stride + row] = from[row * columns + column];
    }
    for (int64_t column = begin; column < end; column++)
      for (int64_t row = rows; row < stride; row++) to[column * stride + row] = ones && row == rows;
  }
}

// Six numbers of a row or column of a tile -> six factors
inline void analyse(const Lanes* x, int step, Lanes* to, int to_step) {
  constexpr float AA = A * A, BB = B * B;
  const Lanes x0 = x[0], x1 = x[step], x2 = x[2 * step], x3 = x[3 * step], x4 = x[4 * step], x5 = x[5 * step];
  const Lanes even_a = x4 - BB * x2, odd_a = A * (x3 - BB * x1), even_b = x4 - AA * x2, odd_b = B * (x3 - AA * x1);
  to[0] = AA * BB * x0 - (AA + BB) * x2 + x4;
  to[to_step] = even_a + odd_a;
  to[2 * to_step] = even_a - odd_a;
  to[3 * to_step] = even_b + odd_b;
  to[4 * to_step] = even_b - odd_b;
  to[5 * to_step] = AA * BB * x1 - (AA + BB) * x3 + x5;
}

// Six products -> four results
inline void synthesise(const Lanes* m, int step, Lanes* to, int to_step) {
  constexpr float AA = A * A, BB = B * B;
  const Lanes sum_a = m[step] + m[2 * step], difference_a = A * (m[step] - m[2 * step]);
  const Lanes sum_b = m[3 * step] + m[4 * step], difference_b = B * (m[3 * step] - m[4 * step]);
  to[0] = m[0] + sum_a + sum_b;
  to[to_step] = difference_a + difference_b;
  to[2 * to_step] = AA * sum_a + BB * sum_b;
  to[3 * to_step] = AA * difference_a + BB * difference_b + m[5 * step];
}

// Where tiles' factors and products lie: PRODUCTS planes each, with a row for each tile.
struct Planes {
  int64_t row, plane;
  Planes(int64_t width, int64_t tiles) : row(width + APART), plane(multiple(tiles, TILES) * row + APART) {}
  float* at(float* array, int product, int64_t tile) const { return array + product * plane + tile * row; }
  int64_t size() const { return PRODUCTS * plane; }
};

// pixels (height * width, depth), and `outside`, of one pixel -> the factors of a tile
void analyse_tile(const Image& g, const Tile& tile, int64_t depth, const float* pixels, const float* outside,
                  const Planes& planes, float* factors, int64_t number) {
  const float* from[PRODUCTS];
  for (int i = 0; i < SPAN; i++)
    for (int j = 0; j < SPAN; j++) {
      const int64_t row = tile.row + (i - 1) * g.dilation, column = tile.column + (j - 1) * g.dilation;
      const bool inside = row >= 0 && row < g.height && column >= 0 && column < g.width;
      from[i * SPAN + j] = inside ? pixels + (row * g.width + column) * depth : outside;
    }
  for (int64_t c = 0; c < depth; c += 8) {
    Lanes x[PRODUCTS], half[PRODUCTS];
    for (int i = 0; i < PRODUCTS; i++) x[i] = load(from[i] + c);
    for (int j = 0; j < SPAN; j++) analyse(x + j, SPAN, half + j, SPAN);
    for (int i = 0; i < SPAN; i++) analyse(half + i * SPAN, 1, x + i * SPAN, 1);
    for (int i = 0; i < PRODUCTS; i++) store(planes.at(factors, i, number) + c, x[i]);
  }
}

// products (TILES, OUTPUTS) = factors (TILES, depth) times weights (depth, OUTPUTS), added to what is there or not; the
// factors of a tile lie `stride` apart, those of an element of the depth `step`
inline void multiply(const float* factors, int64_t stride, int64_t step, const float* weights, int64_t depth,
                     float* products, int64_t products_stride, bool adds) {
  Lanes sums[TILES][2];
#pragma GCC unroll 6
  for (int t = 0; t < TILES; t++) {
    sums[t][0] = adds ? load(products + t * products_stride) : Lanes{};
    sums[t][1] = adds ? load(products + t * products_stride + 8) : Lanes{};
  }
  for (int64_t k = 0; k < depth; k++) {
    const Lanes first = load(weights + k * OUTPUTS), second = load(weights + k * OUTPUTS + 8);
#pragma GCC unroll 6
    for (int t = 0; t < TILES; t++) {
      const float factor = factors[t * stride + k * step];
      sums[t][0] += factor * first;
      sums[t][1] += factor * second;
    }
  }
#pragma GCC unroll 6
  for (int t = 0; t < TILES; t++) {
    store(products + t * products_stride, sums[t][0]);
    store(products + t * products_stride + 8, sums[t][1]);
  }
}

// A tile's products -> its results in pixels (height * width, width), in whole panels
void synthesise_tile(const Image& g, const Tile& tile, int64_t width, const Planes& planes, float* products,
                     int64_t number, const float* bias, float* pixels) {
  for (int64_t c = 0; c < width; c += 8) {
    Lanes m[PRODUCTS], half[TILE * SPAN], y[TILE * TILE];
    for (int i = 0; i < PRODUCTS; i++) m[i] = load(planes.at(products, i, number) + c);
    for (int j = 0; j < SPAN; j++) synthesise(m + j, SPAN, half + j, SPAN);
    for (int i = 0; i < TILE; i++) synthesise(half + i * SPAN, 1, y + i * TILE, 1);
    const Lanes shift = load(bias + c);
    for (int i = 0; i < TILE; i++)
      for (int j = 0; j < TILE; j++) {
        const int64_t row = tile.row + i * g.dilation, column = tile.column + j * g.dilation;
        if (row < g.height && column < g.width) store(pixels + (row * g.width + column) * width + c, y[i * TILE + j] + shift);
      }
  }
}

// pixels (count, width) -> y (outputs, count), with what is added, between low and high
void finish(const float* pixels, int64_t count, int64_t width, int64_t outputs, const float* added, float low, float high,
            float* y) {
#pragma omp for schedule(static)
  for (int64_t begin = 0; begin < count; begin += 32) {
    const int64_t end = std::min(begin + 32, count);
    for (int64_t first = 0; first < outputs; first += 8) {
      float block[8][32];
      for (int64_t p = begin; p < end; p++)
        for (int64_t k = 0; k < 8; k++) block[k][p - begin] = pixels[p * width + first + k];
      for (int64_t k = 0; k < std::min<int64_t>(8, outputs - first); k++) {
        float* out = y + (first + k) * count;
        const float* other = added ? added + (first + k) * count : nullptr;
        for (int64_t p = begin; p < end; p++) {
          const float sum = other ? block[k][p - begin] + other[p] : block[k][p - begin];
          const float above = sum < low ? low : sum;
          out[p] = above > high ? high : above;
        }
      }
    }
  }
}

}  // namespace
