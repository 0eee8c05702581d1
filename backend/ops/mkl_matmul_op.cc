#include "mkl_matmul_op.h"
#include "onednn.h"
#include "var.h"

namespace jittor {

#ifndef JIT

MklMatmulOp::MklMatmulOp(Var* a, Var* b, bool trans_a, bool trans_b)
    : MklMatmulOp(a, b, trans_a, trans_b, 1) {}

MklMatmulOp::MklMatmulOp(Var* a, Var* b, bool trans_a, bool trans_b, float64 scale)
    : a(a), b(b), trans_a(trans_a), trans_b(trans_b), scale(scale) {
    flags.set(NodeFlags::_cpu);
    ASSERT(a->dtype() == ns_float32 && b->dtype() == ns_float32) << "matrix products are float32 on the CPU";
    c = create_output(nullptr, a->dtype());
}

void MklMatmulOp::infer_shape() {
    ASSERTop(a->shape[trans_a ? 0 : 1],==,b->shape[trans_b ? 1 : 0]);
    c->set_shape({a->shape[trans_a ? 1 : 0], b->shape[trans_b ? 0 : 1]});
}

void MklMatmulOp::jit_prepare(JK& jk) { jk << "«T:" << a->dtype(); }

#else // JIT
#ifdef JIT_cpu
void MklMatmulOp::jit_run() {
    auto rows = c->shape[0], columns = c->shape[1], inner = a->shape[trans_a ? 0 : 1];
    stylegan::matrix_product(trans_a, trans_b, rows, columns, inner, scale, a->ptr<float32>(),
                             a->shape[1], b->ptr<float32>(), b->shape[1], c->ptr<float32>());
}
#endif
#endif // JIT

} // jittor
