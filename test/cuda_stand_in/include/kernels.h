/* Kernels as functions of the CPU, one thread after the other, for ../bin/nvcc. Jittor's need no
   more: they share no memory and wait for nobody. Where ours do (WAITS), the threads of a block take
   turns, each with a stack of its own, from one barrier to the next. */
#pragma once
#include <cstdlib>
#include <cstring>
#include <functional>
#include <math.h>
#include <type_traits>
#include <ucontext.h>
#include <vector>
#include <cuda_runtime.h>
#undef __launch_bounds__
#define __launch_bounds__(...)

static uint3 at_block, at_thread;
static dim3 of_grid, of_block;
#define blockIdx at_block
#define threadIdx at_thread
#define gridDim of_grid
#define blockDim of_block

extern "C" int launches;
#define LAUNCH(grid, block, ...) { \
    launches++; of_grid = dim3 grid; of_block = dim3 block; \
    for (at_block.z = 0; at_block.z < of_grid.z; at_block.z++) \
    for (at_block.y = 0; at_block.y < of_grid.y; at_block.y++) \
    for (at_block.x = 0; at_block.x < of_grid.x; at_block.x++) BLOCK(__VA_ARGS__) }

#ifndef WAITS
#define BLOCK(...) \
    for (at_thread.z = 0; at_thread.z < of_block.z; at_thread.z++) \
    for (at_thread.y = 0; at_thread.y < of_block.y; at_thread.y++) \
    for (at_thread.x = 0; at_thread.x < of_block.x; at_thread.x++) __VA_ARGS__;
#else
#define BLOCK(...) run_block([&] { __VA_ARGS__; });
#undef __shared__
#define __shared__ static

struct Thread {
    ucontext_t context;
    std::vector<char> stack = std::vector<char>(1 << 16);
    bool done;
};
static std::vector<Thread> threads;
static ucontext_t turns;
static unsigned current;
static std::function<void()> work;

static void begin() {
    work();
    threads[current].done = true;
}

static void run_block(std::function<void()> call) {
    const unsigned count = of_block.x * of_block.y;
    work = call;
    if (threads.size() < count) threads.resize(count);
    for (unsigned i = 0; i < count; i++) {
        Thread& thread = threads[i];
        thread.done = false;
        getcontext(&thread.context);
        thread.context.uc_stack.ss_sp = thread.stack.data();
        thread.context.uc_stack.ss_size = thread.stack.size();
        thread.context.uc_link = &turns;
        makecontext(&thread.context, begin, 0);
    }
    for (bool any = true; any;) {
        any = false;
        for (current = 0; current < count; current++) {
            if (threads[current].done) continue;
            at_thread = {current % of_block.x, current / of_block.x, 0};
            swapcontext(&turns, &threads[current].context);
            any = any || !threads[current].done;
        }
    }
}

static void __syncthreads() { swapcontext(&threads[current].context, &turns); }
static float __shfl_xor_sync(unsigned, float x, int step) {
    static float lanes[1024];
    lanes[current] = x;
    __syncthreads();
    const float other = lanes[current ^ step];
    __syncthreads();
    return other;
}
#endif

template <class To, class From> static inline To same_bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "");
    To to;
    memcpy(&to, &from, sizeof to);
    return to;
}
#define __float_as_int same_bits<int, float>
#define __int_as_float same_bits<float, int>
#define __double_as_longlong same_bits<long long, double>
#define __longlong_as_double same_bits<double, long long>

template <class T> using same = typename std::common_type<T>::type;
#define ATOMIC(name, value) template <class T> static inline T name(T* p, same<T> x) { \
    T old = *p; *p = value; return old; }
ATOMIC(atomicAdd, old + x)
ATOMIC(atomicMax, old > x ? old : x)
ATOMIC(atomicMin, old < x ? old : x)
ATOMIC(atomicExch, x)
ATOMIC(atomicAnd, old & x)
ATOMIC(atomicOr, old | x)
ATOMIC(atomicXor, old ^ x)
template <class T> static inline T atomicCAS(T* p, same<T> expected, same<T> x) {
    T old = *p;
    if (old == expected) *p = x;
    return old;
}

template <class T> static inline T max(T a, T b) { return a > b ? a : b; }
template <class T> static inline T min(T a, T b) { return a < b ? a : b; }
static inline unsigned __umulhi(unsigned a, unsigned b) { return (unsigned long)a * b >> 32; }
static inline float rsqrtf(float x) { return 1 / sqrtf(x); }
static inline double rsqrt(double x) { return 1 / sqrt(x); }
