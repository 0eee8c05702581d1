#include "cuda_adam_op.h"

#include "lists.h"
#include "var.h"

namespace jittor {

CudaAdamOp::CudaAdamOp(vector<Var*>&& arrays, float64 beta2, float64 epsilon)
    : arrays(arrays), beta2(beta2), epsilon(epsilon) {
    flags.set(NodeFlags::_cuda);
    flags.set(NodeFlags::_cpu, 0);
    for (int k = 0; k < 2; k++) results.push_back(create_output(NanoVector(1), ns_float32));
    for (size_t i = 2; i < arrays.size(); i += 3)
        for (int k = 0; k < 2; k++) results.push_back(create_output(arrays[i]->shape, ns_float32));
    // What each block of threads finds of the norm; nobody else needs it.
    results.push_back(create_output(
        NanoVector(2 * stylegan::BLOCKS * ((arrays.size() - 2) / 3)), ns_float32));
}

void CudaAdamOp::run() {
    std::vector<stylegan::Arrays> lists;
    for (size_t i = 2, o = 2; i < arrays.size(); i += 3, o += 2)
        lists.push_back({{arrays[i]->ptr<float>(), arrays[i + 1]->ptr<float>(),
                          arrays[i + 2]->ptr<float>(), results[o]->ptr<float>(),
                          results[o + 1]->ptr<float>()}, arrays[i]->num});
    stylegan::adam(lists, arrays[0]->ptr<float>(), arrays[1]->ptr<float>(), beta2, epsilon,
                   results[0]->ptr<float>(), results[1]->ptr<float>(),
                   (double*)results.back()->mem_ptr);
}

} // jittor
