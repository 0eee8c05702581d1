// Before CUB's own, for Jittor 1.3.11: what CUB 3 (CUDA 13) has dropped. See backend/cuda.py.
#pragma once
#include <../include_real/cub/cub.cuh>

#if CUB_MAJOR_VERSION >= 3
#include <cuda/ptx>
#include <thrust/iterator/counting_iterator.h>
#include <thrust/iterator/transform_iterator.h>

namespace cub {

template <class T, class Offset = ptrdiff_t>
using CountingInputIterator = thrust::counting_iterator<T>;

template <class Value, class Function, class Input, class Offset = ptrdiff_t>
using TransformInputIterator = thrust::transform_iterator<Function, Input, Value>;

struct Max {
    template <class T>
    __host__ __device__ T operator()(const T& a, const T& b) const { return a < b ? b : a; }
};

struct Min {
    template <class T>
    __host__ __device__ T operator()(const T& a, const T& b) const { return b < a ? b : a; }
};

struct Sum {
    template <class T>
    __host__ __device__ T operator()(const T& a, const T& b) const { return a + b; }
};

__device__ __forceinline__ unsigned LaneId() { return ::cuda::ptx::get_sreg_laneid(); }

}  // namespace cub
#endif
