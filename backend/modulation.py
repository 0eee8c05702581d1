"""What StyleGAN2's generator does between its convolutions, differentiable twice, for its path
length penalty.

Karras et al. 2019, "Analyzing and Improving the Image Quality of StyleGAN", sections 2.2 and 3.2.
As in fused.py, these are loops of our own for the CPU and kernels of our own for CUDA
(modulation_cuda.py); elsewhere, and for the tests to compare with, Jittor's operators.
"""
from backend import jt, modulation_cuda
from backend.fused import code, own
from backend.kernels import Operator

SQRT2 = 2 ** 0.5
# What a plane of [N, C, H, W] is and how large.
PLANES = """
const int C = in0_shape1;
const int64 planes = (int64)in0_shape0 * C, area = (int64)in0_shape2 * in0_shape3;
"""


def loop(name, outputs, inputs, constants=""):
    """The loop of this name, on float32 arrays: `outputs` is a list of shapes; a list of Vars."""
    return code(PLANES + globals()[name], getattr(modulation_cuda, name), outputs, inputs,
                constants)


# Channels scaled by the style, for each picture its own -------------------------------------------

SCALE = """
stylegan::share_items(planes, area * 0.2, [&](int64 plane) {
    const float scale = in1_p[plane];
    const float* __restrict__ x = in0_p + plane * area;
    float* __restrict__ y = out0_p + plane * area;
    for (int64 i = 0; i < area; i++) y[i] = x[i] * scale;
});
"""

# Inputs dy, x, scale.
SCALE_GRADIENT = """
stylegan::share_items(planes, area * 0.3, [&](int64 plane) {
    const float scale = in2_p[plane];
    const float *__restrict__ dy = in0_p + plane * area, *__restrict__ x = in1_p + plane * area;
    float* __restrict__ dx = out0_p + plane * area;
    float sum = 0;
    for (int64 i = 0; i < area; i++) {
        dx[i] = dy[i] * scale;
        sum += dy[i] * x[i];
    }
    out1_p[plane] = sum;
});
"""


class Scale(Operator):
    def compute(self, x, scale):
        return loop("SCALE", [x.shape], [x, scale])[0]

    def grad(self, dy):
        return ScaleGradient()(dy, *self.inputs)


class ScaleGradient(Operator):
    """dy, x, scale → dy · scale; and the sums of dy · x over each plane, [N, C]."""

    def compute(self, dy, x, scale):
        return tuple(loop("SCALE_GRADIENT", [x.shape, x.shape[:2]], [dy, x, scale]))

    def grad(self, g, g_sum):
        dy, x, scale = self.inputs
        d_dy = d_x = d_scale = None
        if g is not None:
            d_dy, d_scale = ScaleGradient()(g, dy, scale)
        if g_sum is not None:
            more, d_x = Scale()(x, g_sum), Scale()(dy, g_sum)
            d_dy = more if d_dy is None else d_dy + more
        return d_dy, d_x, d_scale


def scale_planes(x, scale):
    """x · scale: x [N, C, H, W], scale [N, C]."""
    if own():
        return Scale()(x, scale)
    return x * scale.broadcast(x.shape, [2, 3])


# What follows a convolution -----------------------------------------------------------------------

# Inputs x, scale, noise, strength, bias.
EPILOGUE = """
stylegan::share_items(planes, area * 0.4, [&](int64 plane) {
    const int64 n = plane / C, c = plane % C;
    const float scale = in1_p[plane], strength = in3_p[0], bias = in4_p[c];
    const float* __restrict__ x = in0_p + plane * area;
    const float* __restrict__ noise = in2_p + (in2_shape0 == 1 ? 0 : n * area);
    float* __restrict__ y = out0_p + plane * area;
    for (int64 i = 0; i < area; i++) {
        const float a = x[i] * scale + strength * noise[i] + bias;
        y[i] = std::min(std::max((a > 0 ? a : 0.2f * a) * GAIN, -CLAMP), CLAMP);
    }
});
"""

SLOPE = """
const auto slope = [](float y) { return std::abs(y) < CLAMP ? (y > 0 ? GAIN : 0.2f * GAIN) : 0; };
"""

# Inputs dy, x, scale, noise, y.
EPILOGUE_GRADIENT = SLOPE + """
stylegan::share_items(planes, area * 0.6, [&](int64 plane) {
    const float scale = in2_p[plane];
    const float *__restrict__ dy = in0_p + plane * area, *__restrict__ x = in1_p + plane * area;
    const float* __restrict__ noise = in3_p + (in3_shape0 == 1 ? 0 : plane / C * area);
    const float* __restrict__ y = in4_p + plane * area;
    float* __restrict__ dx = out0_p + plane * area;
    float d_scale = 0, d_strength = 0, d_bias = 0;
    for (int64 i = 0; i < area; i++) {
        const float g = dy[i] * slope(y[i]);
        dx[i] = g * scale;
        d_scale += g * x[i];
        d_strength += g * noise[i];
        d_bias += g;
    }
    out1_p[plane] = d_scale;
    out2_p[plane] = d_strength;
    out3_p[plane] = d_bias;
});
"""

# Inputs u, dy, x, scale, noise, y, and v, s, b [N, C]: u · dx + v · d_scale + s · d_strength +
# b · d_bias of the loop before, differentiated.
EPILOGUE_SECOND = SLOPE + """
stylegan::share_items(planes, area * 0.8, [&](int64 plane) {
    const float *__restrict__ u = in0_p + plane * area, *__restrict__ dy = in1_p + plane * area;
    const float *__restrict__ x = in2_p + plane * area, scale = in3_p[plane];
    const float* __restrict__ noise = in4_p + (in4_shape0 == 1 ? 0 : plane / C * area);
    const float* __restrict__ y = in5_p + plane * area;
    const float v = in6_p[plane], s = in7_p[plane], b = in8_p[plane];
    float *__restrict__ d_dy = out0_p + plane * area, *__restrict__ dx = out1_p + plane * area;
    float d_scale = 0;
    for (int64 i = 0; i < area; i++) {
        const float g = dy[i] * slope(y[i]);
        d_dy[i] = (u[i] * scale + v * x[i] + s * noise[i] + b) * slope(y[i]);
        dx[i] = g * v;
        d_scale += g * u[i];
    }
    out2_p[plane] = d_scale;
});
"""


class Epilogue(Operator):
    def __init__(self, gain, clamp):
        self.constants = (f"constexpr float GAIN = {gain!r}f, CLAMP = "
                          f"{repr(float(clamp)) + 'f' if clamp else 'INFINITY'};")

    def compute(self, x, scale, noise, strength, bias):
        self.y = loop("EPILOGUE", [x.shape], [x, scale, noise, strength, bias], self.constants)[0]
        return self.y

    def grad(self, dy):
        x, scale, noise, _, _ = self.inputs
        dx, d_scale, d_strength, d_bias = EpilogueGradient(self.constants)(
            dy, x, scale, noise, self.y.detach())
        return dx, d_scale, None, d_strength.sum().reshape(1), d_bias.sum(0)


class EpilogueGradient(Operator):
    """Linear in dy, x and scale, constant in the slope; differentiable once more."""

    def __init__(self, constants):
        self.constants = constants

    def compute(self, dy, x, scale, noise, y):
        planes = x.shape[:2]
        return tuple(loop("EPILOGUE_GRADIENT", [x.shape, planes, planes, planes],
                          [dy, x, scale, noise, y], self.constants))

    def grad(self, u, *sums):
        inputs = [v.detach() for v in self.inputs]
        dy, planes = inputs[0], inputs[0].shape[:2]
        u = jt.zeros(dy.shape) if u is None else u
        sums = [jt.zeros(planes) if v is None else v for v in sums]
        d_dy, dx, d_scale = EpilogueSecond(self.constants)(u, *inputs, *sums)
        return d_dy, dx, d_scale, None, None


class EpilogueSecond(Operator):
    def __init__(self, constants):
        self.constants = constants

    def compute(self, u, dy, *others):
        return tuple(loop("EPILOGUE_SECOND", [dy.shape, dy.shape, dy.shape[:2]], [u, dy, *others],
                          self.constants))

    def grad(self, *_):
        raise NotImplementedError("backend/modulation.py: differentiable twice, not more often")


def epilogue(x, scale, noise, strength, bias, gain=SQRT2, clamp=0.0):
    """gain · leaky_relu(x · scale + strength · noise + bias), slope 0.2, limited to ± clamp.

    x [N, C, H, W], scale [N, C], noise [N or 1, 1, H, W], strength [1], bias [C]; clamp 0: no
    limit. Returns [N, C, H, W].
    """
    if own():
        if not noise.is_stop_grad():            # then what x gets is also what noise gets
            x, scale = scale_planes(x, scale), jt.ones(scale.shape)
            x = x + noise * strength
            noise = jt.zeros(noise.shape).stop_grad()
        return Epilogue(gain, clamp)(x, scale, noise, strength, bias)
    x = scale_planes(x, scale) + noise * strength
    x = jt.nn.leaky_relu(x + bias.broadcast(x.shape, [0, 2, 3]), 0.2) * gain
    return limited(x, clamp)


def limited(x, clamp):
    """x within ± clamp; 0: as it is."""
    return jt.minimum(jt.maximum(x, -clamp), clamp) if clamp else x
