#pragma once
#include "op.h"

namespace jittor {

// One step of Adam with β₁ = 0 over all parameters: one operator, because a small network has more
// parameters than work, and one that is compiled once, because each size has others.
// `arrays`: loss [1], step size [1], then p, g, v of each parameter. Returns sound [1], which is 0
// where the loss or a gradient is not finite, the norm of the gradient [1], then the new p and v of
// each.
struct AdamOp : Op {
    vector<Var*> arrays, results;
    float64 beta2, epsilon;
    // @attrs(multiple_outputs)
    AdamOp(vector<Var*>&& arrays, float64 beta2, float64 epsilon);

    const char* name() const override { return "adam"; }
    void run() override;
};

} // jittor
