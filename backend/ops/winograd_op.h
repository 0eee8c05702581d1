#pragma once
#include "op.h"

namespace jittor {

// x [N, I, H, W], w → y: a 3x3 convolution as in winograd.h. `form` is "same", "up", "down",
// "smooth_up" or "smooth_down".
struct WinogradOp : Op {
    Var* x, * w, * y;
    string form;
    bool adjoint;
    float64 scale;
    WinogradOp(Var* x, Var* w, string form, bool adjoint, float64 scale);

    const char* name() const override { return "winograd"; }
    void infer_shape() override;
    DECLARE_jit_run;
};

} // jittor
