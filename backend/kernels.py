"""The network's linear operators and its activation, each with gradients of any order.

On the CPU they call the oneDNN operators of `ops/` and two loops of our own directly. Jittor's
own expressions for them mean the same (and are what runs on CUDA, and what the tests compare
with), but there each pattern of forward, gradient and double gradient is a kernel to be compiled
in seconds, and a depthwise convolution or an activation makes several passes over memory.
"""
import numpy as np

from backend import jt
from backend import onednn_ops as ops


def on_cpu():
    return ops is not None and not jt.flags.use_cuda


class Operator(jt.Function):
    """A jt.Function whose gradient can be differentiated again.

    What `execute` is given is cut from the graph, so `grad` has to use the `inputs` kept here.
    """

    def __call__(self, *inputs):
        self.inputs = inputs
        return super().__call__(*inputs)


# Convolutions: each of the three is linear in both operands, and their gradients are each other --


class Convolution(Operator):
    """x [N, I, H, W], weight → [N, O, H', W']; `wformat` "oihw" or "iohw" says how weight lies."""

    def __init__(self, stride, padding, wformat="oihw"):
        self.stride, self.padding, self.wformat = stride, padding, wformat

    def same(self):
        return self.stride, self.padding, self.wformat

    def geometry(self):
        return (self.stride, self.stride, self.padding, self.padding, 1, 1, 1,
                "abcd", self.wformat, "abcd")

    def execute(self, x, weight):
        return ops.mkl_conv(x, weight, *self.geometry())

    def grad(self, dy):
        x, weight = self.inputs
        return (ConvolutionBackwardX(*self.same(), x.shape[2:])(weight, dy),
                ConvolutionBackwardW(*self.same(), weight.shape[2:])(x, dy))


class ConvolutionBackwardX(Convolution):
    """weight, dy → dx: the gradient of Convolution with respect to x, [N, I, *extent]."""

    def __init__(self, stride, padding, wformat, extent):
        super().__init__(stride, padding, wformat)
        self.extent = tuple(extent)

    def execute(self, weight, dy):
        return ops.mkl_conv_backward_x(weight, dy, *self.extent, *self.geometry())

    def grad(self, g):
        weight, dy = self.inputs
        return (ConvolutionBackwardW(*self.same(), weight.shape[2:])(g, dy),
                Convolution(*self.same())(g, weight))


class ConvolutionBackwardW(Convolution):
    """x, dy → dweight: the gradient of Convolution with respect to the weight."""

    def __init__(self, stride, padding, wformat, kernel):
        super().__init__(stride, padding, wformat)
        self.kernel = tuple(kernel)

    def execute(self, x, dy):
        return ops.mkl_conv_backward_w(x, dy, *self.kernel, *self.geometry())

    def grad(self, g):
        x, dy = self.inputs
        return (ConvolutionBackwardX(*self.same(), x.shape[2:])(g, dy),
                Convolution(*self.same())(x, g))


def conv2d(x, weight, stride=1, padding=0):
    """x [N, I, H, W], weight [O, I, K, K] → [N, O, H', W'], zero padded."""
    if on_cpu():
        return Convolution(stride, padding)(x, weight)
    return jt.nn.conv2d(x, weight, stride=stride, padding=padding)


def conv_transpose2d(x, weight, stride, padding):
    """x [N, I, H, W], weight [O, I, K, K] → [N, O, stride · H, stride · W].

    The adjoint of a strided convolution; K = stride + 2 · padding.
    """
    if on_cpu():
        extent = (x.shape[2] * stride, x.shape[3] * stride)
        return ConvolutionBackwardX(stride, padding, "iohw", extent)(weight, x)
    return jt.nn.conv_transpose2d(x, weight.transpose(1, 0, 2, 3), stride=stride, padding=padding)


class Product(Operator):
    """a, b → op(a) · op(b), both matrices, op transposes where asked."""

    def __init__(self, transpose_a=False, transpose_b=False):
        self.transpose_a, self.transpose_b = transpose_a, transpose_b

    def execute(self, a, b):
        return ops.mkl_matmul(a, b, self.transpose_a, self.transpose_b)

    def grad(self, g):
        (a, b), ta, tb = self.inputs, self.transpose_a, self.transpose_b
        da = Product(tb, True)(b, g) if ta else Product(False, not tb)(g, b)
        db = Product(True, ta)(g, a) if tb else Product(not ta, False)(a, g)
        return da, db


def matmul(a, b, transpose_b=False):
    """[N, K] · [K, M] → [N, M]; b is [M, K] with transpose_b."""
    if on_cpu():
        return Product(False, transpose_b)(a, b)
    return jt.nn.matmul_transpose(a, b) if transpose_b else jt.nn.matmul(a, b)


# The low-pass filter ------------------------------------------------------------------------------

BLUR = """
const int H = in0_shape2, W = in0_shape3;
const int64 planes = (int64)in0_shape0 * in0_shape1;
#pragma omp parallel
{
    std::vector<float> column(W + 2, 0.f), zeros(W, 0.f);
    #pragma omp for
    for (int64 plane = 0; plane < planes; plane++) {
        const float* __restrict__ source = in0_p + plane * H * W;
        float* __restrict__ target = out0_p + plane * H * W;
        for (int row = 0; row < H; row++) {
            const float* here = source + row * W;
            const float* above = row > 0 ? here - W : zeros.data();
            const float* below = row < H - 1 ? here + W : zeros.data();
            float* __restrict__ sum = column.data() + 1;
            for (int i = 0; i < W; i++) sum[i] = above[i] + 2 * here[i] + below[i];
            for (int i = 0; i < W; i++)
                target[row * W + i] = (sum[i - 1] + 2 * sum[i] + sum[i + 1]) * (1.f / 16);
        }
    }
}
"""


class Blur(Operator):
    """Zero-padded symmetric filter: its own adjoint, so its gradient is the filter again."""

    def execute(self, x):
        return jt.code(x.shape, x.dtype, [x], cpu_header="#include <vector>", cpu_src=BLUR)

    def grad(self, dy):
        return Blur.apply(dy)


def blur(x):
    """[1, 2, 1] ⊗ [1, 2, 1] / 16 on each channel by itself: [N, C, H, W] → [N, C, H, W].

    Zeros outside the image, so borders darken, as in the official network (Karras et al. 2018,
    section 2).
    """
    if on_cpu():
        return Blur.apply(x)
    n, c, h, w = x.shape
    kernel = jt.array(np.outer([1, 2, 1], [1, 2, 1]).astype("float32").reshape(1, 1, 3, 3) / 16)
    return jt.nn.conv2d(x.reshape(n * c, 1, h, w), kernel, padding=1).reshape(n, c, h, w)


# Bias and leaky ReLU ------------------------------------------------------------------------------

BIAS_LEAKY_RELU = """
const int64 channels = in1_shape0, planes = (int64)in0_shape0 * channels;
const int64 area = out0->num / planes;
#pragma omp parallel for
for (int64 plane = 0; plane < planes; plane++) {
    const float bias = in1_p[plane % channels];
    const float* __restrict__ x = in0_p + plane * area;
    float* __restrict__ y = out0_p + plane * area;
    for (int64 i = 0; i < area; i++) {
        const float value = x[i] + bias;
        y[i] = value > 0 ? value : value * 0.2f;
    }
}
"""

SLOPE = """
#pragma omp parallel for
for (int64 i = 0; i < out0->num; i++)
    out0_p[i] = in1_p[i] > 0 ? in0_p[i] : in0_p[i] * 0.2f;
"""


class Slope(Operator):
    """dy, y → dy where y > 0, else 0.2 dy. Linear in dy, constant in y: its own gradient."""

    def execute(self, dy, y):
        return jt.code(dy.shape, dy.dtype, [dy, y], cpu_src=SLOPE)

    def grad(self, g):
        return Slope.apply(g, self.inputs[1]), None


class BiasLeakyRelu(Operator):
    def execute(self, x, bias):
        self.y = jt.code(x.shape, x.dtype, [x, bias], cpu_src=BIAS_LEAKY_RELU)
        return self.y

    def grad(self, dy):
        dx = Slope.apply(dy, self.y.detach())
        return dx, dx.sum([i for i in range(dx.ndim) if i != 1])


def bias_leaky_relu(x, bias):
    """leaky_relu(x + bias), slope 0.2 and no gain (the √2 is in the weights).

    x [N, C, H, W] or [N, C], bias [C].
    """
    if on_cpu():
        return BiasLeakyRelu.apply(x, bias)
    return jt.nn.leaky_relu(add_bias(x, bias), 0.2)


def add_bias(x, bias):
    return x + bias.broadcast(x.shape, [i for i in range(x.ndim) if i != 1])


# Numbers that are none ----------------------------------------------------------------------------

FINITE = """
int bad = 0;
{checks}
out0_p[0] = bad ? 0.f : 1.f;
"""

FINITE_CHECK = """
#pragma omp parallel for simd reduction(|: bad) if (in{i}->num > 65536)
for (int64 i = 0; i < in{i}->num; i++)
    bad |= (((const uint32_t*)in{i}_p)[i] & 0x7f800000u) == 0x7f800000u;
"""


def all_finite(arrays):
    """Var [1]: 1 where every number in the float32 Vars `arrays` is finite, else 0.

    By their bits: Jittor compiles with -Ofast, which lets the compiler take for granted that
    there are neither infinities nor NaNs, and drop every test for them.
    """
    if on_cpu():
        checks = "".join(FINITE_CHECK.format(i=i) for i in range(len(arrays)))
        return jt.code([1], "float32", arrays, cpu_header="#include <cstdint>",
                       cpu_src=FINITE.format(checks=checks))
    return jt.isfinite(sum(x.sum() for x in arrays)).float32().reshape(1)
