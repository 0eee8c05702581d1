"""Random weights of the networks that measure pictures, as golden/ was made with."""
import numpy as np

from measures import inception, lpips


def inception_weights():
    """{name: array}: activations keep their size from layer to layer."""
    rng, weights = np.random.RandomState(0), {}
    for name, shape in inception.shapes().items():
        values = rng.standard_normal(shape)
        if name.endswith("conv.weight"):
            values *= np.sqrt(2 / np.prod(shape[1:]))
        elif name.endswith(("running_mean", "bn.bias")):
            values *= 0.1
        else:
            values = 1 + 0.1 * np.abs(values)
        weights[name] = values.astype("float32")
    return weights


def inception_pictures():
    """uint8 [2, 3, 64, 64]: noise in large and small blocks."""
    rng = np.random.RandomState(1)
    blocks = [rng.randint(0, 64, (2, 3, s, s)).repeat(64 // s, 2).repeat(64 // s, 3)
              for s in (4, 8, 32, 64)]
    return sum(blocks).astype("uint8")


def lpips_weights():
    rng, weights = np.random.RandomState(2), {}
    for name, shape in lpips.shapes().items():
        values = rng.standard_normal(shape)
        if name.startswith("lin"):
            values = np.abs(values)
        else:
            values *= np.sqrt(2 / np.prod(shape[1:])) if len(shape) == 4 else 0.1
        weights[name] = values.astype("float32")
    return weights
