#pragma GCC optimize("O3")             // Jittor compiles operators with -O2
#include "winograd.h"

#include <dnnl.h>
#include <omp.h>

#include <algorithm>
#include <cstring>
#ifdef __AVX__
#include <immintrin.h>
#endif

#include "buffer.h"

namespace stylegan {

// The algorithms ----------------------------------------------------------------------------------
//
// In one dimension, a filter g of three taps over a window d of the input is A ((G g) * (B d)), *
// being the product of each element: as many multiplications as there are points, each of which
// becomes a matrix product over the channels. In two dimensions, the same from both sides.

template <int WINDOW, int STRIDE, int POINTS, int OUTPUTS>
struct Algorithm {
    static constexpr int window = WINDOW, stride = STRIDE, points = POINTS, outputs = OUTPUTS;
    float A[OUTPUTS][POINTS] = {}, G[POINTS][3] = {}, B[POINTS][WINDOW] = {};
};

// Toom and Cook's matrices for M outputs of R taps: polynomials are multiplied at M + R - 2 given
// points and at infinity (Lavin and Gray 2016; Barabasz et al. 2018 for how points round).
template <int M, int R>
struct ToomCook {
    static constexpr int P = M + R - 1;
    float A[M][P] = {}, G[P][R] = {}, B[P][P] = {};

    constexpr explicit ToomCook(const double (&points)[P - 1]) {
        for (int i = 0; i < P; i++) {
            const bool infinity = i == P - 1;
            double others[P + 1] = {1}, norm = 1, power = 1;    // the product of x - other points
            int degree = 0;
            for (int j = 0; j < P - 1; j++) {
                if (j == i) continue;
                degree++;
                for (int k = degree; k >= 0; k--)
                    others[k] = (k ? others[k - 1] : 0) - points[j] * others[k];
                if (!infinity) norm *= points[i] - points[j];
            }
            for (int k = 0; k <= degree; k++) B[i][k] = others[k];
            for (int k = 0; k < M || k < R; k++) {
                if (k < M) A[k][i] = infinity ? k == M - 1 : power;
                if (k < R) G[i][k] = infinity ? k == R - 1 : power / norm;
                if (!infinity) power *= points[i];
            }
        }
    }
};

// Found by trying fractions: the smallest errors against float64 (see bench/README.md).
constexpr double points_of_three_taps[] = {0, .75, -.75, 1.5, -1.5};
constexpr double points_of_two_taps[] = {0, 1.25, -1.25, .5};
constexpr double points_of_small[] = {0, 1, -1};
constexpr ToomCook<4, 2> two(points_of_two_taps);

template <int M>
constexpr auto make_same(const double (&points)[M + 1]) {
    const ToomCook<M, 3> three(points);
    Algorithm<M + 2, M, M + 2, M> a;
    for (int p = 0; p < M + 2; p++) {
        for (int k = 0; k < M; k++) a.A[k][p] = three.A[k][p];
        for (int k = 0; k < 3; k++) a.G[p][k] = three.G[p][k];
        for (int k = 0; k < M + 2; k++) a.B[p][k] = three.B[p][k];
    }
    return a;
}
// 4x4 outputs for 36 multiplications instead of 144.
struct Same {
    static constexpr auto algorithm = make_same<4>(points_of_three_taps);
};
// 2x2 outputs for 16 multiplications instead of 36: for few tiles, where the transformed weights
// are larger than what they multiply.
struct SmallSame {
    static constexpr auto algorithm = make_same<2>(points_of_small);
};

// Of an enlarged row a a b b c c, three taps see only two different values: even outputs have the
// kernel (g0, g1 + g2), odd ones (g0 + g1, g2). Both at five points each.
template <class Halves>
constexpr void set_even_and_odd_kernels(Halves& a, int p) {
    const float first = two.G[p][0], second = two.G[p][1];
    a.G[p][0] = first, a.G[p][1] = second, a.G[p][2] = second;
    a.G[p + 5][0] = first, a.G[p + 5][1] = first, a.G[p + 5][2] = second;
}

// 8x8 outputs for 100 multiplications instead of 576.
constexpr auto make_up() {
    Algorithm<6, 4, 10, 8> a;
    for (int p = 0; p < 5; p++) {
        set_even_and_odd_kernels(a, p);
        for (int k = 0; k < 5; k++) a.B[p][k] = a.B[p + 5][k + 1] = two.B[p][k];
        for (int k = 0; k < 4; k++) a.A[2 * k][p] = a.A[2 * k + 1][p + 5] = two.A[k][p];
    }
    return a;
}
struct Up {
    static constexpr auto algorithm = make_up();
};

// 4x4 outputs, each the sum of four, for 100 multiplications instead of 576.
constexpr auto make_down() {
    Algorithm<10, 8, 10, 4> a;
    for (int p = 0; p < 5; p++) {
        set_even_and_odd_kernels(a, p);
        for (int k = 0; k < 5; k++) a.B[p][2 * k] = a.B[p + 5][2 * k + 1] = two.B[p][k];
        for (int k = 0; k < 4; k++) a.A[k][p] = a.A[k][p + 5] = two.A[k][p];
    }
    return a;
}
struct Down {
    static constexpr auto algorithm = make_down();
};

// For few tiles again: with s the sum of the taps, an even output is s x[i] - g0 (x[i] - x[i-1]), an odd one s x[i] + g2 (x[i+1] - x[i]).
// 2x2 outputs for 9 multiplications instead of 36.
struct SmallUp {
    static constexpr Algorithm<3, 1, 3, 2> algorithm = {
        {{1, -1, 0}, {1, 0, 1}}, {{1, 1, 1}, {1, 0, 0}, {0, 0, 1}},
        {{0, 1, 0}, {-1, 1, 0}, {0, -1, 1}}};
};

// Its transpose: one output for 9 multiplications instead of 36.
struct SmallDown {
    static constexpr Algorithm<4, 2, 3, 1> algorithm = {
        {{1, 1, 1}}, {{1, 1, 1}, {1, 0, 0}, {0, 0, 1}},
        {{0, 1, 1, 0}, {1, 0, -1, 0}, {0, -1, 0, 1}}};
};

constexpr decltype(SmallSame::algorithm) SmallSame::algorithm;
constexpr decltype(Same::algorithm) Same::algorithm;        // C++14 wants these
constexpr decltype(Up::algorithm) Up::algorithm;
constexpr decltype(Down::algorithm) Down::algorithm;
constexpr decltype(SmallUp::algorithm) SmallUp::algorithm;
constexpr decltype(SmallDown::algorithm) SmallDown::algorithm;

// The transforms ----------------------------------------------------------------------------------

constexpr int LANES = 16;               // channels at a time: one register where there is AVX-512
typedef float Lanes __attribute__((vector_size(4 * LANES)));

// The distance between the points of a transformed array of n numbers. Never a power of two: the
// caches would put all points into the same few places.
inline size_t padded(size_t n) { return (n + LANES - 1) / LANES * LANES + 5 * LANES; }

inline Lanes load(const float* from, size_t step, int count) {
    Lanes value = {};
    if (count == LANES)
        for (int i = 0; i < LANES; i++) value[i] = from[i * step];
    else
        for (int i = 0; i < count; i++) value[i] = from[i * step];
    return value;
}

// Past the caches, where what is written is too large for them and would be read in first.
inline void store_far(float* to, const Lanes& value) {
#if defined(__AVX512F__)
    _mm512_stream_ps(to, (__m512)value);
#elif defined(__AVX__)
    const __m256* half = (const __m256*)&value;
    _mm256_stream_ps(to, half[0]);
    _mm256_stream_ps(to + 8, half[1]);
#else
    std::memcpy(to, &value, sizeof value);
#endif
}

inline void finish_far_stores() {
#ifdef __AVX__
    _mm_sfence();
#endif
}

template <int POINTS>
inline void store(const Lanes* values, float* to, size_t step, int count, bool far) {
    if (far && count == LANES && (size_t)to % sizeof(Lanes) == 0)
        for (int p = 0; p < POINTS; p++) store_far(to + p * step, values[p]);
    else if (count == LANES)
        for (int p = 0; p < POINTS; p++) std::memcpy(to + p * step, &values[p], sizeof(Lanes));
    else
        for (int p = 0; p < POINTS; p++) std::memcpy(to + p * step, &values[p], 4 * count);
}

// out[i] = sum of m(i, k) in[k]. Unrolled, m is known while compiling, and its zeros cost nothing.
template <int ROWS, int COLUMNS, class Matrix>
[[gnu::always_inline]] inline void multiply(Matrix m, const Lanes* in, int in_step, Lanes* out,
                                            int out_step) {
#pragma GCC unroll 16
    for (int i = 0; i < ROWS; i++) {
        Lanes sum = {};
#pragma GCC unroll 16
        for (int k = 0; k < COLUMNS; k++)
            if (m(i, k) != 0) sum += m(i, k) * in[k * in_step];
        out[i * out_step] = sum;
    }
}

// out = m in transpose(m); in is [COLUMNS, COLUMNS] with rows in_row apart, out [ROWS, ROWS].
template <int ROWS, int COLUMNS, class Matrix>
[[gnu::always_inline]] inline void multiply_both(Matrix m, const Lanes* in, int in_row,
                                                 Lanes* out) {
    Lanes half[ROWS][COLUMNS];
    for (int k = 0; k < COLUMNS; k++)
        multiply<ROWS, COLUMNS>(m, in + k, in_row, &half[0][k], COLUMNS);
    for (int i = 0; i < ROWS; i++) multiply<ROWS, COLUMNS>(m, half[i], 1, out + i * ROWS, 1);
}

// Some rows of tiles, counted through all pictures; they are transformed and multiplied at once.
struct Rows {
    int first, count;
};

constexpr int GROUP = 8;                // tiles of a row that are copied at once

// Pictures [N, channels, height, width] to points [P * P, tiles, channels].
template <int WINDOW, int STRIDE, int P, int PADDING, class Matrix>
void gather(Matrix m, const float* pictures, int channels, int height, int width, Rows rows,
            float* points) {
    constexpr int COLUMNS = GROUP * STRIDE + WINDOW - STRIDE;
    const int across = width / STRIDE, down = height / STRIDE;
    const size_t plane = (size_t)height * width;
    const size_t step = padded((size_t)rows.count * across * channels);
    const bool far = step * P * P > (6 << 18);                          // 6 MiB
    #pragma omp for collapse(2)
    for (int row = 0; row < rows.count; row++)
    for (int c = 0; c < channels; c += LANES) {
        const int n = (rows.first + row) / down, count = std::min(LANES, channels - c);
        const int top = (rows.first + row) % down * STRIDE - PADDING;
        const float* picture = pictures + ((size_t)n * channels + c) * plane;
        for (int first = 0; first < across; first += GROUP) {
            const int tiles = std::min(GROUP, across - first), left = first * STRIDE - PADDING;
            Lanes copy[WINDOW][COLUMNS];
            for (int i = 0; i < WINDOW; i++)
                for (int j = 0; j < tiles * STRIDE + WINDOW - STRIDE; j++) {
                    const int y = top + i, x = left + j;
                    const bool inside = y >= 0 && y < height && x >= 0 && x < width;
                    copy[i][j] = inside ? load(picture + (size_t)y * width + x, plane, count)
                                        : Lanes{};
                }
            float* to = points + ((size_t)row * across + first) * channels + c;
            for (int t = 0; t < tiles; t++) {
                Lanes result[P * P];
                multiply_both<P, WINDOW>(m, &copy[0][t * STRIDE], COLUMNS, result);
                store<P * P>(result, to + (size_t)t * channels, step, count, far);
            }
        }
        finish_far_stores();
    }
}

// Points [P * P, tiles, channels] to pictures of Q x Q per tile.
template <int Q, int P, class Matrix>
void scatter(Matrix m, const float* points, int channels, int height, int width, Rows rows,
             float* pictures) {
    const int across = width / Q, down = height / Q;
    const size_t plane = (size_t)height * width;
    const size_t step = padded((size_t)rows.count * across * channels);
    #pragma omp for collapse(2)
    for (int row = 0; row < rows.count; row++)
    for (int c = 0; c < channels; c += LANES) {
        const int n = (rows.first + row) / down, count = std::min(LANES, channels - c);
        const int top = (rows.first + row) % down * Q;
        float* picture = pictures + ((size_t)n * channels + c) * plane + (size_t)top * width;
        for (int first = 0; first < across; first += GROUP) {
            const int tiles = std::min(GROUP, across - first);
            Lanes copy[Q][GROUP * Q];
            for (int t = 0; t < tiles; t++) {
                const float* from = points + ((size_t)row * across + first + t) * channels + c;
                Lanes all[P * P], result[Q * Q];
                for (int p = 0; p < P * P; p++) all[p] = load(from + p * step, 1, count);
                multiply_both<Q, P>(m, all, P, result);
                for (int i = 0; i < Q; i++)
                    for (int j = 0; j < Q; j++) copy[i][t * Q + j] = result[i * Q + j];
            }
            for (int k = 0; k < count; k++)
                for (int i = 0; i < Q; i++) {
                    float* to = picture + k * plane + (size_t)i * width + first * Q;
                    const float* from = (const float*)copy[i] + k;
                    for (int j = 0; j < tiles * Q; j++) to[j] = from[j * LANES];
                }
        }
    }
}

// w to points [P * P, from, to]
template <class How>
void transform_weight(const Layer& l, const float* w, float* points) {
    constexpr int P = How::algorithm.points;
    const size_t step = padded((size_t)l.from * l.to), next = l.adjoint ? 9 : 9 * (size_t)l.from;
    #pragma omp for
    for (int i = 0; i < l.from; i++) {
        for (int o = 0; o < l.to; o += LANES) {
            const int count = std::min(LANES, l.to - o);
            const float* first = w + 9 * (l.adjoint ? (size_t)i * l.to + o : (size_t)o * l.from + i);
            Lanes taps[9], result[P * P];
            for (int k = 0; k < 9; k++)
                taps[l.adjoint ? 8 - k : k] = load(first + k, next, count) * l.scale;
            multiply_both<P, 3>([](int i, int k) { return How::algorithm.G[i][k]; }, taps, 3, result);
            store<P * P>(result, points + (size_t)i * l.to + o, step, count, true);
        }
        finish_far_stores();
    }
}

// Points [P * P, to, from] to dw [to, from, 3, 3]
template <class How>
void collect_weight(const Layer& l, const float* points, float* dw) {
    constexpr int P = How::algorithm.points;
    const size_t step = padded((size_t)l.to * l.from);
    #pragma omp for
    for (int o = 0; o < l.to; o++)
    for (int i = 0; i < l.from; i += LANES) {
        const int count = std::min(LANES, l.from - i);
        const size_t place = (size_t)o * l.from + i;
        Lanes all[P * P], taps[9];
        for (int p = 0; p < P * P; p++) all[p] = load(points + place + p * step, 1, count);
        multiply_both<3, P>([](int i, int k) { return How::algorithm.G[k][i]; }, all, P, taps);
        for (int c = 0; c < count; c++)
            for (int k = 0; k < 9; k++) dw[9 * (place + c) + k] = taps[k][c] * l.scale;
    }
}

// The convolutions --------------------------------------------------------------------------------

// A layer's tiles and the buffers for its transformed arrays. Kept between calls.
template <class How>
struct Workspace {
    static constexpr int POINTS = How::algorithm.points * How::algorithm.points;
    int across, rows, rows_at_once;
    float* weight;          // [POINTS, from, to] or [POINTS, to, from]
    float* x;               // [POINTS, tiles, from]
    float* y;               // [POINTS, tiles, to]

    explicit Workspace(const Layer& l) {
        across = l.width / How::algorithm.stride;
        rows = l.batch * (l.height / How::algorithm.stride);
        const size_t tiles = (16 << 20) / (POINTS * (size_t)(l.from + l.to));       // 64 MiB
        rows_at_once = std::max<int>(1, std::min<size_t>(rows, std::min<size_t>(tiles, 256) / across));
        const size_t most = (size_t)rows_at_once * across;
        const size_t sizes[] = {(size_t)l.from * l.to, most * l.from, most * l.to};
        float** arrays[] = {&weight, &x, &y};
        for (int i = 0; i < 3; i++)
            *arrays[i] = (float*)shared_buffer(i).at_least(4 * POINTS * padded(sizes[i]));
    }
};

template <class How>
void convolve_by(const Layer& l, const float* x, const float* w, float* y) {
    constexpr auto& a = How::algorithm;
    const Workspace<How> space(l);
    const int height = l.height / a.stride * a.outputs, width = l.width / a.stride * a.outputs;
    #pragma omp parallel
    {
        transform_weight<How>(l, w, space.weight);
        for (int first = 0; first < space.rows; first += space.rows_at_once) {
            const Rows rows = {first, std::min(space.rows_at_once, space.rows - first)};
            gather<a.window, a.stride, a.points, 1>(
                [](int i, int k) { return How::algorithm.B[i][k]; }, x, l.from, l.height, l.width,
                rows, space.x);
            const int tiles = rows.count * space.across;
            const int part = std::max(32, tiles / (1 + 3 * omp_get_num_threads() / space.POINTS));
            #pragma omp for schedule(dynamic) collapse(2)
            for (int p = 0; p < space.POINTS; p++)
            for (int t = 0; t < tiles; t += part)
                dnnl_sgemm('N', 'N', std::min(part, tiles - t), l.to, l.from, 1.f,
                           space.x + p * padded((size_t)tiles * l.from) + (size_t)t * l.from, l.from,
                           space.weight + p * padded((size_t)l.from * l.to), l.to, 0.f,
                           space.y + p * padded((size_t)tiles * l.to) + (size_t)t * l.to, l.to);
            scatter<a.outputs, a.points>(
                [](int i, int k) { return How::algorithm.A[i][k]; }, space.y, l.to, height, width,
                rows, y);
        }
    }
}

template <class How>
void gradient_by(const Layer& l, const float* x, const float* dy, float* dw) {
    constexpr auto& a = How::algorithm;
    const Workspace<How> space(l);
    const int height = l.height / a.stride * a.outputs, width = l.width / a.stride * a.outputs;
    #pragma omp parallel
    {
        for (int first = 0; first < space.rows; first += space.rows_at_once) {
            const Rows rows = {first, std::min(space.rows_at_once, space.rows - first)};
            gather<a.window, a.stride, a.points, 1>(
                [](int i, int k) { return How::algorithm.B[i][k]; }, x, l.from, l.height, l.width,
                rows, space.x);
            gather<a.outputs, a.outputs, a.points, 0>(
                [](int i, int k) { return How::algorithm.A[k][i]; }, dy, l.to, height, width,
                rows, space.y);
            const int tiles = rows.count * space.across;
            const int part = std::max(32, l.to / (1 + 3 * omp_get_num_threads() / space.POINTS));
            #pragma omp for schedule(dynamic) collapse(2)
            for (int p = 0; p < space.POINTS; p++)
            for (int o = 0; o < l.to; o += part)
                dnnl_sgemm('T', 'N', std::min(part, l.to - o), l.from, tiles, 1.f,
                           space.y + p * padded((size_t)tiles * l.to) + o, l.to,
                           space.x + p * padded((size_t)tiles * l.from), l.from, first ? 1.f : 0.f,
                           space.weight + p * padded((size_t)l.to * l.from) + (size_t)o * l.from,
                           l.from);
        }
        collect_weight<How>(l, space.weight, dw);
    }
}

// Whether there are too few tiles for the large algorithms.
static bool is_small(const Layer& l) {
    const int side = l.form == DOWN ? 8 : 4;
    return l.batch * (l.height / side) * (l.width / side) < (l.form == SAME ? 32 : 64);
}

void convolve_3x3(const Layer& l, const float* x, const float* w, float* y) {
    if (l.form == SAME)
        return is_small(l) ? convolve_by<SmallSame>(l, x, w, y) : convolve_by<Same>(l, x, w, y);
    if (l.form == UP) return is_small(l) ? convolve_by<SmallUp>(l, x, w, y) : convolve_by<Up>(l, x, w, y);
    is_small(l) ? convolve_by<SmallDown>(l, x, w, y) : convolve_by<Down>(l, x, w, y);
}

void convolve_3x3_gradient(const Layer& l, const float* x, const float* dy, float* dw) {
    if (l.form == SAME)
        return is_small(l) ? gradient_by<SmallSame>(l, x, dy, dw) : gradient_by<Same>(l, x, dy, dw);
    if (l.form == UP)
        return is_small(l) ? gradient_by<SmallUp>(l, x, dy, dw) : gradient_by<Up>(l, x, dy, dw);
    is_small(l) ? gradient_by<SmallDown>(l, x, dy, dw) : gradient_by<Down>(l, x, dy, dw);
}

}  // namespace stylegan
