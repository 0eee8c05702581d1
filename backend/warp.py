"""Pictures turned, moved, stretched and recoloured, with gradients of any order.

As in the code of Karras et al. 2020, "Training Generative Adversarial Networks with Limited Data":
reflected at its borders, a picture is enlarged ×2 with the filter of the wavelet sym6, sampled
bilinearly and halved with the same filter. Without a turn or a stretch that gives the picture back.
All of it is linear in the picture (but for the brightness, a constant), so that the gradient is the
same in the opposite direction, and can be differentiated again.
"""
import numpy as np

from backend import jt
from backend.fused import HEADER
from backend.kernels import Operator, on_cpu

# The scaling filter of the Daubechies wavelet sym6, its sum 1 (Daubechies 1992, table 6.3).
SYM6 = np.array([
    0.015404109327027373, 0.0034907120842174702, -0.11799011114819057, -0.048311742585633,
    0.4910559419267466, 0.787641141030194, 0.3379294217276218, -0.07263752278646252,
    -0.021060292512300564, 0.04472490177066578, 0.0017677118642428036,
    -0.007800708325034148]) / 2 ** 0.5
TAPS = len(SYM6)
EDGE = 3                        # pixels of a picture around what is sampled, for the filter
NUMBERS = 13                    # of a picture in `numbers`


class Placing:
    """Where the pixels of a batch of pictures come from, and what becomes of their colours.

    geometry: float64 [N, 3, 3], from a place in the new picture to one in the old one, in pixels
    from the centre, y down; colour: float64 [N, C, C + 1], the last column is added; size: of the
    pictures. The margin that is reflected at each border is one for the whole batch.
    """

    def __init__(self, geometry, colour, size):
        middle = (size - 1) / 2
        corners = middle * np.array([[-1, 1, 1, -1], [-1, -1, 1, 1]])
        x, y = (geometry[:, :2, :2] @ corners + geometry[:, :2, 2:]).transpose(1, 0, 2)
        reach = np.array([(-x).max(), (-y).max(), x.max(), y.max()]) + 2 * EDGE - middle
        # Rounding is not to decide about a pixel more.
        left, top, right, bottom = np.ceil(reach.clip(0, size - 1) - 1e-6).astype(int)
        self.size, self.margins = size, (int(left), int(top), int(right), int(bottom))
        self.colour = colour.astype("float32")
        unmoved = (geometry == np.eye(3)).all((1, 2))
        # Columns and rows of the grid that is sampled → those of the padded, enlarged picture.
        self.grid = 2 * (size + 2 * EDGE)
        matrices = geometry[:, :2].copy()
        matrices[:, 0, 2] += (left - right) / 2
        matrices[:, 1, 2] += (top - bottom) / 2
        matrices[:, :, 2] = 2 * matrices[:, :, 2] + matrices[:, :, :2].sum(2) / 2 - 0.5
        centre = np.array([size + left + right, size + top + bottom]) - 0.5
        matrices[:, :, 2] += centre - matrices[:, :, :2].sum(2) * (self.grid - 1) / 2
        # float32 [N, NUMBERS]: matrices, what is missing to them, whether it stays in its place.
        places = matrices.reshape(-1, 6)
        rest = places - places.astype("float32")
        self.numbers = np.concatenate([places, rest, unmoved[:, None]], 1).astype("float32")

    def part(self, images):
        """The same of some pictures of the batch, indices or a slice."""
        one = object.__new__(Placing)
        one.__dict__.update(self.__dict__)
        one.numbers, one.colour = self.numbers[images], self.colour[images]
        return one


LOOP = """
const int C = in0_shape1, S = in0_shape2;
const int64 area = (int64)S * S;
const int left = in3_p[0], top = in3_p[1], right = in3_p[2], bottom = in3_p[3];
const int grid = 2 * (S + 2 * EDGE);
const auto reflected = [&](int i) { return i < 0 ? -i : i < S ? i : 2 * (S - 1) - i; };
stylegan::share_items(in0_shape0, area * C * 60.0, [&](int64 n) {
    double place[6];
    for (int i = 0; i < 6; i++)
        place[i] = (double)in1_p[n * NUMBERS + i] + in1_p[n * NUMBERS + 6 + i];
    const float* colour = in2_p + n * C * (C + 1);
    const float* from = in0_p + n * C * area;
    float* to = out0_p + n * C * area;
    static thread_local std::vector<float> memory[4];
    const auto room = [&](int i, size_t size) {
        if (memory[i].size() < size) memory[i].resize(size);
        return memory[i].data();
    };
    // The part of the padded, enlarged picture that is looked at: an even column and row first.
    const int wide = 2 * (S + left + right), high = 2 * (S + top + bottom);
    double low[2], top_of[2];
    for (int i = 0; i < 2; i++) {
        const double a = place[3 * i] * (grid - 1), b = place[3 * i + 1] * (grid - 1);
        low[i] = place[3 * i + 2] + std::min(a, 0.0) + std::min(b, 0.0);
        top_of[i] = place[3 * i + 2] + std::max(a, 0.0) + std::max(b, 0.0);
    }
    const auto within = [](double v, double most) { return (int)std::min(std::max(v, 0.0), most); };
    const int x0 = within(std::floor(low[0]), wide) & ~1;
    const int y0 = within(std::floor(low[1]), high) & ~1;
    const int x1 = (within(std::floor(top_of[0]) + 2, wide) + 1) & ~1;
    const int y1 = (within(std::floor(top_of[1]) + 2, high) + 1) & ~1;
    const int columns = std::max(0, x1 - x0), rows = std::max(0, y1 - y0);
    // Lines of the padded picture that these are made of; those beyond it are zeros.
    const int j0 = y0 / 2 - 3, lines = rows / 2 + 6, i0 = x0 / 2 - 3, numbers = columns / 2 + 6;
    constexpr int BORDER = 2;
    const int step = columns + 2 * BORDER;
    float* line = room(0, std::max(numbers + 2 * (size_t)columns, (size_t)grid));
    // One after the other in the same place.
    float* widened = room(1, std::max((size_t)lines * columns, (size_t)grid * S));
    float* narrowed = widened;
    float* enlarged = room(2, (size_t)(rows + 2 * BORDER) * step);
    float* sampled = room(3, (size_t)grid * grid);

    // Taps of the filter: of the enlarged line t are those of the lines t / 2 - 3 to t / 2 + 2, one
    // further where t is odd.
    const auto enlarge = [&](const float* x) {
        std::fill_n(enlarged, (size_t)(rows + 2 * BORDER) * step, 0.0f);
        for (int j = 0; j < lines; j++) {
            float* __restrict__ wide_line = widened + (size_t)j * columns;
            if (j0 + j < 0 || j0 + j >= high / 2) {
                std::fill_n(wide_line, columns, 0.0f);
                continue;
            }
            const float* row = x + (int64)reflected(j0 + j - top) * S;
            for (int i = 0; i < numbers; i++)
                line[i] = i0 + i < 0 || i0 + i >= wide / 2 ? 0 : row[reflected(i0 + i - left)];
            float *__restrict__ even = line + numbers, *__restrict__ odd = even + columns / 2;
            for (int s = 0; s < columns / 2; s++) {
                float a = 0, b = 0;
                for (int k = 0; k < 6; k++) {
                    a += FILTER[11 - 2 * k] * line[s + k];
                    b += FILTER[10 - 2 * k] * line[s + k + 1];
                }
                even[s] = 2 * a, odd[s] = 2 * b;
            }
            for (int s = 0; s < columns / 2; s++)
                wide_line[2 * s] = even[s], wide_line[2 * s + 1] = odd[s];
        }
        for (int t = 0; t < rows; t++) {
            float* __restrict__ sum = enlarged + (size_t)(t + BORDER) * step + BORDER;
            const int odd = t & 1;
            for (int k = 0; k < 6; k++) {
                const float weight = 2 * FILTER[11 - odd - 2 * k];
                const float* __restrict__ one = widened + (size_t)(t / 2 + odd + k) * columns;
                for (int s = 0; s < columns; s++) sum[s] += weight * one[s];
            }
        }
    };
    // work(place in `enlarged`, weights of right and lower neighbours, place in `sampled`)
    const auto visit = [&](auto work) {
        for (int r = 0; r < grid; r++) {
            const double x = place[1] * r + place[2] - x0, y = place[4] * r + place[5] - y0;
            for (int c = 0; c < grid; c++) {
                const double px = std::min(std::max(x + place[0] * c, -2.0), columns + 0.0);
                const double py = std::min(std::max(y + place[3] * c, -2.0), rows + 0.0);
                const int ix = (int)(px + 2) - 2, iy = (int)(py + 2) - 2;
                work((size_t)(iy + BORDER) * step + ix + BORDER, (float)(px - ix), (float)(py - iy),
                     (size_t)r * grid + c);
            }
        }
    };
    const auto halve = [&](float* __restrict__ y) {
        for (int r = 1; r < grid - 1; r++) {
            const float* row = sampled + (size_t)r * grid;
            float *__restrict__ even = line, *__restrict__ odd = line + grid / 2;
            for (int i = 0; i < grid / 2; i++) even[i] = row[2 * i], odd[i] = row[2 * i + 1];
            float* __restrict__ to = narrowed + (size_t)r * S;
            for (int j = 0; j < S; j++) {
                float sum = 0;
                for (int k = 0; k < 6; k++)
                    sum += FILTER[2 * k] * odd[j + k] + FILTER[2 * k + 1] * even[j + k + 1];
                to[j] = sum;
            }
        }
        for (int j = 0; j < S; j++) {
            float* __restrict__ to = y + (int64)j * S;
            std::fill_n(to, S, 0.0f);
            for (int k = 0; k < TAPS; k++) {
                const float* __restrict__ one = narrowed + (size_t)(1 + 2 * j + k) * S;
                for (int i = 0; i < S; i++) to[i] += FILTER[k] * one[i];
            }
        }
    };

    // The same steps in the opposite direction, each of them transposed.
    const auto halve_back = [&](const float* dy) {
        std::fill_n(narrowed, (size_t)grid * S, 0.0f);
        for (int j = 0; j < S; j++)
            for (int k = 0; k < TAPS; k++) {
                float* __restrict__ one = narrowed + (size_t)(1 + 2 * j + k) * S;
                const float* __restrict__ d = dy + (int64)j * S;
                for (int i = 0; i < S; i++) one[i] += FILTER[k] * d[i];
            }
        for (int r = 0; r < grid; r++) {
            float *__restrict__ even = line, *__restrict__ odd = line + grid / 2;
            std::fill_n(line, grid, 0.0f);
            const float* __restrict__ d = narrowed + (size_t)r * S;
            for (int k = 0; k < 6; k++) {
                for (int j = 0; j < S; j++) odd[j + k] += FILTER[2 * k] * d[j];
                for (int j = 0; j < S; j++) even[j + k + 1] += FILTER[2 * k + 1] * d[j];
            }
            float* __restrict__ row = sampled + (size_t)r * grid;
            for (int i = 0; i < grid / 2; i++) row[2 * i] = even[i], row[2 * i + 1] = odd[i];
        }
    };
    const auto enlarge_back = [&](float* dx) {
        std::fill_n(widened, (size_t)lines * columns, 0.0f);
        for (int t = 0; t < rows; t++) {
            const float* __restrict__ d = enlarged + (size_t)(t + BORDER) * step + BORDER;
            const int odd = t & 1;
            for (int k = 0; k < 6; k++) {
                const float weight = 2 * FILTER[11 - odd - 2 * k];
                float* __restrict__ one = widened + (size_t)(t / 2 + odd + k) * columns;
                for (int s = 0; s < columns; s++) one[s] += weight * d[s];
            }
        }
        std::fill_n(dx, area, 0.0f);
        for (int j = std::max(0, -j0); j < std::min(lines, high / 2 - j0); j++) {
            const float* __restrict__ wide_line = widened + (size_t)j * columns;
            float *__restrict__ even = line + numbers, *__restrict__ odd = even + columns / 2;
            for (int s = 0; s < columns / 2; s++)
                even[s] = 2 * wide_line[2 * s], odd[s] = 2 * wide_line[2 * s + 1];
            std::fill_n(line, numbers, 0.0f);
            for (int k = 0; k < 6; k++) {
                float* __restrict__ sum = line;
                for (int s = 0; s < columns / 2; s++) sum[s + k] += FILTER[11 - 2 * k] * even[s];
                for (int s = 0; s < columns / 2; s++) sum[s + k + 1] += FILTER[10 - 2 * k] * odd[s];
            }
            float* row = dx + (int64)reflected(j0 + j - top) * S;
            for (int i = std::max(0, -i0); i < std::min(numbers, wide / 2 - i0); i++)
                row[reflected(i0 + i - left)] += line[i];
        }
    };

    const bool unmoved = in1_p[n * NUMBERS + 12];
    for (int c = 0; c < C; c++) {
        const float* x = from + c * area;
        float* y = to + c * area;
        if (BACK) {                             // colours first, into `to`
            for (int64 i = 0; i < area; i++) y[i] = 0;
            for (int k = 0; k < C; k++) {
                const float weight = colour[k * (C + 1) + c];
                const float* __restrict__ one = from + k * area;
                for (int64 i = 0; i < area; i++) y[i] += weight * one[i];
            }
            if (unmoved) continue;
            halve_back(y);
            std::fill_n(enlarged, (size_t)(rows + 2 * BORDER) * step, 0.0f);
            visit([&](size_t at, float fx, float fy, size_t i) {
                float* p = enlarged + at;
                const float upper = sampled[i] * (1 - fy), lower = sampled[i] * fy;
                p[0] += upper * (1 - fx), p[1] += upper * fx;
                p[step] += lower * (1 - fx), p[step + 1] += lower * fx;
            });
            enlarge_back(y);
        } else if (unmoved) {
            std::copy_n(x, area, y);
        } else {
            enlarge(x);
            visit([&](size_t at, float fx, float fy, size_t i) {
                const float* p = enlarged + at;
                const float upper = p[0] + fx * (p[1] - p[0]);
                sampled[i] = upper + fy * (p[step] + fx * (p[step + 1] - p[step]) - upper);
            });
            halve(y);
        }
    }
    if (!BACK)
        for (int64 i = 0; i < area; i++) {
            float before[C_MOST];
            for (int c = 0; c < C; c++) before[c] = to[c * area + i];
            for (int c = 0; c < C; c++) {
                float sum = OFFSET ? colour[c * (C + 1) + C] : 0;
                for (int k = 0; k < C; k++) sum += colour[c * (C + 1) + k] * before[k];
                to[c * area + i] = sum;
            }
        }
});
"""


class Warp(Operator):
    """[N, C, S, S] → the same shape: as a Placing says, or, `back`, the gradient of that; `offset`:
    with the constant that its colours have."""

    keeps = ()

    def __init__(self, placing, back=False, offset=True):
        self.placing, self.back, self.offset = placing, back, offset

    def compute(self, x):
        constants = (
            f"constexpr int EDGE = {EDGE}, TAPS = {TAPS}, NUMBERS = {NUMBERS}, "
            f"C_MOST = {x.shape[1]}; constexpr bool BACK = {int(self.back)}, "
            f"OFFSET = {int(self.offset)};"
            "static constexpr float FILTER[TAPS] = "
            f"{{{', '.join(f'{weight!r}f' for weight in SYM6.tolist())}}};")
        inputs = [x, jt.array(self.placing.numbers), jt.array(self.placing.colour),
                  jt.array(np.array(self.placing.margins, "int32"))]
        return jt.code(x.shape, "float32", inputs, cpu_header=HEADER, cpu_src=constants + LOOP)

    def grad(self, dy):
        return Warp(self.placing, not self.back, offset=False)(dy)


def warp(x, placing):
    """x [N, C, S, S], as the Placing says."""
    if on_cpu():
        return Warp(placing)(x)
    return by_matrices(x, placing)


def by_matrices(x, placing):
    """The same in Jittor's operators: enlarging and halving are matrices, one for each side. The
    enlarged picture has one of few shapes, for each is a kernel to be compiled."""
    n, c, size, _ = x.shape
    left, top, right, bottom = placing.margins
    across, down = (jt.array(enlarging(size, *two)) for two in ((left, right), (top, bottom)))
    x = jt.matmul(jt.matmul(down, x), across.transpose(1, 0))
    places = jt.array(placing.numbers)
    shape = [n, placing.grid, placing.grid]
    row, column = jt.index(shape, 1).float(), jt.index(shape, 2).float()

    def places_of(i):
        return sum(places[:, i + k].broadcast(shape, [1, 2]) * one
                   for k, one in enumerate((column, row, 1)))

    px, py = places_of(0), places_of(3)
    ix, iy = jt.floor(px), jt.floor(py)
    fx, fy = (px - ix).stop_grad(), (py - iy).stop_grad()
    total = 0
    for dx, dy in np.ndindex(2, 2):
        weight = (fx if dx else 1 - fx) * (fy if dy else 1 - fy)
        one = x.reindex([n, c, *shape[1:]], ["i0", "i1", "@e0(i0,i2,i3)", "@e1(i0,i2,i3)"],
                        extras=[(iy + dy).int32(), (ix + dx).int32()])
        total = total + one * weight.broadcast(one.shape, [1])
    back = jt.array(halving(size))
    x = jt.matmul(jt.matmul(back, total), back.transpose(1, 0))
    colour = jt.array(placing.colour)
    mixed = jt.matmul(colour[:, :, :c], x.reshape(n, c, -1)) + colour[:, :, c:]
    return mixed.reshape(n, c, size, size)


def enlarging(size, before, after):
    """float32 [M · size, size]: reflected by so many pixels, and enlarged; zeros below that. M is
    as small as it can be, 2 to 6."""
    padded = size + before + after
    filtered = np.zeros((-(-2 * padded // size) * size, padded))
    for t in range(2 * padded):
        for j in range(max(0, (t - 5) // 2), min(padded, (t + 5) // 2 + 1)):
            if 0 <= t + 5 - 2 * j < TAPS:
                filtered[t, j] = 2 * SYM6[t + 5 - 2 * j]
    reflected = np.pad(np.eye(size), ((before, after), (0, 0)), "reflect")
    return (filtered @ reflected).astype("float32")


def halving(size):
    """float32 [size, 2 · (size + 6)]."""
    matrix = np.zeros((size, 2 * (size + 2 * EDGE)), "float32")
    for j in range(size):
        matrix[j, 1 + 2 * j:1 + 2 * j + TAPS] = SYM6
    return matrix
