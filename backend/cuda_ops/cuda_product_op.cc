#include "cuda_product_op.h"

#include <cublas_v2.h>

#include "var.h"

namespace jittor {

CudaProductOp::CudaProductOp(Var* a, Var* b, bool transpose_a, bool transpose_b, float64 scale)
    : a(a), b(b), transpose_a(transpose_a), transpose_b(transpose_b), scale(scale) {
    flags.set(NodeFlags::_cuda);
    flags.set(NodeFlags::_cpu, 0);
    const int inner = a->shape[transpose_a ? 0 : 1], other = b->shape[transpose_b ? 1 : 0];
    CHECK(a->shape.size() == 2 && b->shape.size() == 2 && inner == other)
        << "matrices of" << a->shape << "and" << b->shape << "have no product";
    y = create_output(NanoVector(a->shape[transpose_a ? 1 : 0], b->shape[transpose_b ? 0 : 1]),
                      ns_float32);
}

void CudaProductOp::run() {
    static cublasHandle_t handle = nullptr;
    if (!handle) CHECK(cublasCreate(&handle) == CUBLAS_STATUS_SUCCESS) << "cuBLAS did not start";
    const int rows = y->shape[0], columns = y->shape[1], inner = a->shape[transpose_a ? 0 : 1];
    const float alpha = scale, beta = 0;
    // cuBLAS reads columns where we write rows: it computes the transpose, in the other order.
    const cublasStatus_t status = cublasSgemm(
        handle, transpose_b ? CUBLAS_OP_T : CUBLAS_OP_N, transpose_a ? CUBLAS_OP_T : CUBLAS_OP_N,
        columns, rows, inner, &alpha, b->ptr<float>(), b->shape[1], a->ptr<float>(), a->shape[1],
        &beta, y->ptr<float>(), columns);
    CHECK(status == CUBLAS_STATUS_SUCCESS) << "cuBLAS: error" << int(status);
}

} // jittor
