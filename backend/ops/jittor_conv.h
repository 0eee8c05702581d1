// Between Jittor's operators and onednn.h and winograd.h: shapes of Var, and how to call those.
#pragma once
#include "onednn.h"
#include "var.h"
#include "winograd.h"

namespace jittor {

inline std::vector<int> dims(Var* v) {
    return {(int)v->shape[0], (int)v->shape[1], (int)v->shape[2], (int)v->shape[3]};
}

inline int extent(Var* v, const string& format, char name) {
    return (int)v->shape[stylegan::axis(format, name)];
}

// Give `v` the sizes `sizes` of the axes `names`, laid out as `format` says.
inline void set_dims(Var* v, const string& format, const char* names, const int (&sizes)[4]) {
    int64 shape[4];
    for (int i = 0; i < 4; i++) shape[stylegan::axis(format, names[i])] = sizes[i];
    v->set_shape(NanoVector(shape[0], shape[1], shape[2], shape[3]));
}

inline int out_extent(int in, int kernel, int stride, int padding, int dilation) {
    return (in + 2 * padding - (kernel - 1) * dilation - 1) / stride + 1;
}

template <class ConvOp>
void run_conv(stylegan::Kind kind, const ConvOp& op, Var* x, Var* w, Var* y) {
    void* const arrays[3] = {x->mem_ptr, w->mem_ptr, y->mem_ptr};
    const std::vector<int> shapes[3] = {dims(x), dims(w), dims(y)};
    const string formats[3] = {op.xformat, op.wformat, op.yformat};
    stylegan::convolve(kind, arrays, shapes, formats,
                       {{op.strideh, op.stridew}, {op.paddingh, op.paddingw},
                        {op.dilationh, op.dilationw}, op.groups});
}

inline stylegan::Layer winograd_layer(Var* x, Var* y, const string& form, bool adjoint,
                                      float64 scale) {
    using namespace stylegan;
    return {form == "up" ? UP : form == "down" ? DOWN : form == "smooth_up" ? SMOOTH_UP
            : form == "smooth_down" ? SMOOTH_DOWN : SAME,
            (int)x->shape[0], (int)x->shape[1], (int)y->shape[1], (int)x->shape[2],
            (int)x->shape[3], adjoint, (float)scale};
}

}  // namespace jittor
