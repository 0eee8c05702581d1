"""What lies between the convolutions, each in as few passes over memory as it needs.

These are loops of our own for the CPU, and kernels of our own for CUDA (fused_cuda.py). Where there
are neither, and for the tests to compare with, the same is written in Jittor's operators: a dozen
passes for a layer's noise, activation, normalisation and style, and every pattern of them a kernel
that takes seconds to compile.
"""
import os

from backend import fused_cuda, jt
from backend.kernels import Operator, on_cpu, on_gpu

OPS = os.path.join(os.path.dirname(os.path.abspath(__file__)), "ops")
HEADER = f'#include "{OPS}/workers.h"\n' + """
#include <algorithm>
#include <cmath>
#include <vector>

namespace {
// [1, 2, 1] in both directions, zeros outside. Some rows at a time, as long loops: most planes have
// short rows. `sums` has blur_room(W) numbers.
inline int blur_rows(int W) { return std::max(1, 4096 / W); }
inline int blur_room(int W) { return blur_rows(W) * W + 2; }
inline void blur_plane(const float* __restrict__ source, float* __restrict__ target,
                       float* __restrict__ sums, int H, int W) {
    for (int row = 0; row < H; row += blur_rows(W)) {
        const int rows = std::min(blur_rows(W), H - row), n = rows * W;
        const float* from = source + (int64_t)row * W;
        float* to = target + (int64_t)row * W;
        float* sum = sums + 1;
        for (int i = 0; i < n; i++) sum[i] = 2 * from[i];
        for (int i = row ? 0 : W; i < n; i++) sum[i] += from[i - W];
        for (int i = 0; i < (row + rows < H ? n : n - W); i++) sum[i] += from[i + W];
        sum[-1] = sum[n] = 0;
        for (int i = 0; i < n; i++) to[i] = (sum[i - 1] + 2 * sum[i] + sum[i + 1]) * 0.0625f;
        for (int i = W; i < n; i += W) {        // between rows are zeros
            to[i - 1] = ((W > 1 ? sum[i - 2] : 0) + 2 * sum[i - 1]) * 0.0625f;
            to[i] = (2 * sum[i] + sum[i + 1]) * 0.0625f;
        }
    }
}
// A thread's own memory: one of three arrays of at least so many numbers, for one loop.
inline float* scratch(int i, int64_t size) {
    static thread_local std::vector<float> arrays[3];
    if ((int64_t)arrays[i].size() < size) arrays[i].resize(size);
    return arrays[i].data();
}
inline float leaky_relu(float x) { return x > 0 ? x : 0.2f * x; }
}
"""


def own():
    """Whether the loops and kernels of this project compute, and not Jittor's operators."""
    return on_cpu() or on_gpu()


def code(loop, kernel, outputs, inputs, constants=""):
    """A loop for the CPU, or a kernel for CUDA that does the same, on float32 arrays: `outputs` is
    a list of shapes; a list of Vars. constants: C++ that comes before both."""
    if on_gpu():
        return cuda_code(kernel, outputs, inputs, constants)
    return jt.code(outputs, ["float32"] * len(outputs), inputs, cpu_header=HEADER,
                   cpu_src=constants + loop)


def cuda_code(kernel, outputs, inputs, constants="", **data):
    """`data`: numbers that are not compiled in."""
    header, source = kernel
    return jt.code(outputs, ["float32"] * len(outputs), inputs, cuda_header=constants + header,
                   cuda_src=source, data=data)


# The low-pass filter ------------------------------------------------------------------------------

BLUR = """
const int H = in0_shape2, W = in0_shape3;
const int64 planes = (int64)in0_shape0 * in0_shape1, area = (int64)H * W;
stylegan::share_range(planes, area, [&](int64 plane, int64 end) {
    float* sums = scratch(0, blur_room(W));
    for (; plane < end; plane++)
        blur_plane(in0_p + plane * area, out0_p + plane * area, sums, H, W);
});
"""


class Blur(Operator):
    """Zero-padded symmetric filter: its own adjoint, so its gradient is the filter again."""

    keeps = ()

    def compute(self, x):
        if own():
            return code(BLUR, fused_cuda.BLUR, [x.shape], [x])[0]

        def moved(dy, dx):
            return x.reindex(x.shape, ["i0", "i1", f"i2+{dy}", f"i3+{dx}"])     # zeros outside
        edges = moved(-1, 0) + moved(1, 0) + moved(0, -1) + moved(0, 1)
        corners = moved(-1, -1) + moved(-1, 1) + moved(1, -1) + moved(1, 1)
        return x * 0.25 + edges * 0.125 + corners * 0.0625

    def grad(self, dy):
        return Blur.apply(dy)


def blur(x):
    """[1, 2, 1] ⊗ [1, 2, 1] / 16 on each channel by itself: [N, C, H, W] → [N, C, H, W].

    Zeros outside the image, so borders darken, as in the official network (Karras et al. 2018,
    section 2).
    """
    return Blur.apply(x)


# Bias and leaky ReLU ------------------------------------------------------------------------------

BIAS_LEAKY_RELU = """
const int64 channels = in1_shape0, planes = (int64)in0_shape0 * channels;
const int64 area = out0->num / planes;
stylegan::share_items(planes, area * 0.3, [&](int64 plane) {
    const float bias = in1_p[plane % channels];
    const float* __restrict__ x = in0_p + plane * area;
    float* __restrict__ y = out0_p + plane * area;
    for (int64 i = 0; i < area; i++) y[i] = leaky_relu(x[i] + bias);
});
"""

SLOPE = """
const int64 planes = out1->num, area = out0->num / planes;
stylegan::share_items(planes, area * 0.4, [&](int64 plane) {
    const float* __restrict__ dy = in0_p + plane * area;
    const float* __restrict__ y = in1_p + plane * area;
    float* __restrict__ dx = out0_p + plane * area;
    float sum = 0;
    for (int64 i = 0; i < area; i++) {
        dx[i] = y[i] > 0 ? dy[i] : dy[i] * 0.2f;
        sum += dx[i];
    }
    out1_p[plane] = sum;
});
"""


class Slope(Operator):
    """dy, y → dx = dy where y > 0, else 0.2 dy; and its sum over each plane, [N, C].

    Linear in dy, constant in y.
    """

    keeps = (1,)

    def compute(self, dy, y):
        return tuple(code(SLOPE, fused_cuda.SLOPE, [dy.shape, dy.shape[:2]], [dy, y]))

    def grad(self, g, g_sum):
        y = self.inputs[1]
        if g_sum is not None:
            g_sum = g_sum.broadcast(y.shape, list(range(2, y.ndim)))
            g = g_sum if g is None else g + g_sum
        return Slope.apply(g, y)[0], None


class BiasLeakyRelu(Operator):
    keeps = ()

    def compute(self, x, bias):
        self.y, = code(BIAS_LEAKY_RELU, fused_cuda.BIAS_LEAKY_RELU, [x.shape], [x, bias])
        return self.y

    def grad(self, dy):
        dx, sums = Slope.apply(dy, self.y.detach())
        return dx, sums.sum(0)


def bias_leaky_relu(x, bias):
    """leaky_relu(x + bias), slope 0.2 and no gain (the √2 is in the weights).

    x [N, C, H, W] or [N, C], bias [C].
    """
    if on_cpu() or on_gpu() and x.ndim == 4:
        return BiasLeakyRelu.apply(x, bias)
    return jt.nn.leaky_relu(broadcast_sum(x, bias), 0.2)


def blurring_loop(work, body):
    """C++ of a loop over the planes of in0, each of which begins at `at`."""
    return f"""
const int C = in0_shape1, H = in0_shape2, W = in0_shape3;
const int64 planes = (int64)in0_shape0 * C, area = (int64)H * W;
stylegan::share_range(planes, area * {work}, [&](int64 plane, int64 end) {{
    float *sums = scratch(0, blur_room(W)), *__restrict__ between = scratch(1, area);
    for (; plane < end; plane++) {{
        const int64 at = plane * area;
        {body}
    }}
}});
"""


LEAKY_RELU_THEN_BLUR = blurring_loop(1.3, """
        const float* __restrict__ x = in0_p + at;
        const float bias = in1_p[plane % C];
        for (int64 i = 0; i < area; i++) between[i] = leaky_relu(x[i] + bias);
        blur_plane(between, out0_p + at, sums, H, W);""")

SLOPE_THEN_BLUR = blurring_loop(1.3, """
        const float *__restrict__ g = in0_p + at, *__restrict__ x = in1_p + at;
        const float bias = in2_p[plane % C];
        for (int64 i = 0; i < area; i++) between[i] = x[i] + bias > 0 ? g[i] : 0.2f * g[i];
        blur_plane(between, out0_p + at, sums, H, W);""")

BLUR_THEN_SLOPE = blurring_loop(1.5, """
        const float *__restrict__ x = in1_p + at, bias = in2_p[plane % C];
        float* __restrict__ dx = out0_p + at;
        blur_plane(in0_p + at, between, sums, H, W);
        float sum = 0;
        for (int64 i = 0; i < area; i++) {
            dx[i] = x[i] + bias > 0 ? between[i] : 0.2f * between[i];
            sum += dx[i];
        }
        out1_p[plane] = sum;""")


class BlurredLeakyRelu(Operator):
    """Keeps what came in instead of the activation, which nothing else needs."""

    def compute(self, x, bias):
        return code(LEAKY_RELU_THEN_BLUR, fused_cuda.LEAKY_RELU_THEN_BLUR, [x.shape], [x, bias])[0]

    def grad(self, dz):
        dx, sums = BlurThenSlope.apply(dz, *(v.detach() for v in self.inputs))
        return dx, sums.sum(0)


class BlurThenSlope(Operator):
    """dz, x, bias → dx = blur(dz) · slope at x + bias; and its sum over each plane, [N, C].

    Linear in dz, constant in the others; the adjoint is SlopeThenBlur.
    """

    keeps = (1, 2)

    def compute(self, dz, x, bias):
        return tuple(code(BLUR_THEN_SLOPE, fused_cuda.BLUR_THEN_SLOPE, [dz.shape, dz.shape[:2]],
                          [dz, x, bias]))

    def grad(self, g, g_sum):
        x, bias = self.inputs[1:]
        if g_sum is not None:
            g_sum = g_sum.broadcast(x.shape, [2, 3])
            g = g_sum if g is None else g + g_sum
        return SlopeThenBlur.apply(g, x, bias), None, None


class SlopeThenBlur(Operator):
    keeps = (1, 2)

    def compute(self, g, x, bias):
        return code(SLOPE_THEN_BLUR, fused_cuda.SLOPE_THEN_BLUR, [g.shape], [g, x, bias])[0]

    def grad(self, dz):
        return BlurThenSlope.apply(dz, *self.inputs[1:])[0], None, None


def blurred_leaky_relu(x, bias):
    """blur(bias_leaky_relu(x, bias)) of x [N, C, H, W]."""
    if own():
        return BlurredLeakyRelu.apply(x, bias)
    return blur(bias_leaky_relu(x, bias))


class AddBias(Operator):
    """On a GPU: Jittor adds its gradient up atomically, in any order."""

    keeps = ()

    def compute(self, x, bias):
        return broadcast_sum(x, bias)

    def grad(self, dy):
        return dy, PlaneSums.apply(dy).sum(0)


class PlaneSums(Operator):
    """[N, C, H, W] → [N, C]."""

    keeps = ()

    def compute(self, x):
        self.shape = x.shape
        return cuda_code(fused_cuda.PLANE_SUMS, [x.shape[:2]], [x])[0]

    def grad(self, g):
        return g.broadcast(self.shape, [2, 3])


def broadcast_sum(x, bias):
    return x + bias.broadcast(x.shape, [i for i in range(x.ndim) if i != 1])


def add_bias(x, bias):
    """x + bias of each channel: x [N, C, H, W] or [N, C], bias [C]."""
    return AddBias.apply(x, bias) if on_gpu() and x.ndim == 4 else broadcast_sum(x, bias)
