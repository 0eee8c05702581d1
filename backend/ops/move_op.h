#pragma once
#include "op.h"

namespace jittor {

// a + (b - a) · amount. `arrays`: amount [1], then pairs a, b; returns one array for each pair.
struct MoveOp : Op {
    vector<Var*> arrays, results;
    // @attrs(multiple_outputs)
    MoveOp(vector<Var*>&& arrays);

    const char* name() const override { return "move"; }
    void run() override;
};

} // jittor
