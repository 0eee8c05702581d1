#pragma once
#include "op.h"

namespace jittor {

// Name, order of members and first signature are those that Jittor's matmul tuner asks for; the
// second multiplies the product by `scale`.
struct MklMatmulOp : Op {
    Var* a, * b, * c;
    bool trans_a, trans_b;
    float64 scale;
    MklMatmulOp(Var* a, Var* b, bool trans_a, bool trans_b);
    MklMatmulOp(Var* a, Var* b, bool trans_a, bool trans_b, float64 scale);

    const char* name() const override { return "mkl_matmul"; }
    void infer_shape() override;
    DECLARE_jit_run;
};

} // jittor
