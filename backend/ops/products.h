#pragma once
#include <dnnl.h>

#include <new>
#include <stdexcept>

namespace stylegan {

// dnnl_sgemm, whose status is not lost: c = scale * a * b + old * c.
inline void multiply(char trans_a, char trans_b, int64_t rows, int64_t columns, int64_t inner,
                     float scale, const float* a, int64_t a_step, const float* b, int64_t b_step,
                     float old, float* c, int64_t c_step) {
    const auto status = dnnl_sgemm(trans_a, trans_b, rows, columns, inner, scale, a, a_step, b,
                                   b_step, old, c, c_step);
    if (status == dnnl_out_of_memory) throw std::bad_alloc();
    if (status != dnnl_success) throw std::runtime_error("oneDNN could not multiply matrices");
}

}  // namespace stylegan
