"""The loops of fused.py and epilogue.py as CUDA kernels: the same inputs and outputs, under the
same names.

A plane, one channel of one picture, belongs to as many threads as suit its size, so that what is
summed over a plane needs no second kernel and no atomic addition, whose order would not repeat.
"""

# A kernel that does not start says so only where it is asked.
STARTED = """
#include <cuda_runtime.h>
#include <stdexcept>

static inline void check_started() {
    const cudaError_t error = cudaGetLastError();
    if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}
"""

COMMON = STARTED + """
// Without it the compiler may give a thread more registers than a whole block of them can have, and
// the kernel does not start.
#define BOUNDED __launch_bounds__(THREADS > 256 ? THREADS : 256)

namespace {
__device__ inline float leaky_relu(float x) { return x > 0 ? x : 0.2f * x; }

// The sum over the THREADS that have a plane together; each of them gets it.
template <int THREADS> __device__ inline float sum_over(float x) {
    for (int step = (THREADS < 32 ? THREADS : 32) / 2; step; step /= 2)
        x += __shfl_xor_sync(0xffffffff, x, step);
    if (THREADS <= 32) return x;
    __shared__ float parts[32];
    __syncthreads();                                    // an earlier sum may still be read
    if (threadIdx.x % 32 == 0) parts[threadIdx.x / 32] = x;
    __syncthreads();
    float sum = 0;
    for (int i = 0; i < THREADS / 32; i++) sum += parts[i];
    return sum;
}

// Threads of a block side by side, planes of a block, and which plane this thread works on. Beyond
// the last plane a thread does the same as another, and keeps it to itself.
struct Plane {
    int64_t at;
    bool mine;
    __device__ Plane(int64_t planes) {
        const int64_t wanted = (int64_t)blockIdx.x * blockDim.y + threadIdx.y;
        mine = wanted < planes;
        at = mine ? wanted : planes - 1;
    }
};
}
"""


def launch(kernel, threads, arguments):
    """C++ that runs kernel<threads…>(arguments) on all planes, a block on one or on several."""
    side = int(threads.split(",")[0])
    return (f"{{ const dim3 block({side}, {256 // side if side <= 32 else 1}); "
            f"const int grid = (planes + block.y - 1) / block.y; "
            f"{kernel}<{threads}><<<grid, block>>>({arguments}); "
            "check_started(); }")


def by_size(kernel, arguments, choices, measure="area"):
    """C++ that takes the first of `choices`, [(the largest measure, threads)], that fits."""
    return " else ".join(
        (f"if ({measure} <= {limit}) " if limit else "") + launch(kernel, threads, arguments)
        for limit, threads in choices)


PLANES = """
    const int C = in0_shape1;
    const int64 planes = (int64)in0_shape0 * C;
    const int area = in0->num / planes;
"""
LOOPS = [(16, "16"), (1024, "32"), (None, "256")]

BIAS_LEAKY_RELU = (COMMON + """
template <int THREADS> __global__ void BOUNDED bias_leaky_relu(
        const float* __restrict__ x, const float* __restrict__ bias, float* __restrict__ y,
        int64_t planes, int C, int area) {
    const Plane plane(planes);
    if (!plane.mine) return;
    const float b = bias[plane.at % C];
    for (int i = threadIdx.x; i < area; i += THREADS)
        y[plane.at * area + i] = leaky_relu(x[plane.at * area + i] + b);
}
""", PLANES + by_size("bias_leaky_relu", "in0_p, in1_p, out0_p, planes, C, area", LOOPS))

SLOPE = (COMMON + """
template <int THREADS> __global__ void BOUNDED slope(
        const float* __restrict__ dy, const float* __restrict__ y, float* __restrict__ dx,
        float* __restrict__ sums, int64_t planes, int area) {
    const Plane plane(planes);
    float sum = 0;
    for (int i = threadIdx.x; i < area; i += THREADS) {
        const int64_t at = plane.at * area + i;
        const float d = y[at] > 0 ? dy[at] : 0.2f * dy[at];
        if (plane.mine) dx[at] = d;
        sum += d;
    }
    sum = sum_over<THREADS>(sum);
    if (threadIdx.x == 0 && plane.mine) sums[plane.at] = sum;
}
""", PLANES + by_size("slope", "in0_p, in1_p, out0_p, out1_p, planes, area", LOOPS))

PLANE_SUMS = (COMMON + """
template <int THREADS> __global__ void BOUNDED plane_sums(
        const float* __restrict__ x, float* __restrict__ sums, int64_t planes, int area) {
    const Plane plane(planes);
    float sum = 0;
    for (int i = threadIdx.x; i < area; i += THREADS) sum += x[plane.at * area + i];
    sum = sum_over<THREADS>(sum);
    if (threadIdx.x == 0 && plane.mine) sums[plane.at] = sum;
}
""", PLANES + by_size("plane_sums", "in0_p, out0_p, planes, area", LOOPS))


LAYERS = STARTED + """
struct Layers {
    float* at[MOST];
};
__global__ void NAME(float* whole, Layers layers, int64_t count, int depth, int width) {
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    float& part = layers.at[i / width % depth][i / width / depth * width + i % width];
    ASSIGN;
}
"""


def layers_of(name, assign, whole, part, depth):
    parts = ", ".join(f"{part}{i}_p" for i in range(depth))
    header = LAYERS.replace("MOST", str(depth)).replace("NAME", name).replace("ASSIGN", assign)
    return header, f"""
    const Layers layers = {{{{{parts}}}}};
    const int64_t count = {whole}->num, width = {whole}_shape2, grid = (count + 255) / 256;
    {name}<<<grid, 256>>>({whole}_p, layers, count, {depth}, width);
    check_started();
"""


# Weights [O, I, 3, 3] and kernels of 4×4, the sum of their four shifts; FLIP turns the former, and
# with TRANSPOSED the latter lie [I, O, 4, 4].
SHIFTS = STARTED + """
__global__ void NAME(const float* __restrict__ from, float* __restrict__ to, int outputs,
                     int inputs, float scale) {
    const int i = blockIdx.x * blockDim.x + threadIdx.x;
    const int pair = i / AREA, row = i % AREA / SIDE, column = i % SIDE;
    if (pair >= outputs * inputs) return;
    // The same pair of channels in the other array.
    const int other = !TRANSPOSED ? pair : GATHER ? pair % inputs * outputs + pair / inputs
                                                  : pair % outputs * inputs + pair / outputs;
    float sum = 0;
    for (int dy = 0; dy < 2; dy++)
        for (int dx = 0; dx < 2; dx++) {
            if (GATHER) {
                const int y = FLIP ? 2 - row : row, x = FLIP ? 2 - column : column;
                sum += from[other * 16 + (y + dy) * 4 + x + dx];
            } else {
                const int y = row - dy, x = column - dx;
                if (y >= 0 && y < 3 && x >= 0 && x < 3)
                    sum += from[other * 9 + (FLIP ? 8 - y * 3 - x : y * 3 + x)];
            }
        }
    to[i] = sum * scale;
}
"""


def shifts(name, side, gather, weight):
    text = SHIFTS
    for word, by in (("NAME", name), ("AREA", side ** 2), ("SIDE", side), ("GATHER", gather)):
        text = text.replace(word, str(by))
    return text, f"""
    const int outputs = {weight}_shape0, inputs = {weight}_shape1, block = 256;
    const int grid = (out0->num + 255) / 256;
    {name}<<<grid, block>>>(in0_p, out0_p, outputs, inputs, data["scale"]);
    check_started();
"""


SPREAD = shifts("spread", 4, 0, "in0")
GATHER = shifts("gather", 3, 1, "out0")


def SPLIT(depth):
    return layers_of("split", "part = whole[i]", "in0", "out", depth)


def STACK(depth):
    return layers_of("stack", "whole[i] = part", "out0", "in", depth)


# [1, 2, 1] in both directions, zeros outside, of what VALUE makes of a plane: a thread's task is
# four rows of one column. STORE is done with each result, END by each thread.
BLURRING = """
template <int THREADS> __global__ void BOUNDED NAME(
        ARGUMENTS, int64_t planes, int C, int H, int W) {
    const Plane plane(planes);
    const int64_t base = plane.at * H * W;
    BEGIN
    for (int task = threadIdx.x; task < (H + 3) / 4 * W; task += THREADS) {
        const int column = task % W, row = task / W * 4;
        float sums[6];
        #pragma unroll
        for (int k = 0; k < 6; k++) {
            const int r = row + k - 1;
            sums[k] = 0;
            if (r >= 0 && r < H) {
                const int64_t i = base + r * W + column;
                sums[k] = 2 * VALUE(i);
                if (column > 0) sums[k] += VALUE(i - 1);
                if (column + 1 < W) sums[k] += VALUE(i + 1);
            }
        }
        #pragma unroll
        for (int k = 0; k < 4; k++) {
            if (row + k < H) {
                const int64_t i = base + (row + k) * W + column;
                const float blurred = (sums[k] + 2 * sums[k + 1] + sums[k + 2]) * 0.0625f;
                STORE
            }
        }
    }
    END
}
"""
BLUR_SIZES = [(16, "16"), (256, "32"), (None, "256")]


def blurring(name, inputs, value, outputs="out", begin="", end="",
             store="if (plane.mine) out[i] = blurred;"):
    arrays = [f"const float* __restrict__ {array}" for array in inputs.split()] + [
        f"float* __restrict__ {array}" for array in outputs.split()]
    text = BLURRING
    for word, by in (("NAME", name), ("ARGUMENTS", ", ".join(arrays)), ("BEGIN", begin),
                     ("STORE", store), ("END", end)):
        text = text.replace(word, by)
    given = ", ".join([f"in{i}_p" for i in range(len(inputs.split()))] +
                      [f"out{i}_p" for i in range(len(outputs.split()))] + ["planes, C, H, W"])
    return (f"{COMMON}\n#define VALUE(i) ({value})\n{text}", PLANES + """
    const int H = in0_shape2, W = in0_shape3;
    const int tasks = (H + 3) / 4 * W;
""" + by_size(name, given, BLUR_SIZES, "tasks"))


BIAS = "const float b = bias[plane.at % C];"
BLUR = blurring("blur", "x", "x[i]")
LEAKY_RELU_THEN_BLUR = blurring("leaky_relu_then_blur", "x bias", "leaky_relu(x[i] + b)",
                                begin=BIAS)
SLOPE_THEN_BLUR = blurring("slope_then_blur", "g x bias", "x[i] + b > 0 ? g[i] : 0.2f * g[i]",
                           begin=BIAS)
BLUR_THEN_SLOPE = blurring(
    "blur_then_slope", "g x bias", "g[i]", "dx sums_of", BIAS + " float sum = 0;", """
    sum = sum_over<THREADS>(sum);
    if (threadIdx.x == 0 && plane.mine) sums_of[plane.at] = sum;""", """
                const float d = x[i] + b > 0 ? blurred : 0.2f * blurred;
                if (plane.mine) dx[i] = d;
                sum += d;""")


# Each thread keeps ITEMS numbers of its plane in registers; 0: a plane is too large for that, and
# is read again. EPS and ONE are put in front.
KEPT = [(16, "16, 1"), (64, "32, 2"), (256, "32, 8"), (1024, "128, 8"), (4096, "256, 16"),
        (16384, "512, 32"), (None, "1024, 0")]

EPILOGUE = (COMMON + """
template <int THREADS, int ITEMS> __global__ void BOUNDED epilogue(
        const float* __restrict__ x, const float* __restrict__ noise,
        const float* __restrict__ strength, const float* __restrict__ bias,
        const float* __restrict__ style, float* __restrict__ y, float* __restrict__ means,
        float* __restrict__ over_deviations, int64_t planes, int C, int area, int noise_step) {
    const Plane plane(planes);
    const int64_t n = plane.at / C, c = plane.at % C;
    x += plane.at * area;
    y += plane.at * area;
    noise += n * noise_step;
    const float s = strength[c], b = bias[c];
    float kept[ITEMS ? ITEMS : 1], sum = 0, squares = 0;
    if (ITEMS) {
        #pragma unroll
        for (int k = 0; k < ITEMS; k++) {
            const int i = k * THREADS + threadIdx.x;
            if (i < area) sum += kept[k] = leaky_relu(x[i] + s * noise[i] + b);
        }
    } else {
        for (int i = threadIdx.x; i < area; i += THREADS)
            sum += leaky_relu(x[i] + s * noise[i] + b);
    }
    const float mean = sum_over<THREADS>(sum) / area;
    if (ITEMS) {
        #pragma unroll
        for (int k = 0; k < ITEMS; k++)
            if (k * THREADS + threadIdx.x < area) squares += (kept[k] - mean) * (kept[k] - mean);
    } else {
        for (int i = threadIdx.x; i < area; i += THREADS) {
            const float d = leaky_relu(x[i] + s * noise[i] + b) - mean;
            squares += d * d;
        }
    }
    const float over_deviation = 1 / sqrtf(sum_over<THREADS>(squares) / area + EPS);
    if (!plane.mine) return;
    const float scale = (style[n * 2 * C + c] + ONE) * over_deviation;
    const float shift = style[(n * 2 + 1) * C + c];
    if (ITEMS) {
        #pragma unroll
        for (int k = 0; k < ITEMS; k++) {
            const int i = k * THREADS + threadIdx.x;
            if (i < area) y[i] = (kept[k] - mean) * scale + shift;
        }
    } else {
        for (int i = threadIdx.x; i < area; i += THREADS)
            y[i] = (leaky_relu(x[i] + s * noise[i] + b) - mean) * scale + shift;
    }
    if (threadIdx.x == 0) {
        means[plane.at] = mean;
        over_deviations[plane.at] = over_deviation;
    }
}
""", PLANES + "const int step = in1_shape0 == 1 ? 0 : area;" + by_size(
    "epilogue", "in0_p, in1_p, in2_p, in3_p, in4_p, out0_p, out1_p, out2_p, planes, C, area, step",
    KEPT))

EPILOGUE_GRADIENT = (COMMON + """
template <int THREADS, int ITEMS> __global__ void BOUNDED epilogue_gradient(
        const float* __restrict__ dy, const float* __restrict__ x, const float* __restrict__ noise,
        const float* __restrict__ strength, const float* __restrict__ bias,
        const float* __restrict__ style, const float* __restrict__ means,
        const float* __restrict__ over_deviations, float* __restrict__ dx,
        float* __restrict__ d_strengths, float* __restrict__ d_biases, float* __restrict__ d_style,
        int64_t planes, int C, int area, int noise_step) {
    const Plane plane(planes);
    const int64_t n = plane.at / C, c = plane.at % C;
    dy += plane.at * area;
    x += plane.at * area;
    dx += plane.at * area;
    noise += n * noise_step;
    const float s = strength[c], b = bias[c];
    const float mean = means[plane.at], over_deviation = over_deviations[plane.at];
    // What the activation got, and dy.
    float before[ITEMS ? ITEMS : 1], given[ITEMS ? ITEMS : 1], sum = 0, product = 0;
    if (ITEMS) {
        #pragma unroll
        for (int k = 0; k < ITEMS; k++) {
            const int i = k * THREADS + threadIdx.x;
            if (i < area) {
                before[k] = x[i] + s * noise[i] + b;
                given[k] = dy[i];
                sum += given[k];
                product += given[k] * (leaky_relu(before[k]) - mean) * over_deviation;
            }
        }
    } else {
        for (int i = threadIdx.x; i < area; i += THREADS) {
            sum += dy[i];
            product += dy[i] * (leaky_relu(x[i] + s * noise[i] + b) - mean) * over_deviation;
        }
    }
    sum = sum_over<THREADS>(sum);
    product = sum_over<THREADS>(product);
    const float scale = (style[n * 2 * C + c] + ONE) * over_deviation;
    float d_strength = 0, d_bias = 0;
    #define STYLEGAN_BACK(i, a, dy) { \\
        const float normal = (leaky_relu(a) - mean) * over_deviation; \\
        float d = scale * (dy - sum / area - normal * (product / area)); \\
        d = a > 0 ? d : 0.2f * d; \\
        if (plane.mine) dx[i] = d; \\
        d_bias += d; \\
        d_strength += d * noise[i]; \\
    }
    if (ITEMS) {
        #pragma unroll
        for (int k = 0; k < ITEMS; k++) {
            const int i = k * THREADS + threadIdx.x;
            if (i < area) STYLEGAN_BACK(i, before[k], given[k])
        }
    } else {
        for (int i = threadIdx.x; i < area; i += THREADS) {
            const float a = x[i] + s * noise[i] + b, given = dy[i];
            STYLEGAN_BACK(i, a, given)
        }
    }
    d_strength = sum_over<THREADS>(d_strength);
    d_bias = sum_over<THREADS>(d_bias);
    if (threadIdx.x == 0 && plane.mine) {
        d_strengths[plane.at] = d_strength;
        d_biases[plane.at] = d_bias;
        d_style[n * 2 * C + c] = product;
        d_style[(n * 2 + 1) * C + c] = sum;
    }
}
""", PLANES.replace("in0_shape1", "in1_shape1") +
    "const int step = in2_shape0 == 1 ? 0 : area;" + by_size(
    "epilogue_gradient", "in0_p, in1_p, in2_p, in3_p, in4_p, in5_p, in6_p, in7_p, out0_p, out1_p, "
    "out2_p, out3_p, planes, C, area, step", KEPT))
