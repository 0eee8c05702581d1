#pragma once
#include "op.h"

namespace jittor {

// scale · op(a) · op(b), both matrices, op transposes where asked: cuBLAS scales at no cost.
struct CudaProductOp : Op {
    Var *a, *b, *y;
    bool transpose_a, transpose_b;
    float64 scale;
    CudaProductOp(Var* a, Var* b, bool transpose_a, bool transpose_b, float64 scale=1);

    const char* name() const override { return "cuda_product"; }
    void run() override;
};

} // jittor
