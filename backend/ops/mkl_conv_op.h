#pragma once
#include "op.h"

namespace jittor {

// Name, order of members and signature are those that Jittor's convolution tuner asks for.
struct MklConvOp : Op {
    Var* x, * w, * y;
    int strideh, stridew, paddingh, paddingw, dilationh, dilationw, groups;
    string xformat, wformat, yformat;
    MklConvOp(Var* x, Var* w, int strideh, int stridew, int paddingh, int paddingw, int dilationh=1, int dilationw=1, int groups=1, string xformat="abcd", string wformat="oihw", string yformat="");

    const char* name() const override { return "mkl_conv"; }
    void infer_shape() override;
    DECLARE_jit_run;
};

} // jittor
