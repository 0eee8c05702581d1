// 3x3 convolutions with fewer multiplications, on any CPU (Winograd's minimal filtering).
//
// A convolution becomes three steps: transform tiles of x (additions, few products by constants),
// multiply matrices, one per point of a tile, and transform the products back. See winograd.cc.
#pragma once

namespace stylegan {

// What a layer does around its convolution (3x3, zero padding 1): nothing, nearest x2 before it,
// or the sum of 2x2 after it. UP and DOWN are each other's adjoints, SAME is its own.
// SMOOTH_DOWN filters with [1, 3, 3, 1] / 4 in both directions before the convolution, which goes in
// steps of two; SMOOTH_UP is its adjoint, with the same w (see backend/resample.py).
enum Form { SAME, UP, DOWN, SMOOTH_UP, SMOOTH_DOWN };

struct Layer {
    Form form;
    int batch, from, to;    // pictures, channels of x, channels of y
    int height, width;      // of x; multiples of 4, of 8 for DOWN and SMOOTH_DOWN
    bool adjoint;           // w is [from, to, 3, 3], else [to, from, 3, 3]
    float scale;            // multiplies w

    // The adjoint of a convolution has its taps in reverse.
    bool turned() const { return adjoint && (form == SAME || form == UP || form == DOWN); }
};

// y = form(x, scale * w): x [batch, from, H, W], y [batch, to, H', W'].
void convolve_3x3(const Layer& layer, const float* x, const float* w, float* y);

// dw = d<dy, y> / dw of the above, [to, from, 3, 3]; not for adjoint layers.
void convolve_3x3_gradient(const Layer& layer, const float* x, const float* dy, float* dw);

}  // namespace stylegan
