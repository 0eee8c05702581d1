#pragma once
#include "op.h"

namespace jittor {

// Name, order of members and signature are those that Jittor's convolution tuner asks for.
struct MklConvBackwardWOp : Op {
    Var* x, * dy, * dw;
    int kh, kw, strideh, stridew, paddingh, paddingw, dilationh, dilationw, groups;
    string xformat, wformat, yformat;
    MklConvBackwardWOp(Var* x, Var* y, int kh, int kw, int strideh, int stridew, int paddingh, int paddingw, int dilationh, int dilationw, int groups=1, string xformat="abcd", string wformat="oihw", string yformat="abcd");

    const char* name() const override { return "mkl_conv_backward_w"; }
    void infer_shape() override;
    DECLARE_jit_run;
};

} // jittor
