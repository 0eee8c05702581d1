#include "winograd_op.h"
#include "jittor_conv.h"

namespace jittor {

#ifndef JIT

WinogradOp::WinogradOp(Var* x, Var* w, string form, bool adjoint, float64 scale)
    : x(x), w(w), form(form), adjoint(adjoint), scale(scale) {
    flags.set(NodeFlags::_cpu);
    ASSERT(x->dtype() == ns_float32 && w->dtype() == ns_float32) << "convolutions are float32 on the CPU";
    y = create_output(nullptr, x->dtype());
}

void WinogradOp::infer_shape() {
    ASSERTop(w->shape[adjoint ? 0 : 1],==,x->shape[1]);
    int64 height = x->shape[2], width = x->shape[3];
    if (form == "up" || form == "smooth_up") height *= 2, width *= 2;
    if (form == "down" || form == "smooth_down") height /= 2, width /= 2;
    y->set_shape(NanoVector(x->shape[0], w->shape[adjoint ? 1 : 0], height, width));
}

void WinogradOp::jit_prepare(JK& jk) { jk << "«T:" << x->dtype(); }

#else // JIT
#ifdef JIT_cpu
void WinogradOp::jit_run() {
    stylegan::convolve_3x3(winograd_layer(x, y, form, adjoint, scale), x->ptr<float32>(),
                           w->ptr<float32>(), y->ptr<float32>());
}
#endif
#endif // JIT

} // jittor
