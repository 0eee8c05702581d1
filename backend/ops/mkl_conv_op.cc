#include "mkl_conv_op.h"
#include "jittor_conv.h"

namespace jittor {

#ifndef JIT

MklConvOp::MklConvOp(Var* x, Var* w, int strideh, int stridew, int paddingh, int paddingw, int dilationh, int dilationw, int groups, string xformat, string wformat, string yformat)
    : x(x), w(w), strideh(strideh), stridew(stridew), paddingh(paddingh), paddingw(paddingw), dilationh(dilationh), dilationw(dilationw), groups(groups),
      xformat(xformat), wformat(wformat), yformat(yformat.size() ? yformat : xformat) {
    flags.set(NodeFlags::_cpu);
    ASSERT(x->dtype() == ns_float32 && w->dtype() == ns_float32) << "convolutions are float32 on the CPU";
    y = create_output(nullptr, x->dtype());
}

void MklConvOp::infer_shape() {
    ASSERTop(extent(w, wformat, 'i') * groups,==,extent(x, xformat, 'b'));
    set_dims(y, yformat, "abcd", {
        extent(x, xformat, 'a'), extent(w, wformat, 'o'),
        out_extent(extent(x, xformat, 'c'), extent(w, wformat, 'h'), strideh, paddingh, dilationh),
        out_extent(extent(x, xformat, 'd'), extent(w, wformat, 'w'), stridew, paddingw, dilationw)});
}

void MklConvOp::jit_prepare(JK& jk) { jk << "«T:" << x->dtype(); }

#else // JIT
#ifdef JIT_cpu
void MklConvOp::jit_run() { run_conv(stylegan::FORWARD, *this, x, w, y); }
#endif
#endif // JIT

} // jittor
