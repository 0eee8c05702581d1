#pragma once
#include "op.h"

namespace jittor {

// Name, order of members and signature are those that Jittor's matmul tuner asks for.
struct MklMatmulOp : Op {
    Var* a, * b, * c;
    bool trans_a, trans_b;
    MklMatmulOp(Var* a, Var* b, bool trans_a, bool trans_b);

    const char* name() const override { return "mkl_matmul"; }
    void infer_shape() override;
    DECLARE_jit_run;
};

} // jittor
