#pragma once
#include "op.h"

namespace jittor {

// What a convolution, or a gradient of one, is linear in: x, weight → y; weight, dy → dx; and
// x, dy → dweight, each times `scale`.
enum { CONV, CONV_BACKWARD_X, CONV_BACKWARD_W };

// [N, I, H, W] and [O, I, K, K]; `kind` is one of the above, `shape` that of what comes out.
struct CudaConvOp : Op {
    Var *a, *b, *result;
    int kind, stride, padding;
    float64 scale;
    CudaConvOp(Var* a, Var* b, int kind, NanoVector shape, int stride, int padding, float64 scale);

    const char* name() const override { return "cuda_conv"; }
    void run() override;
};

} // jittor
