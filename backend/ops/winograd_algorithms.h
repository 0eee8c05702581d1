// Winograd's algorithms for a 3x3 convolution, alone or with its up- or downsampling, as matrices.
//
// In one dimension, a filter g of three taps over a window d of the input is A ((G g) * (B d)), *
// being the product of each element: as many multiplications as there are points, each of which
// becomes a matrix product over the channels. In two dimensions, the same from both sides.
#pragma once

namespace stylegan {

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
constexpr double points_of_small_two[] = {0, -1};
constexpr ToomCook<4, 2> two(points_of_two_taps);
constexpr ToomCook<2, 2> small_two(points_of_small_two);

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

// For few tiles again: with s the sum of the taps, an even output is s x[i] - g0 (x[i] - x[i-1]),
// an odd one s x[i] + g2 (x[i+1] - x[i]).
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

// StyleGAN2's downsampling: the filter [1, 3, 3, 1] / 4, zero padded by 2, then three taps in steps of
// two. Its pixels at even places meet the first and the third tap, at M + 1 points, those at odd
// ones the second, at one point each.
template <int M>
constexpr auto make_smooth_down(const ToomCook<M, 2>& even) {
    constexpr int P = 2 * M + 1;
    Algorithm<P + 3, 2 * M, P, M> a;
    float B[P][P] = {};                     // of what has been filtered
    for (int p = 0; p <= M; p++) {
        a.G[p][0] = even.G[p][0], a.G[p][2] = even.G[p][1];
        for (int k = 0; k <= M; k++) B[p][2 * k] = even.B[p][k];
        for (int k = 0; k < M; k++) a.A[k][p] = even.A[k][p];
    }
    for (int k = 0; k < M; k++) {
        const int p = M + 1 + k;
        a.G[p][1] = B[p][2 * k + 1] = a.A[k][p] = 1;
    }
    for (int p = 0; p < P; p++)
        for (int k = 0; k < P; k++)
            for (int tap = 0; tap < 4; tap++)
                a.B[p][k + tap] += B[p][k] * (tap == 0 || tap == 3 ? .25f : .75f);
    return a;
}
// 4x4 outputs for 81 multiplications instead of 144.
struct SmoothDown {
    static constexpr auto algorithm = make_smooth_down(two);
};
// 2x2 outputs for 25 instead of 36.
struct SmallSmoothDown {
    static constexpr auto algorithm = make_smooth_down(small_two);
};
// The same from the last matrix to the first, each transposed, is the upsampling: windows of outputs
// overlap, and are added up.
template <class How>
struct Transposed : How {};

constexpr decltype(SmallSame::algorithm) SmallSame::algorithm;
constexpr decltype(Same::algorithm) Same::algorithm;        // C++14 wants these
constexpr decltype(Up::algorithm) Up::algorithm;
constexpr decltype(Down::algorithm) Down::algorithm;
constexpr decltype(SmallUp::algorithm) SmallUp::algorithm;
constexpr decltype(SmallDown::algorithm) SmallDown::algorithm;
constexpr decltype(SmoothDown::algorithm) SmoothDown::algorithm;
constexpr decltype(SmallSmoothDown::algorithm) SmallSmoothDown::algorithm;

}  // namespace stylegan
