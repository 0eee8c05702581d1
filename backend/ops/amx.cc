#pragma GCC optimize("O3")             // Jittor compiles operators with -O2
#include "amx.h"

#include <algorithm>
#include <dnnl.hpp>
#include <stdexcept>

#include "lanes.h"

namespace stylegan {

constexpr int TILE = 16, INNER = 32;    // rows, or columns, of a tile; products that it sums

static int64_t steps_of(int64_t inner) { return (inner + INNER - 1) / INNER; }

size_t Factor::bytes(int64_t rows, int64_t inner) {
    return 2 * sizeof(Half) * rows * steps_of(inner) * INNER;
}

Factor::Factor(void* room, int64_t rows, int64_t inner)
    : high((Half*)room), low(high + rows * steps_of(inner) * INNER) {}

#if defined(__AMX_BF16__) && defined(__AVX512BF16__)

bool has_amx() {
    // oneDNN asks Linux for it.
    static const bool has =
        (int)dnnl::get_effective_cpu_isa() >= (int)dnnl::cpu_isa::avx512_core_amx;
    return has;
}

// 16 numbers as two bfloat16 each, in the lower halves of 32 bits.
struct Parts {
    __m512i high, low;
    explicit Parts(__m512 x) {
        high = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(x));
        const __m512 rest = x - (__m512)_mm512_slli_epi32(high, 16);
        low = _mm512_cvtepu16_epi32((__m256i)_mm512_cvtneps_pbh(rest));
    }
};

static void store_sixteen(__m512i parts, Half* to) {
    _mm256_storeu_si256((__m256i*)to, _mm512_cvtepi32_epi16(parts));
}

// Tiles of the left factor are [16 rows, 32 products].
void split_left(const float* a, int64_t rows, int64_t inner, Factor to) {
    const int64_t steps = steps_of(inner);
    for (int64_t row = 0; row < rows; row++)
        for (int64_t k = 0; k < steps * INNER; k += TILE) {
            const int count = std::max<int64_t>(0, std::min<int64_t>(TILE, inner - k));
            const Parts parts(_mm512_maskz_loadu_ps((1 << count) - 1, a + row * inner + k));
            const int64_t place = ((row / TILE * steps + k / INNER) * TILE + row % TILE) * INNER +
                k % INNER;
            store_sixteen(parts.high, to.high + place);
            store_sixteen(parts.low, to.low + place);
        }
}

void split_left_transposed(const float* a, int64_t rows, int64_t inner, Factor to) {
    const int64_t steps = steps_of(inner);
    for (int64_t k = 0; k < steps * INNER; k += TILE)
        for (int64_t row = 0; row < rows; row += TILE) {
            __m512 block[TILE];
            for (int i = 0; i < TILE; i++)
                block[i] = k + i < inner ? _mm512_loadu_ps(a + (k + i) * rows + row)
                                         : _mm512_setzero_ps();
            transpose(block);
            for (int i = 0; i < TILE; i++) {
                const Parts parts(block[i]);
                const int64_t place = ((row / TILE * steps + k / INNER) * TILE + i) * INNER +
                    k % INNER;
                store_sixteen(parts.high, to.high + place);
                store_sixteen(parts.low, to.low + place);
            }
        }
}

// Tiles of the right factor are [16 pairs of products, 16 columns, 2].
static void store_pair(__m512 first, __m512 second, Half* high, Half* low) {
    const Parts one(first), two(second);
    _mm512_storeu_si512(high, _mm512_or_si512(one.high, _mm512_slli_epi32(two.high, 16)));
    _mm512_storeu_si512(low, _mm512_or_si512(one.low, _mm512_slli_epi32(two.low, 16)));
}

static int64_t place_of_pair(int64_t k, int64_t column, int64_t steps) {
    return ((column / TILE * steps + k / INNER) * TILE + k % INNER / 2) * INNER;
}

void split_right(const float* b, int64_t inner, int64_t columns, Factor to) {
    const int64_t steps = steps_of(inner);
    for (int64_t k = 0; k < steps * INNER; k += 2)
        for (int64_t column = 0; column < columns; column += TILE) {
            const auto row = [&](int64_t i) {
                return i < inner ? _mm512_loadu_ps(b + i * columns + column) : _mm512_setzero_ps();
            };
            const int64_t place = place_of_pair(k, column, steps);
            store_pair(row(k), row(k + 1), to.high + place, to.low + place);
        }
}

void split_pairs(const float* first, const float* second, int count, int64_t k, int64_t column,
                 int64_t inner, Factor to, size_t next) {
    const int64_t place = place_of_pair(k, column, steps_of(inner));
    for (int i = 0; i < count; i++) {
        const size_t further = place + i * (next / sizeof(Half));
        store_pair(_mm512_loadu_ps(first + i * TILE), _mm512_loadu_ps(second + i * TILE),
                   to.high + further, to.low + further);
    }
}

struct alignas(64) TileConfig {
    uint8_t palette = 1, start_row = 0, reserved[14] = {};
    uint16_t bytes[16] = {};
    uint8_t rows[16] = {};
    TileConfig() {
        for (int i = 0; i < 8; i++) bytes[i] = 64, rows[i] = TILE;
    }
};

// Up to 32 rows and columns of c: tiles 0 to 3 sum, 4 and 5 are of a, 6 and 7 of b.
template <int ROWS, int COLUMNS>
static void multiply_tiles(int64_t steps, Factor a, Factor b, bool add, float* c, int64_t columns) {
    const int64_t size = TILE * INNER, next = steps * size;     // to 16 rows, or columns, further
    const int64_t step = columns * sizeof(float);
    float* below = c + TILE * columns;
    if (add) {
        _tile_loadd(0, c, step);
        if (COLUMNS > 1) _tile_loadd(1, c + TILE, step);
        if (ROWS > 1) _tile_loadd(2, below, step);
        if (ROWS > 1 && COLUMNS > 1) _tile_loadd(3, below + TILE, step);
    } else {
        _tile_zero(0);
        _tile_zero(1);
        _tile_zero(2);
        _tile_zero(3);
    }
    const auto load_a = [&](const Half* part) {
        _tile_loadd(4, part, 64);
        if (ROWS > 1) _tile_loadd(5, part + next, 64);
    };
    const auto load_b = [&](const Half* part) {
        _tile_loadd(6, part, 64);
        if (COLUMNS > 1) _tile_loadd(7, part + next, 64);
    };
    const auto multiply = [] {
        _tile_dpbf16ps(0, 4, 6);
        if (COLUMNS > 1) _tile_dpbf16ps(1, 4, 7);
        if (ROWS > 1) _tile_dpbf16ps(2, 5, 6);
        if (ROWS > 1 && COLUMNS > 1) _tile_dpbf16ps(3, 5, 7);
    };
    for (int64_t k = 0; k < next; k += size) {
        load_a(a.high + k);
        load_b(b.low + k);
        multiply();
        load_b(b.high + k);
        multiply();
        load_a(a.low + k);
        multiply();
    }
    _tile_stored(0, c, step);
    if (COLUMNS > 1) _tile_stored(1, c + TILE, step);
    if (ROWS > 1) _tile_stored(2, below, step);
    if (ROWS > 1 && COLUMNS > 1) _tile_stored(3, below + TILE, step);
}

void multiply_split(int64_t rows, int64_t columns, int64_t inner, Factor a, Factor b, bool add,
                    float* c) {
    static const TileConfig config;
    _tile_loadconfig(&config);
    const int64_t steps = steps_of(inner);
    for (int64_t column = 0; column < columns; column += 2 * TILE)
        for (int64_t row = 0; row < rows; row += 2 * TILE) {
            const bool two_rows = row + TILE < rows, two = column + TILE < columns;
            const auto multiply = two_rows ? two ? multiply_tiles<2, 2> : multiply_tiles<2, 1>
                                           : two ? multiply_tiles<1, 2> : multiply_tiles<1, 1>;
            Factor own_a = a, own_b = b;
            own_a.high += row * steps * INNER, own_a.low += row * steps * INNER;
            own_b.high += column * steps * INNER, own_b.low += column * steps * INNER;
            multiply(steps, own_a, own_b, add, c + row * columns + column, columns);
        }
    _tile_release();
}

#else                                   // an older compiler or processor

bool has_amx() { return false; }

static void refuse() { throw std::runtime_error("this processor has no AMX"); }
void split_left(const float*, int64_t, int64_t, Factor) { refuse(); }
void split_left_transposed(const float*, int64_t, int64_t, Factor) { refuse(); }
void split_right(const float*, int64_t, int64_t, Factor) { refuse(); }
void split_pairs(const float*, const float*, int, int64_t, int64_t, int64_t, Factor, size_t) {
    refuse();
}
void multiply_split(int64_t, int64_t, int64_t, Factor, Factor, bool, float*) { refuse(); }

#endif

}  // namespace stylegan

extern "C" int stylegan1_has_amx() { return stylegan::has_amx(); }
