#include "mkl_conv_backward_w_op.h"
#include "jittor_conv.h"

namespace jittor {

#ifndef JIT

MklConvBackwardWOp::MklConvBackwardWOp(Var* x, Var* dy, int kh, int kw, int strideh, int stridew, int paddingh, int paddingw, int dilationh, int dilationw, int groups, string xformat, string wformat, string yformat)
    : x(x), dy(dy), kh(kh), kw(kw), strideh(strideh), stridew(stridew), paddingh(paddingh), paddingw(paddingw), dilationh(dilationh), dilationw(dilationw), groups(groups),
      xformat(xformat), wformat(wformat), yformat(yformat) {
    flags.set(NodeFlags::_cpu);
    ASSERT(x->dtype() == ns_float32 && dy->dtype() == ns_float32) << "convolutions are float32 on the CPU";
    dw = create_output(nullptr, x->dtype());
}

void MklConvBackwardWOp::infer_shape() {
    set_dims(dw, wformat, "oihw",
             {extent(dy, yformat, 'b'), extent(x, xformat, 'b') / groups, kh, kw});
}

void MklConvBackwardWOp::jit_prepare(JK& jk) { jk << "«T:" << x->dtype(); }

#else // JIT
#ifdef JIT_cpu
void MklConvBackwardWOp::jit_run() { run_conv(stylegan::BACKWARD_W, *this, x, dw, dy); }
#endif
#endif // JIT

} // jittor
