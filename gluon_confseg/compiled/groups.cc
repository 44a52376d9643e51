// The search for confusing groups, from one start after the other: `_climb` of groups.py, which says what a step is and
// chooses the same one, ties included. Letters: K classes; communities are numbered 0 to K, and some of them are empty.

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

namespace {

using Numbers = std::vector<int64_t>;

class Search {
 public:
  Search(const int64_t* modularity, int64_t classes)
      : modularity_(modularity), K(classes), attraction_((K + 1) * K), own_(K), home_(K), at_home_(K), best_(K),
        target_(K), loose_(K), gain_(K), change_(K), between_(K + 1), members_(K + 1) {
    for (int64_t k = 0; k < K; k++) own_[k] = modularity_[k * K + k];
  }

  // Climbs from a start (K,); writes the communities that it ends in (K,), and returns their score.
  int64_t climb(const int64_t* start, int64_t* partition) {
    begin(start);
    while (move_class() || merge_two()) {
    }
    std::copy(home_.begin(), home_.end(), partition);
    int64_t score = 0;
    for (int64_t k = 0; k < K; k++) score += at_home_[k];
    return score;
  }

 private:
  int64_t* row(int64_t community) { return attraction_.data() + community * K; }

  void begin(const int64_t* start) {
    std::copy_n(start, K, home_.begin());
    std::fill(attraction_.begin(), attraction_.end(), 0);
    for (int64_t i = 0; i < K; i++) {
      int64_t* sums = row(home_[i]);
      const int64_t* added = modularity_ + i * K;
      for (int64_t k = 0; k < K; k++) sums[k] += added[k];
    }
    std::fill(best_.begin(), best_.end(), std::numeric_limits<int64_t>::min());
    std::fill(loose_.begin(), loose_.end(), 0);
    for (int64_t c = 0; c <= K; c++) {
      const int64_t* now = row(c);
      for (int64_t k = 0; k < K; k++) {
        const bool at_home = home_[k] == c, better = !at_home && now[k] > best_[k];
        at_home_[k] = at_home ? now[k] : at_home_[k];
        best_[k] = better ? now[k] : best_[k];
        target_[k] = better ? c : target_[k];
      }
    }
  }

  // The best move of one class; false where none raises the modularity.
  bool move_class() {
    for (;;) {
      int64_t most = std::numeric_limits<int64_t>::min();
      for (int64_t k = 0; k < K; k++) {
        gain_[k] = best_[k] - at_home_[k] + own_[k];
        most = std::max(most, gain_[k]);
      }
      if (most <= 0) return false;
      const int64_t moved = std::find(gain_.begin(), gain_.end(), most) - gain_.begin();
      if (loose_[moved]) {
        settle(moved);
        continue;
      }
      const int64_t source = home_[moved], goal = target_[moved];
      std::copy_n(modularity_ + moved * K, K, change_.begin());
      home_[moved] = goal;
      loose_[moved] = 1;
      update<-1>(source);
      update<1>(goal);
      return true;
    }
  }

  // The best merge of two communities; false where none raises the modularity.
  bool merge_two() {
    std::fill(members_.begin(), members_.end(), 0);
    for (int64_t k = 0; k < K; k++) members_[home_[k]]++;
    int64_t most = 0, goal = 0, source = 0;
    for (int64_t a = 0; a <= K; a++) {
      if (!members_[a]) continue;
      std::fill(between_.begin(), between_.end(), 0);
      const int64_t* sums = row(a);
      for (int64_t k = 0; k < K; k++) between_[home_[k]] += sums[k];
      // the pairs (b, a) with b below a came first
      for (int64_t b = a + 1; b <= K; b++) {
        if (between_[b] > most) {
          most = between_[b];
          goal = a;
          source = b;
        }
      }
    }
    if (most == 0) return false;
    std::copy_n(row(source), K, change_.begin());
    for (int64_t k = 0; k < K; k++) {
      const bool leaves = home_[k] == source;
      home_[k] = leaves ? goal : home_[k];
      loose_[k] |= leaves;
    }
    update<-1>(source);
    update<1>(goal);
    return true;
  }

  // A community's attraction after `change_` has left it (SIGN -1) or come to it. best_ and target_ are the best other
  // community of a class, the first of equals, unless the class is loose: then best_ is an upper bound, and a look at all
  // communities is saved until the bound is the highest of all classes.
  template <int64_t SIGN>
  void update(int64_t community) {
    int64_t* sums = row(community);
    for (int64_t k = 0; k < K; k++) {
      const int64_t now = sums[k] + SIGN * change_[k];
      sums[k] = now;
      const bool at_home = home_[k] == community;
      const bool above = !at_home && now > best_[k];
      const bool first = !at_home && now == best_[k] && community < target_[k];
      const bool lost = target_[k] == community && now < best_[k];
      at_home_[k] = at_home ? now : at_home_[k];
      loose_[k] = above ? 0 : lost ? 1 : loose_[k];
      best_[k] = above ? now : best_[k];
      target_[k] = above || first ? community : target_[k];
    }
  }

  void settle(int64_t k) {
    int64_t most = std::numeric_limits<int64_t>::min(), target = 0;
    for (int64_t c = 0; c <= K; c++) {
      const int64_t now = attraction_[c * K + k];
      if (now > most && c != home_[k]) {
        most = now;
        target = c;
      }
    }
    best_[k] = most;
    target_[k] = target;
    loose_[k] = 0;
  }

  const int64_t* modularity_;
  const int64_t K;
  // (K + 1, K): of each community to each class, the class itself in its own
  Numbers attraction_;
  Numbers own_, home_, at_home_, best_, target_, loose_, gain_, change_, between_, members_;
};

}  // namespace

// modularity (K, K), symmetric; starts (N, K), communities from 0 to K; partitions (N, K) and scores (N,) are written.
// Sums of modularities have to stay inside of 64 bits.
extern "C" void confseg_groups_climb(const int64_t* modularity, int64_t classes, const int64_t* starts, int64_t number,
                                     int64_t* partitions, int64_t* scores) {
  Search search(modularity, classes);
  for (int64_t n = 0; n < number; n++) scores[n] = search.climb(starts + n * classes, partitions + n * classes);
}
