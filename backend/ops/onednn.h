// What the four operators share: oneDNN plans, made once per shape, and memory kept between calls.
//
// Jittor's tuner replaces every convolution and matrix product that it recognises (forward, both
// gradients, and therefore every higher gradient) by operators of these names. Jittor ships its
// own versions; these differ in two ways that decide the speed on a CPU:
//   - a primitive is made once per shape, not once per call;
//   - reordered operands and the kernel's scratchpad live in buffers that are reused.
#pragma once
#include <dnnl.hpp>
#include <map>
#include <string>
#include <unordered_map>
#include <vector>

#include "buffer.h"

namespace stylegan {

struct Geometry {
    int stride[2], padding[2], dilation[2], groups;
};

enum Role { SRC, WEIGHTS, DST };
enum Kind { FORWARD, BACKWARD_X, BACKWARD_W };

// One convolution of one shape: how the operands lie in Jittor's arrays, how the kernel wants them.
struct Plan {
    dnnl::memory::desc user[3], kernel[3];
    dnnl::memory::desc scratchpad;
    dnnl::primitive primitive;
    dnnl::reorder reorder[3];
    bool reordered[3];
};

dnnl::engine& cpu();
// `arrays` and `shapes` are x, w, y; `formats` name their axes as the tuner does ("abcd", "oihw").
void convolve(Kind kind, void* const arrays[3], const std::vector<int> shapes[3],
              const std::string formats[3], const Geometry& geometry);

// c = scale · a · b, row by row; a is [rows, inner], or transposed, with rows `a_step` apart.
void matrix_product(bool trans_a, bool trans_b, int64_t rows, int64_t columns, int64_t inner,
                    float scale, const float* a, int64_t a_step, const float* b, int64_t b_step,
                    float* c);

// to = scale · the sum of `parts` arrays of `size` numbers, always in the same order.
void add_parts(const float* sums, int64_t parts, int64_t size, float scale, float* to);

// The position of axis `name` in a Jittor format string such as "abcd" or "iohw".
inline int axis(const std::string& format, char name) { return (int)format.find(name); }

}  // namespace stylegan
