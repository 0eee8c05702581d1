"""The filter [1, 3, 3, 1] with which StyleGAN2 enlarges and halves feature maps and pictures.

Karras et al. 2019, "Analyzing and Improving the Image Quality of StyleGAN", section 2; the filter
of its code, outer([1, 3, 3, 1]) / 64.
"""
from backend import jt
from backend.fused import HEADER, cuda_code
from backend.fused_cuda import STARTED
from backend.kernels import Operator, on_cpu, on_gpu

TAPS = (1, 3, 3, 1)             # symmetric, so that convolving and correlating are one

# Each row is filtered into `between`; then columns of that. Between the pixels of a row are UP - 1
# zeros, and only every DOWN-th sum is kept.
LOOP = """
const int H = in0_shape2, W = in0_shape3, OH = out0_shape2, OW = out0_shape3;
const int64 planes = (int64)in0_shape0 * in0_shape1;
const int wide = (OW - 1) * DOWN + 1;
stylegan::share_range(planes, (H + OH) * 0.5 * OW, [&](int64 plane, int64 end) {
    float* row = scratch(0, std::max(wide + 3, W * UP + BEFORE) + 3);
    float* sums = scratch(1, wide);
    float* __restrict__ between = scratch(2, (int64)H * OW);
    for (; plane < end; plane++) {
        std::fill(row, row + std::max(wide + 3, W * UP + BEFORE) + 3, 0.0f);
        for (int y = 0; y < H; y++) {
            const float* __restrict__ from = in0_p + (plane * H + y) * W;
            for (int x = 0; x < W; x++) row[x * UP + BEFORE] = from[x];
            float* __restrict__ to = DOWN == 1 ? between + (int64)y * OW : sums;
            for (int x = 0; x < wide; x++)
                to[x] = row[x] + row[x + 3] + 3 * (row[x + 1] + row[x + 2]);
            if (DOWN > 1)
                for (int x = 0; x < OW; x++) between[(int64)y * OW + x] = sums[x * DOWN];
        }
        for (int y = 0; y < OH; y++) {
            float* __restrict__ to = out0_p + (plane * OH + y) * OW;
            for (int x = 0; x < OW; x++) to[x] = 0;
            for (int tap = 0; tap < 4; tap++) {
                const int at = y * DOWN + tap - BEFORE;
                if (at < 0 || at % UP || at / UP >= H) continue;
                const float weight = (tap == 0 || tap == 3 ? 1 : 3) * GAIN;
                const float* __restrict__ from = between + (int64)(at / UP) * OW;
                for (int x = 0; x < OW; x++) to[x] += weight * from[x];
            }
        }
    }
});
"""

# A thread makes one pixel, of those of its 4×4 that are no zeros between pixels.
KERNEL = (STARTED + """
__global__ void resample(const float* __restrict__ x, float* __restrict__ y, int64_t count,
                         int H, int W, int OH, int OW) {
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= count) return;
    const int column = i % OW * DOWN - BEFORE, row = i / OW % OH * DOWN - BEFORE;
    const float* plane = x + i / OW / OH * H * W;
    float sum = 0;
    #pragma unroll
    for (int dy = 0; dy < 4; dy++) {
        const int from_y = row + dy;
        if (from_y < 0 || from_y % UP || from_y / UP >= H) continue;
        float of_row = 0;
        #pragma unroll
        for (int dx = 0; dx < 4; dx++) {
            const int from_x = column + dx;
            if (from_x < 0 || from_x % UP || from_x / UP >= W) continue;
            of_row += (dx == 0 || dx == 3 ? 1 : 3) * plane[from_y / UP * W + from_x / UP];
        }
        sum += (dy == 0 || dy == 3 ? 1 : 3) * of_row;
    }
    y[i] = sum * GAIN;
}
""", """
    const int64_t count = out0->num, grid = (count + 255) / 256;
    resample<<<grid, 256>>>(in0_p, out0_p, count, in0_shape2, in0_shape3, out0_shape2, out0_shape3);
    check_started();
""")


class Resample(Operator):
    """[N, C, H, W] → [N, C, *extent]: `up` − 1 zeros after each pixel, `before` zeros in front and
    as many behind as are needed, the filter times `gain`, and of that every `down`-th pixel.

    Linear; the adjoint is another of the same kind.
    """

    keeps = ()

    def __init__(self, up, down, before, extent, gain):
        self.up, self.down, self.before, self.extent = up, down, before, tuple(extent)
        self.gain = gain

    def compute(self, x):
        self.sides = x.shape[2:]
        shape = [*x.shape[:2], *self.extent]
        constants = (f"constexpr int UP = {self.up}, DOWN = {self.down}, BEFORE = {self.before}; "
                     f"constexpr float GAIN = {self.gain / 64!r}f;")
        if on_gpu():
            return cuda_code(KERNEL, [shape], [x], constants)[0]
        if on_cpu():
            return jt.code(shape, "float32", [x], cpu_header=HEADER, cpu_src=constants + LOOP)
        for axis in 2, 3:
            x = self.along(x, axis)
        return x * (self.gain / 64)

    def along(self, x, axis):
        shape, total = list(x.shape), 0
        shape[axis] = self.extent[axis - 2]
        for i, weight in enumerate(TAPS):
            index, at = [f"i{d}" for d in range(4)], f"(i{axis}*{self.down}+{i}-{self.before})"
            index[axis] = f"{at}/{self.up}"
            total = total + x.reindex(
                shape, index, overflow_conditions=[f"{at}%{self.up}!=0"]) * weight
        return total

    def grad(self, dy):
        return Resample(self.down, self.up, 3 - self.before, self.sides, self.gain)(dy)


def smooth(x, padding, gain=1.0):
    """The filter, after `padding` zeros all round: sides become side + 2 · padding − 3."""
    return Resample(1, 1, padding, [side + 2 * padding - 3 for side in x.shape[2:]], gain)(x)


def enlarge(x):
    """×2: [N, C, H, W] → [N, C, 2H, 2W], a constant inside stays what it is."""
    return Resample(2, 1, 2, [2 * side for side in x.shape[2:]], 4.0)(x)


def halve(x):
    """[N, C, 2H, 2W] → [N, C, H, W], a constant inside stays what it is."""
    return Resample(1, 2, 1, [side // 2 for side in x.shape[2:]], 1.0)(x)
