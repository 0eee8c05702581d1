#pragma GCC optimize("O3")             // Jittor compiles operators with -O2
#include "winograd.h"

#include <algorithm>

#include "amx.h"
#include "bfloat16.h"
#include "buffer.h"
#include "lanes.h"
#include "products.h"
#include "winograd_algorithms.h"
#include "workers.h"

namespace stylegan {

// The transforms ----------------------------------------------------------------------------------

// The distance between the points of a transformed array of n numbers. Never a power of two: the
// caches would put all points into the same few places.
inline size_t padded(size_t n) { return (n + LANES - 1) / LANES * LANES + 5 * LANES; }

// out[i] = sum of m(i, k) in[k], or, where ADD, as much more. Unrolled, m is known while compiling,
// and its zeros cost nothing.
template <int ROWS, int COLUMNS, bool ADD = false, class Matrix>
[[gnu::always_inline]] inline void multiply(Matrix m, const Lanes* in, size_t in_step, Lanes* out,
                                            size_t out_step) {
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; i++) {
        Lanes sum = ADD ? out[i * out_step] : Lanes{};
#pragma GCC unroll 16
        for (int k = 0; k < COLUMNS; k++)
            if (m(i, k) != 0) sum += m(i, k) * in[k * in_step];
        out[i * out_step] = sum;
    }
}

// How far apart the rows of a matrix are, and the numbers of a row.
struct Steps {
    size_t row, column;
};

// out = m in transpose(m), or out +=; in is [COLUMNS, COLUMNS], out [ROWS, ROWS].
template <int ROWS, int COLUMNS, bool ADD = false, class Matrix>
[[gnu::always_inline]] inline void multiply_both(Matrix m, const Lanes* in, Steps from, Lanes* out,
                                                 Steps to) {
    Lanes half[ROWS][COLUMNS];
    for (int k = 0; k < COLUMNS; k++)
        multiply<ROWS, COLUMNS>(m, in + k * from.column, from.row, &half[0][k], COLUMNS);
    for (int i = 0; i < ROWS; i++)
        multiply<ROWS, COLUMNS, ADD>(m, half[i], 1, out + i * to.row, to.column);
}

// Some rows of tiles, counted through all pictures; they are transformed and multiplied at once.
struct Rows {
    int first, count;
};

constexpr int COPIED = 64;              // pixels of a row at once
// A block of tiles is either a thread's, all of whose arrays stay in its cache, or shared by all.
constexpr size_t CACHE = 2 << 20, MOST_MEMORY = 64 << 20;
constexpr size_t OWN_TILES = 48, FEWEST_OWN_TILES = 24, SHARED_TILES = 256;
constexpr int FEWEST_BLOCKS = 6;        // worth being shared out
constexpr int64_t TILES_OF_SUM = 128, MOST_SUMS = 8;
constexpr size_t MOST_OF_SUM = 4 << 20;
// Pixels of the larger side: with fewer, little is won by AMX, and gradients were further off.
constexpr size_t FEWEST_SPLIT = 4096;
constexpr double SPEED = 2;             // numbers that a transform writes in a nanosecond, roughly
constexpr double PRODUCTS = 30;         // of a matrix product in a nanosecond, roughly

// Pictures [N, channels, height, width] to points [P * P, tiles, channels].
template <int WINDOW, int STRIDE, int P, class Matrix>
void gather(Matrix m, const float* pictures, int channels, int height, int width, Rows rows,
            float* points) {
    constexpr int GROUP = COPIED / STRIDE, COLUMNS = COPIED + WINDOW - STRIDE;
    constexpr int PADDING = (WINDOW - STRIDE) / 2;
    const int across = width / STRIDE, down = height / STRIDE;
    const size_t plane = (size_t)height * width;
    const size_t step = padded((size_t)rows.count * across * channels);
    const bool far = step * P * P > (6 << 18);                          // 6 MiB
    const int groups = (channels + LANES - 1) / LANES;
    const bool whole = channels % LANES == 0;       // all points are where Lanes may be
    share_items((int64_t)rows.count * groups, across * P * P * LANES / SPEED, [&](int64_t item) {
        const int row = item / groups, c = item % groups * LANES;
        const int n = (rows.first + row) / down, count = std::min(LANES, channels - c);
        const int top = (rows.first + row) % down * STRIDE - PADDING;
        const float* picture = pictures + ((size_t)n * channels + c) * plane;
        for (int first = 0; first < across; first += GROUP) {
            const int tiles = std::min(GROUP, across - first), left = first * STRIDE - PADDING;
            Lanes copy[WINDOW][COLUMNS];
            const int columns = tiles * STRIDE + WINDOW - STRIDE;
            const int begin = std::max(0, -left), end = std::min(columns, width - left);
            for (int i = 0; i < WINDOW; i++) {
                const int y = top + i;
                if (y < 0 || y >= height) {
                    std::fill_n(copy[i], columns, Lanes{});
                    continue;
                }
                std::fill_n(copy[i], begin, Lanes{});
                for (int j = begin; j < end; j += LANES)
                    load_columns(picture + (size_t)y * width + left + j, plane, count,
                                 std::min(LANES, end - j), &copy[i][j]);
                std::fill(copy[i] + end, copy[i] + columns, Lanes{});
            }
            float* to = points + ((size_t)row * across + first) * channels + c;
            for (int t = 0; t < tiles; t++) {
                const Lanes* from = &copy[0][t * STRIDE];
                if (whole && !far) {
                    multiply_both<P, WINDOW>(m, from, {COLUMNS, 1}, (Lanes*)(to + t * channels),
                                             {P * step / LANES, step / LANES});
                } else {
                    Lanes result[P * P];
                    multiply_both<P, WINDOW>(m, from, {COLUMNS, 1}, result, {P, 1});
                    store<P * P>(result, to + t * channels, step, count, far);
                }
            }
        }
        finish_far_stores();
    });
}

// Points [P * P, tiles, channels] to pictures of Q x Q per tile.
template <int Q, int P, class Matrix>
void scatter(Matrix m, const float* points, int channels, int height, int width, Rows rows,
             float* pictures) {
    constexpr int GROUP = COPIED / Q;
    const int across = width / Q, down = height / Q;
    const size_t plane = (size_t)height * width;
    const size_t step = padded((size_t)rows.count * across * channels);
    const int groups = (channels + LANES - 1) / LANES;
    const bool whole = channels % LANES == 0;       // all points are where Lanes may be
    share_items((int64_t)rows.count * groups, across * P * P * LANES / SPEED, [&](int64_t item) {
        const int row = item / groups, c = item % groups * LANES;
        const int n = (rows.first + row) / down, count = std::min(LANES, channels - c);
        const int top = (rows.first + row) % down * Q;
        float* picture = pictures + ((size_t)n * channels + c) * plane + (size_t)top * width;
        for (int first = 0; first < across; first += GROUP) {
            const int tiles = std::min(GROUP, across - first);
            Lanes copy[Q][COPIED];
            for (int t = 0; t < tiles; t++) {
                const float* from = points + ((size_t)row * across + first + t) * channels + c;
                Lanes* to = &copy[0][t * Q];
                if (whole) {
                    multiply_both<Q, P>(m, (const Lanes*)from, {P * step / LANES, step / LANES}, to,
                                        {COPIED, 1});
                } else {
                    Lanes all[P * P];
                    for (int p = 0; p < P * P; p++) all[p] = load(from + p * step, 1, count);
                    multiply_both<Q, P>(m, all, {P, 1}, to, {COPIED, 1});
                }
            }
            for (int i = 0; i < Q; i++)
                for (int j = 0; j < tiles * Q; j += LANES)
                    store_columns(copy[i] + j, picture + (size_t)i * width + first * Q + j, plane,
                                  count, std::min(LANES, tiles * Q - j));
        }
    });
}

// Points [P * P, tiles, channels] to windows of pictures that overlap and are added up. The rows of a
// picture have to come in order.
template <int WINDOW, int STRIDE, int P, class Matrix>
void scatter_sums(Matrix m, const float* points, int channels, int height, int width, Rows rows,
                  float* pictures) {
    constexpr int GROUP = COPIED / 2 / STRIDE, OVERLAP = WINDOW - STRIDE, BEFORE = OVERLAP / 2;
    constexpr int COLUMNS = GROUP * STRIDE + OVERLAP;
    const int across = width / STRIDE, down = height / STRIDE;
    const size_t plane = (size_t)height * width;
    const size_t step = padded((size_t)rows.count * across * channels);
    const int groups = (channels + LANES - 1) / LANES, end = rows.first + rows.count;
    const int begin = rows.first / down, some = (end - 1) / down - begin + 1;      // pictures
    const double work = std::min(rows.count, down) * across * P * P * LANES / SPEED;
    share_items((int64_t)some * groups, work, [&](int64_t item) {
        const int n = begin + item / groups, c = item % groups * LANES;
        const int count = std::min(LANES, channels - c);
        float* picture = pictures + ((size_t)n * channels + c) * plane;
        for (int row = std::max(n * down, rows.first); row < std::min((n + 1) * down, end); row++) {
            const int top = row % down * STRIDE - BEFORE;
            Lanes sums[WINDOW][COLUMNS] = {};
            for (int first = 0; first < across; first += GROUP) {
                const int tiles = std::min(GROUP, across - first), left = first * STRIDE - BEFORE;
                for (int t = 0; t < tiles; t++) {
                    const float* from = points +
                        ((size_t)(row - rows.first) * across + first + t) * channels + c;
                    Lanes all[P * P];
                    for (int p = 0; p < P * P; p++) all[p] = load(from + p * step, 1, count);
                    multiply_both<WINDOW, P, true>(m, all, {P, 1}, &sums[0][t * STRIDE],
                                                   {COLUMNS, 1});
                }
                // Those that nothing more is added to.
                const int whole = first + tiles < across ? tiles * STRIDE : width - left;
                for (int i = std::max(0, -top); i < std::min(WINDOW, height - top); i++)
                    for (int j = std::max(0, -left); j < whole; j += LANES) {
                        float* to = picture + (size_t)(top + i) * width + left + j;
                        const int columns = std::min(LANES, whole - j);
                        if (i < OVERLAP && top > 0) {       // the row before was here
                            Lanes before[LANES];
                            load_columns(to, plane, count, columns, before);
                            for (int k = 0; k < columns; k++) sums[i][j + k] += before[k];
                        }
                        store_columns(&sums[i][j], to, plane, count, columns);
                    }
                for (int i = 0; i < WINDOW; i++) {
                    std::copy_n(sums[i] + tiles * STRIDE, OVERLAP, sums[i]);
                    std::fill(sums[i] + OVERLAP, sums[i] + COLUMNS, Lanes{});
                }
            }
        }
    });
}

// The steps between pictures and points, and what a tile is: its side in x and in y.
template <class How>
struct Tiles {
    static constexpr int in_x = How::algorithm.stride, in_y = How::algorithm.outputs;
    static constexpr bool overlap = false;

    template <class... Args>
    static void gather_x(Args... args) {
        gather<How::algorithm.window, in_x, How::algorithm.points>(
            [](int i, int k) { return How::algorithm.B[i][k]; }, args...);
    }
    template <class... Args>
    static void gather_dy(Args... args) {
        gather<in_y, in_y, How::algorithm.points>(
            [](int i, int k) { return How::algorithm.A[k][i]; }, args...);
    }
    template <class... Args>
    static void scatter_y(Args... args) {
        scatter<in_y, How::algorithm.points>(
            [](int i, int k) { return How::algorithm.A[i][k]; }, args...);
    }
};

template <class How>
struct Tiles<Transposed<How>> {
    static constexpr int in_x = How::algorithm.outputs, in_y = How::algorithm.stride;
    static constexpr bool overlap = true;

    template <class... Args>
    static void gather_x(Args... args) { Tiles<How>::gather_dy(args...); }
    template <class... Args>
    static void gather_dy(Args... args) { Tiles<How>::gather_x(args...); }
    template <class... Args>
    static void scatter_y(Args... args) {
        scatter_sums<How::algorithm.window, in_y, How::algorithm.points>(
            [](int i, int k) { return How::algorithm.B[k][i]; }, args...);
    }
};

// The points [P * P] of w from channel i to the channels from o on.
template <class How>
void transform_taps(const Layer& l, const float* w, int i, int o, Lanes* points) {
    constexpr int P = How::algorithm.points;
    const int count = std::min(LANES, l.to - o);
    const size_t next = l.adjoint ? 9 : 9 * (size_t)l.from;
    const float* first = w + 9 * (l.adjoint ? (size_t)i * l.to + o : (size_t)o * l.from + i);
    Lanes taps[9];
    for (int k = 0; k < 9; k++)
        taps[l.turned() ? 8 - k : k] = load(first + k, next, count) * l.scale;
    multiply_both<P, 3>([](int i, int k) { return How::algorithm.G[i][k]; }, taps, {3, 1}, points,
                        {P, 1});
}

// w to points [P * P, from, to]
template <class How>
void transform_weight(const Layer& l, const float* w, float* points) {
    constexpr int POINTS = How::algorithm.points * How::algorithm.points;
    const size_t step = padded((size_t)l.from * l.to);
    share_items(l.from, l.to * POINTS / SPEED, [&](int64_t i) {
        for (int o = 0; o < l.to; o += LANES) {
            Lanes result[POINTS];
            transform_taps<How>(l, w, i, o, result);
            store<POINTS>(result, points + (size_t)i * l.to + o, step, std::min(LANES, l.to - o),
                          true);
        }
        finish_far_stores();
    });
}

// The same as factors for AMX, one per point.
template <class How>
void split_weight(const Layer& l, const float* w, char* factors) {
    constexpr int POINTS = How::algorithm.points * How::algorithm.points;
    const size_t next = Factor::bytes(l.to, l.from);
    const int rows = (l.from + 31) / 32 * 32;       // beyond `from` are zeros
    share_items(rows / 2, l.to * POINTS / SPEED, [&](int64_t pair) {
        const int i = 2 * pair;
        Lanes first[POINTS] = {}, second[POINTS] = {};
        for (int o = 0; o < l.to; o += LANES) {
            if (i < l.from) transform_taps<How>(l, w, i, o, first);
            if (i < l.from) transform_taps<How>(l, w, i + 1, o, second);
            split_pairs((const float*)first, (const float*)second, POINTS, i, o, l.from,
                        Factor(factors, l.to, l.from), next);
        }
    });
}

// The sum of `parts` arrays of points [P * P, to, from], each of so many numbers, to dw
// [to, from, 3, 3]
template <class How>
void collect_weight(const Layer& l, const float* points, int64_t parts, size_t numbers, float* dw) {
    constexpr int P = How::algorithm.points;
    constexpr int BLOCK = 2;                // with one, memory keeps it waiting between points
    const size_t step = padded((size_t)l.to * l.from);
    share_items(l.to, parts * l.from * P * P / SPEED, [&](int64_t o) {
    for (int i = 0; i < l.from; i += BLOCK * LANES) {
        const size_t place = (size_t)o * l.from + i;
        Lanes all[BLOCK][P * P], taps[9];
        for (int p = 0; p < P * P; p++)
            for (int b = 0; b < BLOCK && i + b * LANES < l.from; b++) {
                const float* from = points + place + b * LANES + p * step;
                const int count = std::min(LANES, l.from - i - b * LANES);
                all[b][p] = load(from, 1, count);
                for (int64_t part = 1; part < parts; part++)
                    all[b][p] += load(from + part * numbers, 1, count);
                __builtin_prefetch(from + BLOCK * LANES);
            }
        for (int b = 0; b < BLOCK && i + b * LANES < l.from; b++) {
            const int count = std::min(LANES, l.from - i - b * LANES);
            multiply_both<3, P>([](int i, int k) { return How::algorithm.G[k][i]; }, all[b], {P, 1},
                                taps, {3, 1});
            float* to = dw + 9 * (place + b * LANES);
            for (int c = 0; c < count; c++)
                for (int k = 0; k < 9; k++) to[9 * c + k] = taps[k][c] * l.scale;
        }
    }
    });
}

// The convolutions --------------------------------------------------------------------------------

// A layer's tiles and the buffers for its transformed arrays. Kept between calls.
template <class How>
struct Workspace {
    static constexpr int POINTS = How::algorithm.points * How::algorithm.points;
    int across, down;       // tiles of a picture
    int rows, rows_at_once;
    size_t most;            // tiles at once
    bool fits;              // into a thread's cache, and is worth a matrix product
    float* weight = nullptr;        // [POINTS, from, to] or [POINTS, to, from]
    float* x;               // [POINTS, tiles, from]
    float* y;               // [POINTS, tiles, to]
    char* split = nullptr;  // or the weight as factors for AMX

    Workspace(const Layer& l, bool own) {
        across = l.width / Tiles<How>::in_x;
        down = l.height / Tiles<How>::in_x;
        rows = l.batch * down;
        const size_t of_tile = 4 * POINTS * (size_t)(l.from + l.to);
        const size_t wanted = own ? std::min(OWN_TILES, CACHE / of_tile)
                                  : std::min(SHARED_TILES, MOST_MEMORY / of_tile);
        rows_at_once = std::max<int>(1, std::min<size_t>(rows, wanted / LANES * LANES / across));
        most = (size_t)rows_at_once * across;
        fits = most * of_tile <= CACHE && most >= FEWEST_OWN_TILES;
        take(l, 0);
    }

    // The arrays of a thread.
    void take(const Layer& l, int thread) {
        x = buffer(1 + 2 * thread, most * l.from);
        y = buffer(2 + 2 * thread, most * l.to);
    }

    static float* buffer(int i, size_t size) {
        return (float*)thread_buffer(i).at_least(4 * POINTS * padded(size));
    }

    int blocks() const { return (rows + rows_at_once - 1) / rows_at_once; }

    Rows block(int i) const {
        return {i * rows_at_once, std::min(rows_at_once, rows - i * rows_at_once)};
    }
};

// Memory of a thread for a factor that is split for AMX.
static Factor split_room(int i, int64_t rows, int64_t inner) {
    static thread_local Buffer buffers[2];
    return Factor(buffers[i].at_least(Factor::bytes(rows, inner)), rows, inner);
}

// Some rows of tiles. Shared among threads, unless one of them is at it.
template <class How>
void convolve_rows(const Layer& l, const Workspace<How>& space, Rows rows, const float* x, float* y) {
    constexpr int in_x = Tiles<How>::in_x, in_y = Tiles<How>::in_y;
    Tiles<How>::gather_x(x, l.from, l.height, l.width, rows, space.x);
    const int tiles = rows.count * space.across;
    share_items(space.POINTS, tiles * l.to * (l.from / PRODUCTS), [&](int64_t p) {
        const float* tiles_of_p = space.x + p * padded((size_t)tiles * l.from);
        float* products = space.y + p * padded((size_t)tiles * l.to);
        if (space.split) {
            const Factor left = split_room(0, tiles, l.from);
            const Factor right(space.split + p * Factor::bytes(l.to, l.from), l.to, l.from);
            split_left(tiles_of_p, tiles, l.from, left);
            multiply_split(tiles, l.to, l.from, left, right, false, products);
            return;
        }
        multiply('N', 'N', tiles, l.to, l.from, 1, tiles_of_p, l.from,
                 space.weight + p * padded((size_t)l.from * l.to), l.to, 0, products, l.to);
    });
    Tiles<How>::scatter_y(space.y, l.to, l.height / in_x * in_y, l.width / in_x * in_y, rows, y);
}

template <class How>
void convolve_by(const Layer& l, const float* x, const float* w, float* y) {
    Workspace<How> space(l, true);
    int part = space.rows_at_once;
    if (Tiles<How>::overlap)            // the rows of a picture are one thread's
        part = std::max(part / space.down * space.down, space.down);
    const int parts = (space.rows + part - 1) / part;
    const bool apart = space.fits && parts >= FEWEST_BLOCKS;
    if (!apart) space = Workspace<How>(l, false), part = space.rows;
    // All blocks are rows for AMX, or none is split.
    const size_t tiles = (size_t)space.rows * space.across;
    const size_t side = std::max<int>(Tiles<How>::in_x, Tiles<How>::in_y);
    const size_t last = (size_t)std::min(part, space.rows) % space.rows_at_once * space.across;
    if (wants_split(l) && space.most % LANES == 0 && tiles % LANES == 0 && last % LANES == 0 &&
        tiles * side * side >= FEWEST_SPLIT) {
        const size_t bytes = space.POINTS * Factor::bytes(l.to, l.from);
        space.split = (char*)thread_buffer(0).at_least(bytes);
        split_weight<How>(l, w, space.split);
    } else {
        space.weight = Workspace<How>::buffer(0, (size_t)l.from * l.to);
        transform_weight<How>(l, w, space.weight);
    }
    const auto convolve_part = [&](int64_t i) {
        Workspace<How> mine = space;
        mine.take(l, this_thread());
        const int end = std::min<int>((i + 1) * part, space.rows);
        for (int first = i * part; first < end; first += space.rows_at_once)
            convolve_rows<How>(l, mine, {first, std::min(space.rows_at_once, end - first)}, x, y);
    };
    if (apart) {
        for (int i = 0; i < most_threads(); i++) Workspace<How>(space).take(l, i);  // may fail here
        share(parts, 1 << 30, convolve_part);
    } else {
        convolve_part(0);
    }
}

// What some rows of tiles add to the transformed gradient in space.weight, or `begin` it with.
template <class How>
void gradient_rows(const Layer& l, const Workspace<How>& space, Rows rows, bool begin,
                   const float* x, const float* dy) {
    constexpr int in_x = Tiles<How>::in_x, in_y = Tiles<How>::in_y;
    Tiles<How>::gather_x(x, l.from, l.height, l.width, rows, space.x);
    Tiles<How>::gather_dy(dy, l.to, l.height / in_x * in_y, l.width / in_x * in_y, rows, space.y);
    const int tiles = rows.count * space.across;
    const bool split = wants_split(l);
    share_items(space.POINTS, l.to * tiles * (l.from / PRODUCTS), [&](int64_t p) {
        const float* x_of_p = space.x + p * padded((size_t)tiles * l.from);
        const float* dy_of_p = space.y + p * padded((size_t)tiles * l.to);
        float* sum = space.weight + p * padded((size_t)l.to * l.from);
        if (split) {
            const Factor left = split_room(0, l.to, tiles), right = split_room(1, l.from, tiles);
            split_left_transposed(dy_of_p, l.to, tiles, left);
            split_right(x_of_p, tiles, l.from, right);
            multiply_split(l.to, l.from, tiles, left, right, !begin, sum);
            return;
        }
        multiply('T', 'N', l.to, l.from, tiles, 1, dy_of_p, l.to, x_of_p, l.from, !begin, sum,
                 l.from);
    });
}

template <class How>
void gradient_by(const Layer& l, const float* x, const float* dy, float* dw) {
    // Blocks of a thread's own add to a sum that is its part's: as many parts as there are tiles
    // for, whatever the number of threads.
    Workspace<How> space(l, true);
    const size_t numbers = space.POINTS * padded((size_t)l.to * l.from);
    const int64_t tiles = (int64_t)space.rows * space.across;
    const bool apart = space.fits && 4 * numbers <= MOST_OF_SUM && tiles >= 2 * TILES_OF_SUM &&
        !wants_split(l);
    const int64_t parts =
        apart ? std::min({tiles / TILES_OF_SUM, MOST_SUMS, (int64_t)space.blocks()}) : 1;
    if (!apart) space = Workspace<How>(l, false);
    float* sums = (float*)thread_buffer(0).at_least(4 * numbers * parts);
    for (int i = 0; i < most_threads() && apart; i++) Workspace<How>(space).take(l, i);
    const auto add_part = [&](int64_t part) {
        Workspace<How> mine = space;
        mine.take(l, this_thread());
        mine.weight = sums + part * numbers;
        const int begin = space.blocks() * part / parts, end = space.blocks() * (part + 1) / parts;
        for (int i = begin; i < end; i++)
            gradient_rows<How>(l, mine, space.block(i), i == begin, x, dy);
    };
    if (most_threads() > parts)             // they share each block
        for (int64_t part = 0; part < parts; part++) add_part(part);
    else
        share(parts, 1 << 30, add_part);
    collect_weight<How>(l, sums, parts, numbers, dw);
}

// Whether there are too few tiles for the large algorithms. AMX multiplies so fast that writing and
// reading 100 points of a weight takes longer than what they save.
static bool is_small(const Layer& l) {
    const int side = l.form == DOWN || l.form == SMOOTH_DOWN ? 8 : 4;
    const int tiles = l.batch * (l.height / side) * (l.width / side);
    if (l.form == SAME) return tiles < 32;
    return tiles < (wants_split(l) ? 320 : 64) || (wants_split(l) && std::max(l.from, l.to) <= 128);
}

// by(algorithm) of that of a layer.
template <class By>
static void choose(const Layer& l, By by) {
    const bool small = is_small(l);
    switch (l.form) {
        case SAME: return small ? by(SmallSame()) : by(Same());
        case UP: return small ? by(SmallUp()) : by(Up());
        case DOWN: return small ? by(SmallDown()) : by(Down());
        case SMOOTH_UP:
            return small ? by(Transposed<SmallSmoothDown>()) : by(Transposed<SmoothDown>());
        case SMOOTH_DOWN: return small ? by(SmallSmoothDown()) : by(SmoothDown());
    }
}

void convolve_3x3(const Layer& l, const float* x, const float* w, float* y) {
    if (wants_bfloat16(l, false)) return convolve_bfloat16(l, x, w, y);
    choose(l, [&](auto how) { convolve_by<decltype(how)>(l, x, w, y); });
}

void convolve_3x3_gradient(const Layer& l, const float* x, const float* dy, float* dw) {
    if (wants_bfloat16(l, true)) return convolve_bfloat16_gradient(l, x, dy, dw);
    choose(l, [&](auto how) { gradient_by<decltype(how)>(l, x, dy, dw); });
}

}  // namespace stylegan
