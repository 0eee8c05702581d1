"""float64 NumPy forms of the layers, written apart from model.py, to compare with."""
import numpy as np


def conv2d(x, w, stride=1, padding=0):
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding)))
    windows = np.lib.stride_tricks.sliding_window_view(x, w.shape[2:], (2, 3))
    return np.einsum("nchwij,ocij->nohw", windows[:, :, ::stride, ::stride], w)


def lrelu(x):
    return np.where(x > 0, x, 0.2 * x)


def upsample(x):
    return x.repeat(2, 2).repeat(2, 3)


def downsample(x):
    n, c, h, w = x.shape
    return x.reshape(n, c, h // 2, 2, w // 2, 2).mean((3, 5))


def conv_transpose2d(x, w, stride):
    """w [out, in, K, K]: each pixel paints its kernel."""
    n, c, height, width = x.shape
    spread = np.zeros((n, c, (height - 1) * stride + 1, (width - 1) * stride + 1))
    spread[:, :, ::stride, ::stride] = x
    return conv2d(spread, w[:, :, ::-1, ::-1], padding=w.shape[-1] - 1)


def filtered(x, taps, padding):
    """Each channel by taps ⊗ taps, which are symmetric; padding: (before, after)."""
    x = np.pad(x, ((0, 0), (0, 0), padding, padding))
    kernel = np.outer(taps, taps)[None, None]
    return np.stack([conv2d(x[:, c:c + 1], kernel)[:, 0] for c in range(x.shape[1])], 1)


def blur(x):
    return filtered(x, np.array([1, 2, 1]) / 4, (1, 1))


class Weights:
    """Parameters of a network in float64, scaled as the equalised learning rate says."""

    def __init__(self, network):
        self.values = {k: p.numpy().astype("float64") for k, p in network.named_parameters()}

    def __getitem__(self, name):
        return self.values[name]

    def scaled(self, layer, gain=2 ** 0.5, lrmul=1.0):
        w = self.values[layer + ".weight"]
        return w * gain * lrmul / np.sqrt(np.prod(w.shape[1:]))

    def bias(self, layer, shape=(1, -1, 1, 1)):
        return self.values[layer + ".bias"].reshape(shape)


def generator(network, z, size, alpha=1.0, noise=None, labels=None):
    """The official synthesis, layer by layer: epilogue = noise, bias, lrelu, norm, style."""
    p = Weights(network)
    if labels is not None:
        z = np.concatenate([z, labels @ p["mapping.embed.weight"].T], 1)
    w = z / np.sqrt((z ** 2).mean(1, keepdims=True) + 1e-8)
    for i in range(network.config.mapping_layers):
        layer = f"mapping.layers.{i}"
        w = lrelu(w @ p.scaled(layer, lrmul=0.01).T + p[layer + ".bias"] * 0.01)

    def epilogue(x, name, index):
        if noise is not None:
            x = x + noise[index] * p[name + ".noise_weight"].reshape(1, -1, 1, 1)
        x = lrelu(x + p.bias(name))
        x = x - x.mean((2, 3), keepdims=True)
        x = x / np.sqrt((x ** 2).mean((2, 3), keepdims=True) + 1e-8)
        style = w @ p.scaled(name + ".style", gain=1).T + p[name + ".style.bias"]
        scale, shift = np.split(style[:, :, None, None], 2, 1)
        return x * (scale + 1) + shift

    def to_rgb(x, s):
        return conv2d(x, p.scaled(f"synthesis.to_rgb{s}", gain=1)) + p.bias(f"synthesis.to_rgb{s}")

    s, index, previous = 4, 0, None
    while s <= size:
        name = f"synthesis.block{s}"
        if s == 4:
            x = p[name + ".const"].repeat(len(z), 0)
        else:
            previous = x
            x = blur(conv2d(upsample(x), p.scaled(name + ".conv0"), padding=1))
        x = epilogue(x, name + ".epilogue0", index)
        x = conv2d(x, p.scaled(name + ".conv1"), padding=1)
        x = epilogue(x, name + ".epilogue1", index + 1)
        s, index = 2 * s, index + 2
    image = to_rgb(x, size)
    if alpha < 1:
        image = alpha * image + (1 - alpha) * upsample(to_rgb(previous, size // 2))
    return image


def stddev_channel(x):
    n = len(x)
    group = max(g for g in (1, 2, 3, 4) if n % g == 0)
    values = np.empty(n)
    for first in range(n // group):
        members = [first + k * (n // group) for k in range(group)]
        values[members] = np.sqrt(x[members].var(0) + 1e-8).mean()
    return values.reshape(n, 1, 1, 1) * np.ones((1, 1, 4, 4))


def discriminator(network, images, alpha=1.0, labels=None):
    p = Weights(network)

    def from_rgb(x):
        s = x.shape[-1]
        return lrelu(conv2d(x, p.scaled(f"from_rgb{s}")) + p.bias(f"from_rgb{s}"))

    x, s = from_rgb(images), images.shape[-1]
    while s > 4:
        name = f"block{s}"
        x = lrelu(conv2d(x, p.scaled(name + ".conv0"), padding=1) + p.bias(name + ".conv0"))
        x = downsample(conv2d(blur(x), p.scaled(name + ".conv1"), padding=1))
        x = lrelu(x + p.bias(name + ".conv1"))
        if s == images.shape[-1] and alpha < 1:
            x = alpha * x + (1 - alpha) * from_rgb(downsample(images))
        s //= 2
    x = np.concatenate([x, stddev_channel(x)], 1)
    x = lrelu(conv2d(x, p.scaled("head.conv"), padding=1) + p.bias("head.conv")).reshape(len(x), -1)
    x = lrelu(x @ p.scaled("head.dense0").T + p["head.dense0.bias"])
    x = x @ p.scaled("head.dense1", gain=1).T + p["head.dense1.bias"]
    return x if labels is None else (x * labels).sum(1, keepdims=True)


def second_difference(f, arrays, u, d, step=1e-4):
    """uᵀ H d of a function of float64 arrays, H its second derivative: central differences."""
    def at(a, b):
        return f(*(x + a * v + b * w for x, v, w in zip(arrays, u, d)))
    return (at(step, step) - at(step, -step) - at(-step, step) + at(-step, -step)) / (4 * step ** 2)


def first_difference(f, arrays, d, step=1e-5):
    """The derivative of a function of float64 arrays in the direction d."""
    return (f(*(x + step * w for x, w in zip(arrays, d))) -
            f(*(x - step * w for x, w in zip(arrays, d)))) / (2 * step)
