#include "lists.h"

#include <cuda_runtime.h>

#include <stdexcept>

namespace stylegan {

constexpr int THREADS = 256, MOST = 64; // of arrays in a kernel's arguments, which end at 4 KB

struct List {
    Arrays of[MOST];
};

// Starts kernel(list, first, …) for as many arrays as it takes at once, then for the next ones.
#define FOR_ALL(lists, kernel, ...) \
    for (size_t first = 0; first < lists.size(); first += MOST) { \
        List list; \
        const size_t count = lists.size() - first < MOST ? lists.size() - first : MOST; \
        for (size_t i = 0; i < count; i++) list.of[i] = lists[first + i]; \
        const dim3 grid(BLOCKS, count); \
        kernel<<<grid, THREADS>>>(list, __VA_ARGS__); \
        check_started(); \
    }

static void check_started() {
    const cudaError_t error = cudaGetLastError();
    if (error != cudaSuccess) throw std::runtime_error(cudaGetErrorString(error));
}

__device__ static bool not_finite(float x) { return !(fabsf(x) <= 3.402823466e38f); }

// The sum over a block, for its first thread.
__device__ static double sum_of_block(double x) {
    __shared__ double sums[THREADS];
    sums[threadIdx.x] = x;
    for (int step = THREADS / 2; step; step /= 2) {
        __syncthreads();
        if (threadIdx.x < step) sums[threadIdx.x] += sums[threadIdx.x + step];
    }
    return sums[0];
}

__global__ static void adam_kernel(List list, const float* size, float beta2, float epsilon,
                                   double* partial) {
    const Arrays a = list.of[blockIdx.y];
    const float *p = a.array[0], *gradient = a.array[1], *v = a.array[2], rate = *size;
    float *new_p = a.array[3], *new_v = a.array[4], squares = 0;
    bool bad = false;
    for (int64_t i = blockIdx.x * THREADS + threadIdx.x; i < a.length; i += BLOCKS * THREADS) {
        const float g = gradient[i], moment = v[i] * beta2 + g * g * (1 - beta2);
        bad = bad || not_finite(g);
        squares += g * g;
        new_v[i] = moment;
        new_p[i] = p[i] - g * rate / (sqrtf(moment) + epsilon);
    }
    const double sum = sum_of_block(bad ? NAN : squares);
    if (threadIdx.x == 0) partial[blockIdx.y * BLOCKS + blockIdx.x] = sum;
}

__global__ static void adam_end(const double* partial, int count, const float* loss, float* sound,
                                float* norm) {
    double squares = 0;
    for (int i = threadIdx.x; i < count; i += THREADS) squares += partial[i];
    squares = sum_of_block(squares);
    if (threadIdx.x == 0) {
        *sound = !(not_finite(*loss) || squares != squares);
        *norm = sqrt(squares);
    }
}

__global__ static void move_kernel(List list, const float* amount) {
    const Arrays a = list.of[blockIdx.y];
    const float *from = a.array[0], *to = a.array[1], by = *amount;
    float* result = a.array[2];
    for (int64_t i = blockIdx.x * THREADS + threadIdx.x; i < a.length; i += BLOCKS * THREADS)
        result[i] = from[i] + (to[i] - from[i]) * by;
}

__global__ static void keep_kernel(List list, const float* sound) {
    if (*sound > 0) return;
    const Arrays a = list.of[blockIdx.y];
    for (int64_t i = blockIdx.x * THREADS + threadIdx.x; i < a.length; i += BLOCKS * THREADS)
        a.array[1][i] = a.array[0][i];
}

void adam(const std::vector<Arrays>& lists, const float* loss, const float* size, float beta2,
          float epsilon, float* sound, float* norm, double* partial) {
    FOR_ALL(lists, adam_kernel, size, beta2, epsilon, partial + first * BLOCKS)
    const int count = lists.size() * BLOCKS;
    adam_end<<<1, THREADS>>>(partial, count, loss, sound, norm);
    check_started();
}

void move(const std::vector<Arrays>& lists, const float* amount) {
    FOR_ALL(lists, move_kernel, amount)
}

void keep(const std::vector<Arrays>& lists, const float* sound) {
    FOR_ALL(lists, keep_kernel, sound)
}

} // stylegan
