#include "mkl_conv_backward_x_op.h"
#include "jittor_conv.h"

namespace jittor {

#ifndef JIT

MklConvBackwardXOp::MklConvBackwardXOp(Var* w, Var* dy, int height, int width, int strideh, int stridew, int paddingh, int paddingw, int dilationh, int dilationw, int groups, string xformat, string wformat, string yformat)
    : w(w), dy(dy), xh(height), xw(width), strideh(strideh), stridew(stridew), paddingh(paddingh), paddingw(paddingw), dilationh(dilationh), dilationw(dilationw), groups(groups),
      xformat(xformat), wformat(wformat), yformat(yformat) {
    flags.set(NodeFlags::_cpu);
    ASSERT(dy->dtype() == ns_float32 && w->dtype() == ns_float32) << "convolutions are float32 on the CPU";
    dx = create_output(nullptr, dy->dtype());
}

void MklConvBackwardXOp::infer_shape() {
    set_dims(dx, xformat, "abcd",
             {extent(dy, yformat, 'a'), extent(w, wformat, 'i') * groups, xh, xw});
}

void MklConvBackwardXOp::jit_prepare(JK& jk) { jk << "«T:" << w->dtype(); }

#else // JIT
#ifdef JIT_cpu
void MklConvBackwardXOp::jit_run() { run_conv(stylegan::BACKWARD_X, *this, dx, w, dy); }
#endif
#endif // JIT

} // jittor
