#include "cuda_move_op.h"

#include "lists.h"
#include "var.h"

namespace jittor {

CudaMoveOp::CudaMoveOp(vector<Var*>&& arrays) : arrays(arrays) {
    flags.set(NodeFlags::_cuda);
    flags.set(NodeFlags::_cpu, 0);
    for (size_t i = 1; i < arrays.size(); i += 2)
        results.push_back(create_output(arrays[i]->shape, ns_float32));
}

void CudaMoveOp::run() {
    std::vector<stylegan::Arrays> lists;
    for (size_t i = 0; i < results.size(); i++)
        lists.push_back({{arrays[2 * i + 1]->ptr<float>(), arrays[2 * i + 2]->ptr<float>(),
                          results[i]->ptr<float>()}, results[i]->num});
    stylegan::move(lists, arrays[0]->ptr<float>());
}

} // jittor
