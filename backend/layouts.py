"""Arrays that are only laid out otherwise: the styles of layers, and 3×3 weights as 4×4 kernels.

On a GPU one kernel each (fused_cuda.py), for Jittor starts several, and more in the gradients.
"""
from backend import fused_cuda, jt
from backend.fused import cuda_code
from backend.kernels import Operator, on_gpu


class Spread(Operator):
    """On a GPU: a weight [O, I, 3, 3] → scale · the sum of its four shifts, [O, I, 4, 4], or, where
    `transposed`, [I, O, 4, 4]; `flip` turns the weight first."""

    keeps = ()

    def __init__(self, flip, transposed, scale):
        self.flip, self.transposed, self.scale = flip, transposed, scale

    def run(self, kernel, x, side):
        outputs, inputs = x.shape[:2]
        shape = [inputs, outputs] if self.transposed else [outputs, inputs]
        constants = (f"constexpr bool FLIP = {int(self.flip)}, "
                     f"TRANSPOSED = {int(self.transposed)};")
        return cuda_code(kernel, [[*shape, side, side]], [x], constants, scale=self.scale)[0]

    def compute(self, weight):
        return self.run(fused_cuda.SPREAD, weight, 4)

    def grad(self, g):
        return Gather(self.flip, self.transposed, self.scale)(g)


class Gather(Spread):
    """The adjoint of Spread."""

    def compute(self, g):
        return self.run(fused_cuda.GATHER, g, 3)

    def grad(self, g):
        return Spread(self.flip, self.transposed, self.scale)(g)


class Split(Operator):
    """On a GPU: [N, layers, D] → one [N, D] for each layer; Jittor starts a kernel for each, and
    three in its gradient."""

    keeps = ()

    def compute(self, styles):
        self.shape = n, depth, width = styles.shape
        return tuple(cuda_code(fused_cuda.SPLIT(depth), [[n, width]] * depth, [styles]))

    def grad(self, *parts):
        return Stack.apply(*(jt.zeros(self.shape[0], self.shape[2]) if part is None else part
                             for part in parts))


class Stack(Operator):
    keeps = ()

    def compute(self, *parts):
        n, width = parts[0].shape
        return cuda_code(fused_cuda.STACK(len(parts)), [[n, len(parts), width]], list(parts))[0]

    def grad(self, dy):
        return Split.apply(dy)


def split(styles):
    """The style of each layer, a list of [N, D], of styles [N, layers, D]."""
    if on_gpu():
        return Split.apply(styles)
    return [styles[:, i] for i in range(styles.shape[1])]
