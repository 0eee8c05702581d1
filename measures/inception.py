"""The features of FID, KID, precision and recall: the Inception-v3 network of 2015, pool 3.

Szegedy et al., "Rethinking the Inception Architecture" (2015), with the weights and the small
differences of the TensorFlow graph that Heusel et al. 2017 measured FID with. The weights are read
from the public PyTorch file of them, which the user names.
"""
import numpy as np

from backend.errors import UserError
from measures.weights_file import read_state

FEATURES, INPUT = 2048, 299
WHERE = ("github.com/mseitzer/pytorch-fid, release fid_weights, file "
         "pt_inception-2015-12-05-6726825d.pth")

# Name of a convolution: (channels out, kernel height, width, stride); inside a mixed block the
# branches, each a chain, are joined in this order. A trailing list is a fork of two.
STEM = {"Conv2d_1a_3x3": (32, 3, 3, 2, "valid"), "Conv2d_2a_3x3": (32, 3, 3, 1, "valid"),
        "Conv2d_2b_3x3": (64, 3, 3, 1, "same"), "pool1": None,
        "Conv2d_3b_1x1": (80, 1, 1, 1, "valid"), "Conv2d_4a_3x3": (192, 3, 3, 1, "valid"),
        "pool2": None}


def block_a(pooled):
    return [[("branch1x1", 64, 1, 1, 1)],
            [("branch5x5_1", 48, 1, 1, 1), ("branch5x5_2", 64, 5, 5, 1)],
            [("branch3x3dbl_1", 64, 1, 1, 1), ("branch3x3dbl_2", 96, 3, 3, 1),
             ("branch3x3dbl_3", 96, 3, 3, 1)],
            ["average", ("branch_pool", pooled, 1, 1, 1)]]


def block_b():
    return [[("branch3x3", 384, 3, 3, 2)],
            [("branch3x3dbl_1", 64, 1, 1, 1), ("branch3x3dbl_2", 96, 3, 3, 1),
             ("branch3x3dbl_3", 96, 3, 3, 2)],
            ["halve"]]


def block_c(width):
    return [[("branch1x1", 192, 1, 1, 1)],
            [("branch7x7_1", width, 1, 1, 1), ("branch7x7_2", width, 1, 7, 1),
             ("branch7x7_3", 192, 7, 1, 1)],
            [("branch7x7dbl_1", width, 1, 1, 1), ("branch7x7dbl_2", width, 7, 1, 1),
             ("branch7x7dbl_3", width, 1, 7, 1), ("branch7x7dbl_4", width, 7, 1, 1),
             ("branch7x7dbl_5", 192, 1, 7, 1)],
            ["average", ("branch_pool", 192, 1, 1, 1)]]


def block_d():
    return [[("branch3x3_1", 192, 1, 1, 1), ("branch3x3_2", 320, 3, 3, 2)],
            [("branch7x7x3_1", 192, 1, 1, 1), ("branch7x7x3_2", 192, 1, 7, 1),
             ("branch7x7x3_3", 192, 7, 1, 1), ("branch7x7x3_4", 192, 3, 3, 2)],
            ["halve"]]


def block_e(pool):
    return [[("branch1x1", 320, 1, 1, 1)],
            [("branch3x3_1", 384, 1, 1, 1),
             [("branch3x3_2a", 384, 1, 3, 1), ("branch3x3_2b", 384, 3, 1, 1)]],
            [("branch3x3dbl_1", 448, 1, 1, 1), ("branch3x3dbl_2", 384, 3, 3, 1),
             [("branch3x3dbl_3a", 384, 1, 3, 1), ("branch3x3dbl_3b", 384, 3, 1, 1)]],
            [pool, ("branch_pool", 192, 1, 1, 1)]]


# "average" leaves the border's padding out of its means; the last block's pool is a maximum, which
# is an error of that graph, and part of what FID is.
MIXED = {"Mixed_5b": block_a(32), "Mixed_5c": block_a(64), "Mixed_5d": block_a(64),
         "Mixed_6a": block_b(), "Mixed_6b": block_c(128), "Mixed_6c": block_c(160),
         "Mixed_6d": block_c(160), "Mixed_6e": block_c(192), "Mixed_7a": block_d(),
         "Mixed_7b": block_e("average"), "Mixed_7c": block_e("maximum")}


def convolutions():
    """Yields (name in the file, channels in, channels out, kernel height, width)."""
    channels = 3
    for name, form in STEM.items():
        if form:
            yield name, channels, *form[:3]
            channels = form[0]
    for block, branches in MIXED.items():
        joined = 0
        for branch in branches:
            width = channels
            for part in branch:
                if isinstance(part, tuple):
                    yield f"{block}.{part[0]}", width, *part[1:4]
                    width = part[1]
                elif isinstance(part, list):
                    for fork in part:
                        yield f"{block}.{fork[0]}", width, *fork[1:4]
                    width = sum(fork[1] for fork in part)
            joined += width
        channels = joined


def shapes():
    """{name: shape} of what is used of the file."""
    result = {}
    for name, fan_in, fan_out, height, width in convolutions():
        result[f"{name}.conv.weight"] = (fan_out, fan_in, height, width)
        for part in ("weight", "bias", "running_mean", "running_var"):
            result[f"{name}.bn.{part}"] = (fan_out,)
    return result


class Inception:
    """Pictures → features [N, 2048]. path: of the weights in PyTorch's format."""

    def __init__(self, path):
        from backend import jt
        state = read_state(path, shapes(), "the Inception weights of FID: " + WHERE)
        self.weights, self.layers = {}, {}
        for name, *_ in convolutions():
            # The batch norm is folded into the convolution.
            scale = state[f"{name}.bn.weight"] / np.sqrt(state[f"{name}.bn.running_var"] + 1e-3)
            bias = state[f"{name}.bn.bias"] - state[f"{name}.bn.running_mean"] * scale
            weight = state[f"{name}.conv.weight"] * scale[:, None, None, None]
            self.weights[name] = jt.array(weight).stop_grad(), jt.array(bias).stop_grad()

    def features(self, pixels, seen=lambda name, x: None):
        """uint8 [N, C, H, W] → NumPy float32 [N, 2048]. seen(name, Var): called at every block."""
        from backend import jt
        with jt.no_grad():
            x = jt.array(pixels.astype("float32"))
            if x.shape[1] == 1:
                x = jt.concat([x, x, x], 1)
            if x.shape[1] == 4:                     # premultiplied, over white
                x = x[:, :3] + 255 - x[:, 3:]
            x = jt.nn.interpolate(x, (INPUT, INPUT), mode="bilinear") / 127.5 - 1
            for name, form in STEM.items():
                if form:
                    x = self.convolve(name, x, form[3], form[4] == "same")
                else:
                    x = jt.nn.max_pool2d(x, 3, 2)
                seen(name, x)
            for block, branches in MIXED.items():
                x = jt.concat([self.branch(block, branch, x) for branch in branches], 1)
                seen(block, x)
            return x.mean((2, 3)).numpy()

    def branch(self, block, branch, x):
        from backend import jt
        for part in branch:
            if part == "average":
                x = mean_of_neighbours(x)
            elif part == "maximum":
                x = jt.nn.max_pool2d(x, 3, 1, 1)
            elif part == "halve":
                x = jt.nn.max_pool2d(x, 3, 2)
            elif isinstance(part, tuple):
                x = self.convolve(f"{block}.{part[0]}", x, part[4], part[4] == 1)
            else:
                x = jt.concat([self.convolve(f"{block}.{fork[0]}", x) for fork in part], 1)
        return x

    def convolve(self, name, x, stride=1, same=True):
        from backend import jt
        weight, bias = self.weights[name]
        padding = tuple(extent // 2 if same else 0 for extent in weight.shape[2:])
        x = jt.nn.conv2d(x, weight, stride=stride, padding=padding)
        return jt.nn.relu(x + bias.reshape(1, -1, 1, 1))


def mean_of_neighbours(x):
    """3×3 means, at the border of fewer pixels."""
    from backend import jt
    ones = jt.ones(1, 1, *x.shape[2:])
    sums, counts = (jt.nn.avg_pool2d(y, 3, 1, 1) for y in (x, ones))
    return sums / counts


def needs(flag):
    """What a user is told who asks for a measure without the weights."""
    return UserError(f"{flag} needs the Inception weights of FID: type --inception FILE, with the "
                     f"file from {WHERE}")
