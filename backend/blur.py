"""The low-pass filter of StyleGAN, [1, 2, 1] ⊗ [1, 2, 1] / 16, as one operator.

Jittor runs a depthwise convolution on the CPU as seven nested loops; this is one pass over memory.
"""
import numpy as np

from backend import jt

CPU_SOURCE = """
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


class Blur(jt.Function):
    """Zero-padded symmetric filter: its own adjoint, so its gradient is the filter again."""

    def execute(self, x):
        return jt.code(x.shape, x.dtype, [x], cpu_header="#include <vector>", cpu_src=CPU_SOURCE)

    def grad(self, dy):
        return Blur.apply(dy)


def blur(x):
    """[N, C, H, W] → [N, C, H, W], each channel filtered by itself, zeros outside the image.

    Borders therefore darken, as in the official network (Karras et al. 2018, section 2).
    """
    if not jt.flags.use_cuda:
        return Blur.apply(x)
    n, c, h, w = x.shape
    kernel = jt.array(np.outer([1, 2, 1], [1, 2, 1]).astype("float32") / 16)
    return jt.nn.conv2d(x.reshape(n * c, 1, h, w), kernel.reshape(1, 1, 3, 3),
                        padding=1).reshape(n, c, h, w)
