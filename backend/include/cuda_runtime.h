// Before the toolkit's own, for Jittor 1.3.11: see backend/cuda.py.
#pragma once
#include <../include_real/cuda_runtime.h>

#if CUDART_VERSION >= 13000
// helper_cuda.h reads these two fields of cudaDeviceProp, which are gone: any other integer serves.
#define computeMode isMultiGpuBoard
#define clockRate multiProcessorCount
#endif

// Without a driver the count is left as it was, and Jittor takes -1 devices for some.
static inline cudaError_t stylegan1_device_count(int* count) {
    cudaError_t error = (cudaGetDeviceCount)(count);
    if (error != cudaSuccess) *count = 0;
    return error;
}
#define cudaGetDeviceCount(count) stylegan1_device_count(count)
