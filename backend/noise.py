"""Random numbers made where they are needed: noise maps are too large to be sent to a GPU.

On a CPU they are Jittor's. On CUDA they are of a generator that has no state but the seed and how
much was drawn since (Salmon et al. 2011, "Parallel random numbers: as easy as 1, 2, 3", Philox
4×32-10): cuRAND's does not begin again when it is given the same seed again, and takes longer to
begin than all maps of an iteration take.
"""
from backend import fused_cuda, jt
from backend.kernels import on_gpu

PHILOX = fused_cuda.STARTED + """
namespace {
// Four times 32 bits of a counter and a key.
__device__ inline void philox(unsigned (&c)[4], unsigned key0, unsigned key1) {
    for (int round = 0; round < 10; round++) {
        const unsigned high0 = __umulhi(0xD2511F53u, c[0]), low0 = 0xD2511F53u * c[0];
        const unsigned high1 = __umulhi(0xCD9E8D57u, c[2]), low1 = 0xCD9E8D57u * c[2];
        c[0] = high1 ^ c[1] ^ key0;
        c[1] = low1;
        c[2] = high0 ^ c[3] ^ key1;
        c[3] = low0;
        key0 += 0x9E3779B9u;
        key1 += 0xBB67AE85u;
    }
}
// In (0, 1].
__device__ inline float uniform(unsigned bits) { return ((bits >> 8) + 1) / 16777216.0f; }
}
"""

KERNEL = """
__global__ void draw(float* out, int64_t count, unsigned seed, unsigned place) {
    const int64_t i = (int64_t)blockIdx.x * blockDim.x + threadIdx.x;
    if (4 * i >= count) return;
    unsigned c[4] = {(unsigned)i, (unsigned)(i >> 32), place, 0};
    philox(c, seed, 0);
    float numbers[4] = {uniform(c[0]), uniform(c[1]), uniform(c[2]), uniform(c[3])};
    NORMAL
    for (int k = 0; k < 4 && 4 * i + k < count; k++) out[4 * i + k] = numbers[k];
}
"""

# Box and Muller 1958.
NORMAL = """
    for (int k = 0; k < 4; k += 2) {
        const float radius = sqrtf(-2 * logf(numbers[k])), angle = 6.283185307f * numbers[k + 1];
        numbers[k] = radius * cosf(angle);
        numbers[k + 1] = radius * sinf(angle);
    }"""

RUN = """
    const int64_t count = out0->num, grid = (count + 1023) / 1024, block = 256;
    draw<<<grid, block>>>(out0_p, count, (unsigned)data["seed"], (unsigned)data["place"]);
    check_started();
"""

_place = {"seed": 0, "place": 0}


def seed(number):
    """What is drawn from here on follows from `number`, 0 to 2³¹ − 1, alone."""
    jt.set_seed(number)
    _place.update(seed=number, place=0)


def draw(shape, normal):
    _place["place"] += 1
    header = PHILOX + KERNEL.replace("NORMAL", NORMAL if normal else "")
    return jt.code(list(shape), "float32", [], cuda_header=header, cuda_src=RUN,
                   data=dict(_place)).stop_grad()


def normal(*shape):
    """N(0, 1)."""
    return draw(shape, True) if on_gpu() else jt.randn(*shape).stop_grad()


def uniform(*shape):
    """Between 0 and 1."""
    return draw(shape, False) if on_gpu() else jt.rand(*shape).stop_grad()
