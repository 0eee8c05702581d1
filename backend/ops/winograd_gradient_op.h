#pragma once
#include "op.h"

namespace jittor {

// x [N, I, H, W], dy → dw [O, I, 3, 3]: the gradient of WinogradOp (not adjoint) in w.
struct WinogradGradientOp : Op {
    Var* x, * dy, * dw;
    string form;
    float64 scale;
    WinogradGradientOp(Var* x, Var* dy, string form, float64 scale);

    const char* name() const override { return "winograd_gradient"; }
    void infer_shape() override;
    DECLARE_jit_run;
};

} // jittor
