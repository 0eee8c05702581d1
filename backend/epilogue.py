"""What follows a generator's convolution in StyleGAN1, in as few passes over memory as it needs."""
from backend import fused_cuda, jt
from backend.fused import bias_leaky_relu, blur, code, own
from backend.kernels import Operator, on_cpu

# Inputs x, noise, strength, bias, style; EPS, ONE and BLURRED are put in front.
EPILOGUE = """
const int C = in0_shape1, H = in0_shape2, W = in0_shape3;
const int64 planes = (int64)in0_shape0 * C, area = (int64)H * W;
stylegan::share_range(planes, area * 2.0, [&](int64 plane, int64 end) {
    float *sums = scratch(0, blur_room(W)), *blurred = scratch(1, BLURRED ? area : 0);
    for (; plane < end; plane++) {
        const int64 n = plane / C, c = plane % C;
        const float* x = in0_p + plane * area;
        if (BLURRED) {
            blur_plane(x, blurred, sums, H, W);
            x = blurred;
        }
        const float* __restrict__ noise = in1_p + (in1_shape0 == 1 ? 0 : n * area);
        const float strength = in2_p[c], bias = in3_p[c];
        float* __restrict__ y = out0_p + plane * area;
        float sum = 0, squares = 0;
        for (int64 i = 0; i < area; i++) {
            y[i] = leaky_relu(x[i] + strength * noise[i] + bias);
            sum += y[i];
        }
        const float mean = sum / area;
        for (int64 i = 0; i < area; i++) squares += (y[i] - mean) * (y[i] - mean);
        const float over_deviation = 1 / std::sqrt(squares / area + EPS);
        const float scale = (in4_p[n * 2 * C + c] + ONE) * over_deviation;
        const float shift = in4_p[(n * 2 + 1) * C + c];
        for (int64 i = 0; i < area; i++) y[i] = (y[i] - mean) * scale + shift;
        out1_p[plane] = mean;
        out2_p[plane] = over_deviation;
    }
});
"""

# Inputs dy, x, noise, strength, bias, style, mean, over_deviation.
EPILOGUE_GRADIENT = """
const int C = in1_shape1, H = in1_shape2, W = in1_shape3;
const int64 planes = (int64)in1_shape0 * C, area = (int64)H * W;
stylegan::share_range(planes, area * 3.0, [&](int64 plane, int64 end) {
    float *sums = scratch(0, blur_room(W)), *before = scratch(1, area);
    float* after = scratch(2, BLURRED ? area : 0);
    for (; plane < end; plane++) {
        const int64 n = plane / C, c = plane % C;
        const float* x = in1_p + plane * area;
        float* __restrict__ a = before;                      // what the activation gets
        if (BLURRED) {
            blur_plane(x, a, sums, H, W);
            x = a;
        }
        const float* __restrict__ dy = in0_p + plane * area;
        const float* __restrict__ noise = in2_p + (in2_shape0 == 1 ? 0 : n * area);
        const float strength = in3_p[c], bias = in4_p[c];
        const float mean = in6_p[plane], over_deviation = in7_p[plane];
        float sum = 0, product = 0;                                 // of dy; of dy and normal
        for (int64 i = 0; i < area; i++) {
            a[i] = x[i] + strength * noise[i] + bias;
            sum += dy[i];
            product += dy[i] * (leaky_relu(a[i]) - mean) * over_deviation;
        }
        out3_p[n * 2 * C + c] = product;
        out3_p[(n * 2 + 1) * C + c] = sum;
        const float scale = (in5_p[n * 2 * C + c] + ONE) * over_deviation;
        float* __restrict__ dx = BLURRED ? after : out0_p + plane * area;
        float d_strength = 0, d_bias = 0;
        for (int64 i = 0; i < area; i++) {
            const float normal = (leaky_relu(a[i]) - mean) * over_deviation;
            const float d = scale * (dy[i] - sum / area - normal * (product / area));
            dx[i] = a[i] > 0 ? d : d * 0.2f;
            d_bias += dx[i];
            d_strength += dx[i] * noise[i];
        }
        out1_p[plane] = d_strength;
        out2_p[plane] = d_bias;
        if (BLURRED) blur_plane(dx, out0_p + plane * area, sums, H, W);
    }
});
"""


class Epilogue(Operator):
    """See `epilogue`. Differentiable once: nothing in StyleGAN1 asks for more in the generator."""

    def __init__(self, one, eps, blurred):
        self.constants = (f"constexpr float EPS = {float(eps)}f, ONE = {float(one)}f; "
                          f"constexpr bool BLURRED = {int(blurred)};")

    def compute(self, x, noise, strength, bias, style):
        y, self.mean, self.over_deviation = code(
            EPILOGUE, fused_cuda.EPILOGUE, [x.shape, x.shape[:2], x.shape[:2]],
            [x, noise, strength, bias, style], self.constants)
        return y

    def grad(self, dy):
        x, noise, strength, bias, style = (v.detach() for v in self.inputs)
        dx, d_strength, d_bias, d_style = EpilogueGradient(self.constants)(
            dy, x, noise, strength, bias, style, self.mean, self.over_deviation)
        d_noise = None
        if not self.inputs[1].is_stop_grad():                   # then it is not blurred
            d_noise = (dx * strength.reshape(1, -1, 1, 1)).sum(1, keepdims=True)
            if noise.shape[0] == 1:
                d_noise = d_noise.sum(0, keepdims=True)
        return dx, d_noise, d_strength.sum(0), d_bias.sum(0), d_style


class EpilogueGradient(Operator):
    def __init__(self, constants):
        self.constants = constants

    def compute(self, dy, x, noise, strength, bias, style, mean, over_deviation):
        return tuple(code(
            EPILOGUE_GRADIENT, fused_cuda.EPILOGUE_GRADIENT,
            [x.shape, x.shape[:2], x.shape[:2], style.shape],
            [dy, x, noise, strength, bias, style, mean, over_deviation], self.constants))

    def grad(self, *_):
        raise NotImplementedError("backend/epilogue.py: the generator has no second derivatives")


def epilogue(x, noise, strength, bias, style, one=1, eps=1e-8, blurred=False):
    """Noise, bias, leaky ReLU, instance norm and style (AdaIN); where `blurred`, `blur` first.

    x [N, C, H, W], noise [N or 1, 1, H, W], strength [C], bias [C], style [N, 2C]: the scale of
    each channel less `one`, then the shift. Returns [N, C, H, W]. (Karras et al. 2018, figure 1b,
    equation 1; eps is added to the variance.)
    """
    if blurred and not (on_cpu() and noise.is_stop_grad()):
        x, blurred = blur(x), False
    if own():
        return Epilogue(one, eps, blurred)(x, noise, strength, bias, style)
    n, c = x.shape[:2]
    x = bias_leaky_relu(x + noise * strength.reshape(1, c, 1, 1), bias)
    x = x - x.mean([2, 3], keepdims=True)
    x = x * jt.rsqrt((x * x).mean([2, 3], keepdims=True) + eps)
    style = style.reshape(n, 2, c, 1, 1)
    return x * (style[:, 0] + one) + style[:, 1]
