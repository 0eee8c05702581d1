"""The network's linear operators, each with gradients of any order.

They call the operators of `ops/` on the CPU, and of `cuda_ops/` on CUDA. Jittor's own expressions
for them mean the same, and are what the tests compare with, but there each pattern of forward,
gradient and double gradient is a kernel to be compiled in seconds, and to be recognised as a
convolution every time.
"""
from backend import cuda_ops, has_winograd, jt, uses_amp
from backend import onednn_ops as ops


def on_cpu():
    """Whether the operators of ops/ compute: not on CUDA, nor where oneDNN is missing."""
    return ops is not None and not jt.flags.use_cuda


def on_gpu():
    return bool(jt.flags.use_cuda)


class Operator(jt.Function):
    """A jt.Function whose gradient can be differentiated again, and that holds no memory in vain.

    What `compute` is given is cut from the graph, so `grad` has to use the `inputs` kept here:
    those of the positions in `keeps`. Jittor holds everything that it believes a gradient could
    need, so `compute` runs where it believes in none; and a gradient that is asked for under
    jt.no_grad() is the last one, after which nothing is kept.
    """

    keeps = None

    def __call__(self, *inputs):
        if not jt.flags.no_grad:
            self.inputs = [x if self.keeps is None or i in self.keeps else None
                           for i, x in enumerate(inputs)]
        return super().__call__(*inputs)

    def execute(self, *inputs):
        before, jt.flags.no_grad = jt.flags.no_grad, 1
        try:
            return self.compute(*inputs)
        finally:
            jt.flags.no_grad = before

    def _grad(self, *douts):
        gradients = super()._grad(*douts)
        if jt.flags.no_grad:
            self.__dict__.clear()
        return gradients


# Convolutions: each of the three is linear in both operands, and their gradients are each other --


class Convolution(Operator):
    """x [N, I, H, W], weight → [N, O, H', W']; on a CPU, `wformat` "oihw" or "iohw" says how weight
    lies; on CUDA, `scale` multiplies all of it."""

    def __init__(self, stride, padding, wformat="oihw", scale=1.0):
        self.stride, self.padding, self.wformat, self.scale = stride, padding, wformat, scale

    def same(self):
        return self.stride, self.padding, self.wformat, self.scale

    def geometry(self):
        return (self.stride, self.stride, self.padding, self.padding, 1, 1, 1,
                "abcd", self.wformat, "abcd")

    def on_cuda(self, kind, a, b, shape):
        return cuda_ops.cuda_conv(a, b, kind, shape, self.stride, self.padding, self.scale)

    def compute(self, x, weight):
        if on_cpu():
            return ops.mkl_conv(x, weight, *self.geometry())
        kernel = weight.shape[2] - 2 * self.padding
        sides = [(side - kernel) // self.stride + 1 for side in x.shape[2:]]
        return self.on_cuda(0, x, weight, [x.shape[0], weight.shape[0], *sides])

    def grad(self, dy):
        x, weight = self.inputs
        return (ConvolutionBackwardX(*self.same(), x.shape[2:])(weight, dy),
                ConvolutionBackwardW(*self.same(), weight.shape[2:])(x, dy))


class ConvolutionBackwardX(Convolution):
    """weight, dy → dx: the gradient of Convolution with respect to x, [N, I, *extent]."""

    def __init__(self, stride, padding, wformat, scale, extent):
        super().__init__(stride, padding, wformat, scale)
        self.extent = tuple(extent)

    def compute(self, weight, dy):
        if on_cpu():
            return ops.mkl_conv_backward_x(weight, dy, *self.extent, *self.geometry())
        return self.on_cuda(1, weight, dy, [dy.shape[0], weight.shape[1], *self.extent])

    def grad(self, g):
        weight, dy = self.inputs
        return (ConvolutionBackwardW(*self.same(), weight.shape[2:])(g, dy),
                Convolution(*self.same())(g, weight))


class ConvolutionBackwardW(Convolution):
    """x, dy → dweight: the gradient of Convolution with respect to the weight."""

    def __init__(self, stride, padding, wformat, scale, kernel):
        super().__init__(stride, padding, wformat, scale)
        self.kernel = tuple(kernel)

    def compute(self, x, dy):
        if on_cpu():
            return ops.mkl_conv_backward_w(x, dy, *self.kernel, *self.geometry())
        return self.on_cuda(2, x, dy, [dy.shape[1], x.shape[1], *self.kernel])

    def grad(self, g):
        x, dy = self.inputs
        return (ConvolutionBackwardX(*self.same(), x.shape[2:])(g, dy),
                Convolution(*self.same())(x, g))


class Winograd(Operator):
    """x [N, I, H, W], weight → y: a 3×3 convolution by the algorithms of ops/winograd.h.

    `form` is one of those of `winograd`; `adjoint` is the gradient of the other one of a pair of
    these, whose weight it takes.
    """

    ADJOINT = {"same": "same", "up": "down", "down": "up", "smooth_up": "smooth_down",
               "smooth_down": "smooth_up"}

    def __init__(self, form, adjoint=False, scale=1.0):
        self.form, self.adjoint, self.scale = form, adjoint, scale

    def compute(self, x, weight):
        return ops.winograd(x, weight, self.form, self.adjoint, self.scale)

    def grad(self, dy):
        (x, weight), back = self.inputs, self.ADJOINT[self.form]
        dx = Winograd(back, not self.adjoint, self.scale)(dy, weight)
        if self.adjoint:
            return dx, WinogradGradient(back, self.scale)(dy, x)
        return dx, WinogradGradient(self.form, self.scale)(x, dy)


class WinogradGradient(Winograd):
    """x, dy → dweight: the gradient of Winograd, not adjoint, with respect to the weight."""

    def __init__(self, form, scale):
        super().__init__(form, False, scale)

    def compute(self, x, dy):
        return ops.winograd_gradient(x, dy, self.form, self.scale)

    def grad(self, g):
        x, dy = self.inputs
        return (Winograd(self.ADJOINT[self.form], True, self.scale)(dy, g),
                Winograd(self.form, False, self.scale)(x, g))


def winograd(x, weight, form, scale=1.0):
    """scale · form(x, weight) for a 3×3 convolution: [N, I, H, W], [O, I, 3, 3] → [N, O, H', W'].

    form: "same", "up" (nearest ×2 before it) or "down" (2×2 sums after it); or StyleGAN2's, with
    its filter as [1, 3, 3, 1] ⊗ [1, 3, 3, 1] / 16: "smooth_up" (transposed in steps of 2, then the
    filter, zero padded by 1) and "smooth_down" (the filter, zero padded by 2, then in steps of 2).
    Only where `best_form` says "winograd".
    """
    return Winograd(form, False, scale)(x, weight)


NARROWEST_WINOGRAD = {"same": 16, "up": 64, "down": 64, "smooth_up": 32, "smooth_down": 32}


def best_form(form, weight):
    """How a layer runs: "winograd" (ops/winograd.h), "fused" (one strided 4×4 convolution) or
    "plain" (oneDNN's or cuDNN's 3×3 convolution, with the sampling beside it).

    A fixed table by width and device, measured by bench/conv_table.py, never chosen by timing.
    """
    if weight.shape[-1] != 3:
        return "plain"
    narrower = min(weight.shape[:2])
    if on_cpu() and has_winograd and narrower >= NARROWEST_WINOGRAD[form]:
        return "winograd"
    # cuDNN has algorithms of fewer multiplications for wide 3×3 convolutions in float32, and none
    # that is good for strided ones; with matrix units it is the other way round.
    if form not in ("up", "down") or on_gpu() and narrower > 64 and not uses_amp():
        return "plain"
    return "fused"


def conv2d(x, weight, stride=1, padding=0, scale=1.0):
    """scale · a convolution: x [N, I, H, W], weight [O, I, K, K] → [N, O, H', W'], zero padded."""
    if on_gpu():
        return Convolution(stride, padding, scale=scale)(x, weight)
    weight = weight * scale if scale != 1 else weight
    if on_cpu():
        return Convolution(stride, padding)(x, weight)
    return jt.nn.conv2d(x, weight, stride=stride, padding=padding)


def conv_transpose2d(x, weight, stride, padding, transposed=False):
    """x [N, I, H, W], weight [O, I, K, K], or, `transposed`, [I, O, K, K] → [N, O, H', W'], with
    H' = (H − 1) · stride + K − 2 · padding.

    The adjoint of a strided convolution.
    """
    extent = [(side - 1) * stride + weight.shape[-1] - 2 * padding for side in x.shape[2:]]
    if on_cpu():
        wformat = "oihw" if transposed else "iohw"
        return ConvolutionBackwardX(stride, padding, wformat, 1, extent)(weight, x)
    weight = weight if transposed else weight.transpose(1, 0, 2, 3)
    if on_gpu():
        return ConvolutionBackwardX(stride, padding, "oihw", 1, extent)(weight, x)
    return jt.nn.conv_transpose2d(x, weight, stride=stride, padding=padding)


class Product(Operator):
    """a, b → scale · op(a) · op(b), both matrices, op transposes where asked."""

    def __init__(self, transpose_a, transpose_b, scale):
        self.transpose_a, self.transpose_b, self.scale = transpose_a, transpose_b, scale

    def compute(self, a, b):
        product = ops.mkl_matmul if on_cpu() else cuda_ops.cuda_product
        return product(a, b, self.transpose_a, self.transpose_b, self.scale)

    def grad(self, g):
        (a, b), ta, tb, scale = self.inputs, self.transpose_a, self.transpose_b, self.scale
        da = Product(tb, True, scale)(b, g) if ta else Product(False, not tb, scale)(g, b)
        db = Product(True, ta, scale)(g, a) if tb else Product(not ta, False, scale)(a, g)
        return da, db


def matmul(a, b, transpose_b=False, scale=1.0):
    """scale · [N, K] · [K, M] → [N, M]; b is [M, K] with transpose_b."""
    if on_cpu() or on_gpu():
        return Product(False, transpose_b, scale)(a, b)
    b = b * scale if scale != 1 else b
    return jt.nn.matmul_transpose(a, b) if transpose_b else jt.nn.matmul(a, b)
