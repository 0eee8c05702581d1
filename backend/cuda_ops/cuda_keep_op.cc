#include "cuda_keep_op.h"

#include "lists.h"
#include "var.h"

namespace jittor {

CudaKeepOp::CudaKeepOp(vector<Var*>&& arrays) : arrays(arrays) {
    flags.set(NodeFlags::_cuda);
    flags.set(NodeFlags::_cpu, 0);
    for (size_t i = 1; i < arrays.size(); i += 2) {
        results.push_back(create_output(arrays[i]->shape, ns_float32));
        results.back()->share_with(arrays[i]);
    }
}

void CudaKeepOp::run() {
    std::vector<stylegan::Arrays> lists;
    for (size_t i = 0; i < results.size(); i++)
        lists.push_back({{arrays[2 * i + 2]->ptr<float>(), results[i]->ptr<float>()},
                         results[i]->num});
    stylegan::keep(lists, arrays[0]->ptr<float>());
}

} // jittor
