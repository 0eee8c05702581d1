#pragma once
#include "op.h"

namespace jittor {

// One step of Adam with β₁ = 0 over all parameters, as ops/adam_op.h, in two kernels.
struct CudaAdamOp : Op {
    vector<Var*> arrays, results;
    float64 beta2, epsilon;
    // @attrs(multiple_outputs)
    CudaAdamOp(vector<Var*>&& arrays, float64 beta2, float64 epsilon);

    const char* name() const override { return "cuda_adam"; }
    void run() override;
};

} // jittor
