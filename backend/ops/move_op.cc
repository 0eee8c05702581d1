#pragma GCC optimize("O3")
#include "move_op.h"

#include "var.h"
#include "workers.h"

namespace jittor {

MoveOp::MoveOp(vector<Var*>&& arrays) : arrays(arrays) {
    flags.set(NodeFlags::_cpu);
    for (size_t i = 1; i < arrays.size(); i += 2)
        results.push_back(create_output(arrays[i]->shape, ns_float32));
}

void MoveOp::run() {
    const float amount = *arrays[0]->ptr<float>();
    for (size_t i = 0; i < results.size(); i++) {
        const float* __restrict__ a = arrays[2 * i + 1]->ptr<float>();
        const float* __restrict__ b = arrays[2 * i + 2]->ptr<float>();
        float* __restrict__ out = results[i]->ptr<float>();
        const int64 length = results[i]->num;
        stylegan::share_range(length, 0.3, [&](int64_t k, int64_t end) {
            for (; k < end; k++) out[k] = a[k] + (b[k] - a[k]) * amount;
        });
    }
}

} // jittor
