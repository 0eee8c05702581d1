#pragma once
#include <cstdint>
#include <vector>

// What is done with all parameters of a network at once: a kernel for each of them, of which there
// are a hundred, would take longer to be started than to run.
namespace stylegan {

constexpr int BLOCKS = 64;              // of threads, for each parameter

struct Arrays {                         // of one parameter, each of `length` numbers on the GPU
    float* array[5];
    int64_t length;
};

// p, g, v → new p, new v; see ops/adam_op.h. `partial` has BLOCKS doubles for each parameter.
void adam(const std::vector<Arrays>& lists, const float* loss, const float* size, float beta2,
          float epsilon, float* sound, float* norm, double* partial);
// a, b → a + (b - a) · amount
void move(const std::vector<Arrays>& lists, const float* amount);
// old → kept, where `sound` is 0
void keep(const std::vector<Arrays>& lists, const float* sound);

} // stylegan
