// Matrix products on AMX of float32 numbers, each as the sum of two bfloat16 ones.
//
// a b = high high + high low + low high: products are exact, sums are float32, and what is left out
// is as small as the last of 16 bits. Three such products take less than half the time of one of
// float32.
#pragma once
#include <cstddef>
#include <cstdint>

namespace stylegan {

typedef uint16_t Half;                  // bfloat16: the upper 16 bits of a float32

// Whether the processor has AMX, Linux lets a process use it, and this was compiled for it.
bool has_amx();

// A factor as AMX takes it: tiles of 1 KiB, all high parts, then all low ones.
struct Factor {
    Half *high, *low;
    // Bytes of a factor of so many rows (or columns) and sums of so many products.
    static size_t bytes(int64_t rows, int64_t inner);
    // The factor in `room`.
    Factor(void* room, int64_t rows, int64_t inner);
};

// Rows and columns are multiples of 16; what is missing to 32 products is 0.
void split_left(const float* a, int64_t rows, int64_t inner, Factor to);        // a [rows, inner]
void split_left_transposed(const float* a, int64_t rows, int64_t inner, Factor to);  // [inner, rows]
void split_right(const float* b, int64_t inner, int64_t columns, Factor to);    // b [inner, columns]
// 16 columns of rows k and k + 1 of b, of `count` right factors `next` bytes apart: `first` and
// `second` have 16 numbers for each. Rows from `inner` to the next multiple of 32 are to be given too.
void split_pairs(const float* first, const float* second, int count, int64_t k, int64_t column,
                 int64_t inner, Factor to, size_t next);

// c [rows, columns] = a b, or c + a b where `add`.
void multiply_split(int64_t rows, int64_t columns, int64_t inner, Factor a, Factor b, bool add,
                    float* c);

}  // namespace stylegan
