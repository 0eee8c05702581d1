#pragma GCC optimize("O3")
#include "adam_op.h"

#include <algorithm>
#include <cmath>
#include <cstring>
#include <vector>

#include "var.h"
#include "workers.h"

namespace jittor {

constexpr int64 PART = 16384;           // what one thread computes at a time

AdamOp::AdamOp(vector<Var*>&& arrays, float64 beta2, float64 epsilon)
    : arrays(arrays), beta2(beta2), epsilon(epsilon) {
    flags.set(NodeFlags::_cpu);
    for (int k = 0; k < 2; k++) results.push_back(create_output(NanoVector(1), ns_float32));
    for (size_t i = 2; i < arrays.size(); i += 3)
        for (int k = 0; k < 2; k++) results.push_back(create_output(arrays[i]->shape, ns_float32));
}

static int not_finite(float x) {
    uint32_t bits;
    std::memcpy(&bits, &x, 4);
    return (bits & 0x7f800000u) == 0x7f800000u;
}

void AdamOp::run() {
    const float size = *arrays[1]->ptr<float>(), b = beta2, e = epsilon;
    int bad = not_finite(*arrays[0]->ptr<float>());
    double squares = 0;
    for (size_t i = 2, o = 2; i < arrays.size(); i += 3, o += 2) {
        const float* __restrict__ p = arrays[i]->ptr<float>();
        const float* __restrict__ gradient = arrays[i + 1]->ptr<float>();
        const float* __restrict__ v = arrays[i + 2]->ptr<float>();
        float* __restrict__ new_p = results[o]->ptr<float>();
        float* __restrict__ new_v = results[o + 1]->ptr<float>();
        const int64 length = arrays[i]->num;
        const int64 parts = (length + PART - 1) / PART;
        std::vector<double> sums(parts);
        std::vector<int> bads(parts);
        stylegan::share(parts, length / 2, [&](int64_t part) {
            double sum = 0;
            int any = 0;
            const int64 end = std::min(length, (part + 1) * PART);
            #pragma omp simd reduction(|: any) reduction(+: sum)
            for (int64 k = part * PART; k < end; k++) {
                const float g = gradient[k], moment = v[k] * b + g * g * (1 - b);
                any |= not_finite(g);
                sum += g * g;
                new_v[k] = moment;
                new_p[k] = p[k] - g * size / (std::sqrt(moment) + e);
            }
            sums[part] = sum;
            bads[part] = any;
        });
        for (int64 part = 0; part < parts; part++) {
            squares += sums[part];
            bad |= bads[part];
        }
    }
    *results[0]->ptr<float>() = bad ? 0 : 1;
    *results[1]->ptr<float>() = std::sqrt(squares);
}

} // jittor
