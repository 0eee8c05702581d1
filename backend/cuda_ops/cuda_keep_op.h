#pragma once
#include "op.h"

namespace jittor {

// The new values where `sound` is 1, else the old ones. `arrays`: sound [1], then pairs new, old.
// What it gives lies where the new ones lay: nothing is copied in a step that is sound.
struct CudaKeepOp : Op {
    vector<Var*> arrays, results;
    // @attrs(multiple_outputs)
    CudaKeepOp(vector<Var*>&& arrays);

    const char* name() const override { return "cuda_keep"; }
    void run() override;
};

} // jittor
