"""The loops of modulation.py as CUDA kernels: the same inputs and outputs, under the same names."""
from backend.fused_cuda import COMMON, LOOPS, PLANES, by_size

# The threads that have a plane share its pixels, `at` among all: EACH is done with each of them.
KERNEL = """
template <int THREADS> __global__ void BOUNDED NAME(
        ARGUMENTS, int64_t planes, int C, int area, int noise_step) {
    const Plane plane(planes);
    const int64_t n = plane.at / C, c = plane.at % C;
    BEGIN
    for (int i = plane.mine ? threadIdx.x : area; i < area; i += THREADS) {
        const int64_t at = plane.at * area + i, of_noise = n * noise_step + i;
        EACH
    }
    END
}
"""


def by_plane(name, inputs, outputs, begin, each, sums=""):
    """(header, source). The `sums` over a plane, [N, C] each, are further outputs."""
    stored = [f"{sum_}_of" for sum_ in sums.split()]
    inputs, outputs = inputs.split(), outputs.split() + stored
    text = KERNEL
    for word, by in (
            ("NAME", name), ("EACH", each),
            ("ARGUMENTS", ", ".join([f"const float* __restrict__ {array}" for array in inputs] +
                                    [f"float* __restrict__ {array}" for array in outputs])),
            ("BEGIN", begin + "".join(f" float {sum_} = 0;" for sum_ in sums.split())),
            ("END", "\n    ".join(f"{sum_} = sum_over<THREADS>({sum_}); if (threadIdx.x == 0 && "
                                  f"plane.mine) {sum_}_of[plane.at] = {sum_};"
                                  for sum_ in sums.split()))):
        text = text.replace(word, by)
    given = [f"in{i}_p" for i in range(len(inputs))] + [f"out{i}_p" for i in range(len(outputs))]
    step = f"in{inputs.index('noise')}_shape0 == 1 ? 0 : area" if "noise" in inputs else "0"
    return COMMON + text, PLANES + f"const int step = {step};" + by_size(
        name, ", ".join([*given, "planes, C, area, step"]), LOOPS)


OF_PLANE = "const float factor = scale[plane.at];"
SCALE = by_plane("scale_planes", "x scale", "y", OF_PLANE, "y[at] = x[at] * factor;")
SCALE_GRADIENT = by_plane("scale_gradient", "dy x scale", "dx", OF_PLANE, """
        dx[at] = dy[at] * factor;
        sum += dy[at] * x[at];""", "sum")

EPILOGUE = by_plane("modulated_epilogue", "x scale noise strength bias", "y",
                    OF_PLANE + " const float s = strength[0], b = bias[c];", """
        const float a = x[at] * factor + s * noise[of_noise] + b;
        const float wanted = (a > 0 ? a : 0.2f * a) * GAIN;
        y[at] = wanted < -CLAMP ? -CLAMP : wanted > CLAMP ? CLAMP : wanted;""")   # NaN stays NaN

SLOPE = """
        const float slope = fabsf(y[at]) < CLAMP ? (y[at] > 0 ? GAIN : 0.2f * GAIN) : 0;
        const float g = dy[at] * slope;"""
EPILOGUE_GRADIENT = by_plane(
    "modulated_gradient", "dy x scale noise y", "dx", OF_PLANE, SLOPE + """
        dx[at] = g * factor;
        d_scale += g * x[at];
        d_strength += g * noise[of_noise];
        d_bias += g;""", "d_scale d_strength d_bias")
EPILOGUE_SECOND = by_plane(
    "modulated_second", "u dy x scale noise y v s b", "d_dy dx", OF_PLANE +
    " const float v_ = v[plane.at], s_ = s[plane.at], b_ = b[plane.at];", SLOPE + """
        d_dy[at] = (u[at] * factor + v_ * x[at] + s_ * noise[of_noise] + b_) * slope;
        dx[at] = g * v_;
        d_scale += g * u[at];""", "d_scale")
