#pragma once
#include "op.h"

namespace jittor {

// a + (b - a) · amount, as ops/move_op.h, in one kernel.
struct CudaMoveOp : Op {
    vector<Var*> arrays, results;
    // @attrs(multiple_outputs)
    CudaMoveOp(vector<Var*>&& arrays);

    const char* name() const override { return "cuda_move"; }
    void run() override;
};

} // jittor
