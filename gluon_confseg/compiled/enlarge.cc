// The class of the largest score of each pixel, of scores that are enlarged bilinearly only in the cache: the
// arithmetic of engine.largest_enlarged, with the same result to the bit where all scores are numbers.

#if defined(__clang__)
#define ROUNDS_EACH_PRODUCT _Pragma("clang fp contract(off)")
#else
#pragma GCC optimize("fp-contract=off")
#define ROUNDS_EACH_PRODUCT
#endif

#include <algorithm>
#include <cstdint>
#include <vector>

#include "lanes.h"

namespace {

struct Side {  // of the result: for each pixel two numbers of the grid and their weights
  const int64_t *first, *second;
  const float *of_first, *of_second;
};

}  // namespace

// grid (N, K, h, w) -> classes (N, height, width), the first of equal ones. Each side has a `Side`'s four arrays.
extern "C" void confseg_largest_enlarged(const float* grid, int64_t samples, int64_t classes, int64_t grid_height,
                                         int64_t grid_width, const int64_t* above, const int64_t* below,
                                         const float* of_above, const float* of_below, int64_t height,
                                         const int64_t* left, const int64_t* right, const float* of_left,
                                         const float* of_right, int64_t width, int threads, uint8_t* found) {
  constexpr int64_t TOGETHER = 16;  // rows of the result for which a thread enlarges rows of the grid in width
  const Side vertical{above, below, of_above, of_below}, across{left, right, of_left, of_right};
  const int64_t row = whole_lanes(width) + 16, jobs = (height + TOGETHER - 1) / TOGETHER;
#pragma omp parallel num_threads(threads)
  {
    std::vector<float> rows[2] = {std::vector<float>(classes * row), std::vector<float>(classes * row)};
    std::vector<int32_t> largest(row);
#pragma omp for schedule(static) collapse(2)
    for (int64_t n = 0; n < samples; n++) {
      for (int64_t job = 0; job < jobs; job++) {
        ROUNDS_EACH_PRODUCT
        int64_t held[2] = {-1, -1};
        for (int64_t y = job * TOGETHER; y < std::min(height, (job + 1) * TOGETHER); y++) {
          const int64_t wanted[2] = {vertical.first[y], vertical.second[y]};
          if (held[0] != wanted[0] && held[1] == wanted[0]) {
            std::swap(rows[0], rows[1]);
            std::swap(held[0], held[1]);
          }
          for (int i = 0; i < 2; i++) {
            if (held[i] == wanted[i]) continue;
            held[i] = wanted[i];
            for (int64_t k = 0; k < classes; k++) {
              const float* from = grid + ((n * classes + k) * grid_height + wanted[i]) * grid_width;
              float* to = rows[i].data() + k * row;
              for (int64_t x = 0; x < width; x++) {
                const float one = from[across.first[x]] * across.of_first[x];
                const float other = from[across.second[x]] * across.of_second[x];
                to[x] = one + other;
              }
            }
          }
          const float one = vertical.of_first[y], other = vertical.of_second[y];
          for (int64_t x = 0; x < width; x += 8) {
            using Numbers = int32_t __attribute__((vector_size(32)));
            const float *upper = rows[0].data() + x, *lower = rows[1].data() + x;
            const Lanes first = one * load(upper), second = other * load(lower);
            Lanes best = first + second;
            Numbers where = {};
            for (int64_t k = 1; k < classes; k++) {
              const Lanes a = one * load(upper + k * row), b = other * load(lower + k * row), value = a + b;
              const Numbers larger = value > best, undefined = value != value;  // NaN stays the largest
              const int32_t number = static_cast<int32_t>(k);
              where = larger ? Numbers{number, number, number, number, number, number, number, number} : where;
              best = (larger | undefined) ? value : best;
            }
            for (int i = 0; i < 8; i++) largest[x + i] = where[i];
          }
          uint8_t* to = found + (n * height + y) * width;
          for (int64_t x = 0; x < width; x++) to[x] = static_cast<uint8_t>(largest[x]);
        }
      }
    }
  }
}
