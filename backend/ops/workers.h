#pragma once
#include <algorithm>
#include <cstdint>

namespace stylegan {

// Loops are shared among threads in pieces. What a piece computes never depends on who computes it,
// so results are the same bits with any number of threads, and a thread that another program keeps
// waiting can be left out at any time. OpenMP's loops cannot do that: each thread has its share of
// every loop, and all wait for the slowest.

// How many threads there are at most, the calling one included: OMP_NUM_THREADS, or the cores.
int most_threads();
// The number of the one that asks: 0 is the one that calls `share`.
int this_thread();

// piece(context, i) for i = 0 … count - 1, each once and in any order. Inside, oneDNN uses one
// thread. `work`: of the whole, in nanoseconds, roughly; little work wakes nobody. What a piece throws is thrown when all have ended.
void share(int64_t count, int64_t work, void (*piece)(void*, int64_t), void* context);

// OpenMP's and oneDNN's number of threads, in this one, until its end.
struct OmpThreads {
    const int before;
    explicit OmpThreads(int count);
    ~OmpThreads();
};

template <class Piece>
void share(int64_t count, int64_t work, Piece piece) {
    share(count, work, [](void* context, int64_t i) { (*(Piece*)context)(i); }, &piece);
}

// body(begin, end) for parts of 0 … count - 1, where an item costs `work` nanoseconds.
template <class Body>
void share_range(int64_t count, double work, Body body) {
    const int64_t pieces = std::max<int64_t>(1, std::min<double>(count, count * work / 8000));
    const int64_t most = std::min<int64_t>(pieces, 16 * most_threads());
    share(most, count * work,
          [&](int64_t i) { body(count * i / most, count * (i + 1) / most); });
}

// item(i) for i = 0 … count - 1.
template <class Item>
void share_items(int64_t count, double work, Item item) {
    share_range(count, work, [&](int64_t begin, int64_t end) {
        for (int64_t i = begin; i < end; i++) item(i);
    });
}

}  // namespace stylegan
