#include "winograd_gradient_op.h"
#include "jittor_conv.h"

namespace jittor {

#ifndef JIT

WinogradGradientOp::WinogradGradientOp(Var* x, Var* dy, string form, float64 scale)
    : x(x), dy(dy), form(form), scale(scale) {
    flags.set(NodeFlags::_cpu);
    ASSERT(x->dtype() == ns_float32 && dy->dtype() == ns_float32) << "convolutions are float32 on the CPU";
    dw = create_output(nullptr, x->dtype());
}

void WinogradGradientOp::infer_shape() {
    ASSERTop(x->shape[0],==,dy->shape[0]);
    dw->set_shape(NanoVector(dy->shape[1], x->shape[1], 3, 3));
}

void WinogradGradientOp::jit_prepare(JK& jk) { jk << "«T:" << x->dtype(); }

#else // JIT
#ifdef JIT_cpu
void WinogradGradientOp::jit_run() {
    stylegan::convolve_3x3_gradient(winograd_layer(x, dy, form, false, scale), x->ptr<float32>(),
                              dy->ptr<float32>(), dw->ptr<float32>());
}
#endif
#endif // JIT

} // jittor
