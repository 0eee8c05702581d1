// Gradients of 3x3 convolutions from bfloat16 products, on processors that have AMX: --amp.
//
// Both operands are rounded to the 8 bits of bfloat16, each product is exact, and sums are float32.
// Forward passes are winograd.cc's, at most split (amx.h): rounded to 8 bits there, so many
// activations would change their sign that gradients were off by a tenth.
#pragma once
#include "winograd.h"

namespace stylegan {

// Whether a layer's other products are to be of numbers that are split (amx.h): STYLEGAN1_AMP is
// set, and there is AMX.
bool wants_split(const Layer& layer);

// Whether convolve_3x3 of an adjoint layer, or the gradient with respect to w, is to be computed so:
// STYLEGAN1_AMP is set, and it is faster.
bool wants_bfloat16(const Layer& layer, bool of_weights);

// As convolve_3x3 and convolve_3x3_gradient of winograd.h.
void convolve_bfloat16(const Layer& layer, const float* x, const float* w, float* y);
void convolve_bfloat16_gradient(const Layer& layer, const float* x, const float* dy, float* dw);

}  // namespace stylegan
