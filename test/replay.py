"""Steps of training in float64 NumPy, from the papers, sharing no code with the project or bench/.

A small reverse-mode differentiation whose gradients are made of the same operations, so that they
can be differentiated again (R1, WGAN-GP), and on it both networks and one iteration of them.
"""
import math

import numpy as np

# Differentiation ----------------------------------------------------------------------------------


class T:
    """An array, and how a gradient by it becomes gradients by what it was made from."""

    def __init__(self, value, *parents):
        self.value, self.parents = np.asarray(value, "float64"), parents
        self.shape = self.value.shape

    def __add__(self, other):
        other = other if isinstance(other, T) else T(other)
        return T(self.value + other.value, (self, lambda g: sum_to(g, self.shape)),
                 (other, lambda g: sum_to(g, other.shape)))

    def __mul__(self, other):
        other = other if isinstance(other, T) else T(other)
        return T(self.value * other.value, (self, lambda g: sum_to(g * other, self.shape)),
                 (other, lambda g: sum_to(g * self, other.shape)))

    def __pow__(self, p):
        return T(self.value ** p, (self, lambda g: g * p * self ** (p - 1)))

    def __sub__(self, other):
        return self + other * -1

    def __matmul__(self, other):
        return T(self.value @ other.value, (self, lambda g: g @ other.transpose(1, 0)),
                 (other, lambda g: self.transpose(1, 0) @ g))

    def transpose(self, *axes):
        back = np.argsort(axes)
        return T(self.value.transpose(axes), (self, lambda g: g.transpose(*back)))

    def reshape(self, *shape):
        return T(self.value.reshape(shape), (self, lambda g: g.reshape(*self.shape)))

    def sum(self, *axes):
        shape = [1 if i in axes or not axes else n for i, n in enumerate(self.shape)]
        return sum_to(self, tuple(shape))

    def mean(self, *axes):
        total = self.sum(*axes)
        return total * (total.value.size / self.value.size)


def sum_to(x, shape):
    """The sum over the axes in which `shape` is smaller."""
    if x.shape == shape:
        return x
    value = x.value
    if len(shape) < value.ndim:
        value = value.sum(tuple(range(value.ndim - len(shape))))
    axes = tuple(i for i, n in enumerate(shape) if n == 1 and value.shape[i] != 1)
    return T(value.sum(axes, keepdims=True), (x, lambda g: expand(g, x.shape)))


def expand(x, shape):
    return T(np.broadcast_to(x.value, shape), (x, lambda g: sum_to(g, x.shape)))


def take(x, index):
    """[R, P] → [R, K]: the columns of `index`, zeros where it is −1."""
    padded = np.concatenate([x.value, np.zeros((len(x.value), 1))], 1)
    return T(padded[:, index], (x, lambda g: put(g, index, x.shape[1])))


def put(x, index, count):
    """What turns take(…, index) round: [R, K] → [R, count], sums where a column comes again."""
    value = np.zeros((len(x.value), count + 1))
    np.add.at(value, (slice(None), index), x.value)
    return T(value[:, :count], (x, lambda g: take(g, index)))


def exp(x):
    return T(np.exp(x.value), (x, lambda g: g * exp(x)))


def log(x):
    return T(np.log(x.value), (x, lambda g: g * x ** -1))


def gradients(y, xs):
    """Of a y of one element by each of xs; can be differentiated again."""
    order, seen = [], set()

    def visit(x):
        if id(x) not in seen:
            seen.add(id(x))
            for parent, _ in x.parents:
                visit(parent)
            order.append(x)

    visit(y)
    found = {id(y): T(np.ones(y.shape))}
    for x in reversed(order):
        for parent, back in x.parents if id(x) in found else ():
            more = back(found[id(x)])
            found[id(parent)] = found[id(parent)] + more if id(parent) in found else more
    return [found.get(id(x), T(np.zeros(x.shape))) for x in xs]


# Layers -------------------------------------------------------------------------------------------


def neighbours(size, kernel):
    """[kernel², size²]: the pixel under each weight of the kernel for each pixel; −1: outside."""
    reach, index = kernel // 2, np.full((kernel * kernel, size * size), -1)
    for k, y, x in np.ndindex(kernel * kernel, size, size):
        row, column = y + k // kernel - reach, x + k % kernel - reach
        if 0 <= row < size and 0 <= column < size:
            index[k, y * size + x] = row * size + column
    return index


def conv(x, weight):
    n, c, size, _ = x.shape
    out, _, kernel, _ = weight.shape
    columns = take(x.reshape(n * c, size * size), neighbours(size, kernel).ravel())
    columns = columns.reshape(n, c, kernel * kernel, size * size).transpose(1, 2, 0, 3)
    result = weight.reshape(out, -1) @ columns.reshape(c * kernel * kernel, -1)
    return result.reshape(out, n, size, size).transpose(1, 0, 2, 3)


def blur(x):
    n, c, size, _ = x.shape
    around = take(x.reshape(n * c, size * size), neighbours(size, 3).ravel())
    weights = np.array([1, 2, 1, 2, 4, 2, 1, 2, 1]).reshape(1, 9, 1) / 16
    return (around.reshape(n * c, 9, size * size) * weights).sum(1).reshape(n, c, size, size)


def up(x):
    n, c, size, _ = x.shape
    index = np.arange(size * size).reshape(size, size).repeat(2, 0).repeat(2, 1).ravel()
    return take(x.reshape(n * c, size * size), index).reshape(n, c, 2 * size, 2 * size)


def down(x):
    n, c, size, _ = x.shape
    half = size // 2
    return x.reshape(n, c, half, 2, half, 2).mean(3, 5).reshape(n, c, half, half)


def lrelu(x):
    return x * np.where(x.value > 0, 1, 0.2)


def softplus(x):
    """log(1 + eˣ) = max(x, 0) + log(1 + e^−|x|)."""
    positive = np.where(x.value > 0, 1.0, 0.0)
    return x * positive + log(exp(x - x * (2 * positive)) + 1)


ROOT2 = math.sqrt(2)


class Net:
    """Parameters by the names of a .model file, as T; scaled where they are used."""

    def __init__(self, arrays):
        self.p = {name: T(a) for name, a in arrays.items()}

    def weight(self, layer, gain=ROOT2, lrmul=1.0):
        w = self.p[layer + ".weight"]
        return w * (gain * lrmul / math.sqrt(np.prod(w.shape[1:])))

    def bias(self, layer):
        return self.p[layer + ".bias"].reshape(1, -1, 1, 1)

    def dense(self, x, layer, gain=ROOT2, lrmul=1.0):
        return x @ self.weight(layer, gain, lrmul).transpose(1, 0) + self.p[layer + ".bias"] * lrmul


def style(G, z, layers, labels=None):
    """Behind the latents z [N, latent] stand as many numbers of the labels, [N, labels]."""
    embedded = None if labels is None else T(labels) @ G.p["mapping.embed.weight"].transpose(1, 0)
    square = (z ** 2).mean(1)
    if embedded:
        square = (square + (embedded ** 2).mean(1)) * 0.5
    norm = (square + 1e-8) ** -0.5
    x = z * norm
    for i in range(layers):
        layer = f"mapping.layers.{i}"
        if i == 0 and embedded:     # the weights of both apart: no joining of arrays is needed
            weight, width = G.weight(layer, lrmul=0.01), z.shape[1]
            by_latent, by_label = (take(weight, np.arange(j * width, (j + 1) * width))
                                   .transpose(1, 0) for j in (0, 1))
            x = x @ by_latent + (embedded * norm) @ by_label + G.p[layer + ".bias"] * 0.01
        else:
            x = G.dense(x, layer, lrmul=0.01)
        x = lrelu(x)
    return x


def synthesis(G, styles, noise, size, alpha):
    """styles: one T [N, D] per layer; noise: one array per layer. A T [N, C, size, size]."""
    def finish(x, name, layer):
        n, c, s, _ = x.shape
        x = x + G.p[name + ".noise_weight"].reshape(1, c, 1, 1) * noise[layer]
        x = lrelu(x + G.bias(name))
        x = x - x.mean(2, 3)
        x = x * ((x ** 2).mean(2, 3) + 1e-8) ** -0.5
        both = G.dense(styles[layer], name + ".style", gain=1)
        scale, shift = (take(both, np.arange(i * c, i * c + c)).reshape(n, c, 1, 1)
                        for i in (0, 1))
        return x * (scale + 1) + shift

    def rgb(x, s):
        return conv(x, G.weight(f"synthesis.to_rgb{s}", 1)) + G.bias(f"synthesis.to_rgb{s}")

    s, layer, before = 4, 0, None
    while s <= size:
        name = f"synthesis.block{s}"
        if s == 4:
            const = G.p[name + ".const"]
            x = expand(const, (styles[0].shape[0], *const.shape[1:]))
        else:
            before = x
            x = blur(conv(up(x), G.weight(name + ".conv0")))
        x = finish(x, name + ".epilogue0", layer)
        x = finish(conv(x, G.weight(name + ".conv1")), name + ".epilogue1", layer + 1)
        s, layer = 2 * s, layer + 2
    image = rgb(x, size)
    return image if alpha == 1 else image * alpha + up(rgb(before, size // 2)) * (1 - alpha)


def scores(D, images, alpha, labels=None):
    """[N, 1]; of a network with labels [N, labels] those that they choose."""
    def from_rgb(x):
        name = f"from_rgb{x.shape[-1]}"
        return lrelu(conv(x, D.weight(name)) + D.bias(name))

    x, size = from_rgb(images), images.shape[-1]
    s = size
    while s > 4:
        name = f"block{s}"
        x = blur(lrelu(conv(x, D.weight(name + ".conv0")) + D.bias(name + ".conv0")))
        x = lrelu(down(conv(x, D.weight(name + ".conv1"))) + D.bias(name + ".conv1"))
        if s == size and alpha < 1:
            x = x * alpha + from_rgb(down(images)) * (1 - alpha)
        s //= 2
    n, c = x.shape[:2]
    group = 4                                           # pictures n, n + N/4, n + N/2, n + 3N/4
    y = x.reshape(group, n // group, c, 4, 4)
    y = y - y.mean(0)
    spread = (((y ** 2).mean(0) + 1e-8) ** 0.5).mean(2, 3, 4)
    spread = expand(spread, (group, n // group, 1, 4, 4)).reshape(n, 1, 4, 4)
    # The weights by the maps and by the spread, apart.
    weight = D.weight("head.conv")
    out, flat = weight.shape[0], weight.reshape(weight.shape[0], -1)
    by_maps = take(flat, np.arange(9 * c)).reshape(out, c, 3, 3)
    by_spread = take(flat, np.arange(9 * c, 9 * c + 9)).reshape(out, 1, 3, 3)
    x = lrelu(conv(x, by_maps) + conv(spread, by_spread) + D.bias("head.conv"))
    x = lrelu(D.dense(x.reshape(n, -1), "head.dense0"))
    x = D.dense(x, "head.dense1", gain=1)
    return x if labels is None else (x * labels).sum(1)


# An iteration -------------------------------------------------------------------------------------


def pictures(G, draw, size, alpha, mapping_layers):
    """(T [N, C, size, size], styles [N, D] before mixing).

    draw: latents, latents to mix with, the layer from which on, noise maps by layer, labels.
    """
    latents, others, crossover, noise, labels = draw
    w, other = (style(G, T(z), mapping_layers, labels) for z in (latents, others))
    styles = [w if layer < crossover else other for layer in range(len(noise))]
    return synthesis(G, styles, noise, size, alpha), w.value


def faded(real, alpha):
    """Real pictures while their size fades in."""
    if alpha == 1:
        return real
    small = down(T(real)).value.repeat(2, 2).repeat(2, 3)
    return alpha * real + (1 - alpha) * small


def loss_D(kind, D, real, fake, alpha, gamma, enlarged, between, labels=None):
    """A T of one element. enlarged: final size ÷ size, of the picture that the penalty's gradient
    is taken by; between: where WGAN-GP looks, [N, 1, 1, 1]."""
    def squared_norms(images):
        """By the enlarged picture: each of its pixels has 1 / enlarged² of the pixel's gradient."""
        x = T(images)
        gradient, = gradients(scores(D, x, alpha, labels).sum(), [x])
        return ((gradient * enlarged ** -2) ** 2).sum(1, 2, 3) * enlarged ** 2

    if kind == "logistic":
        loss = softplus(scores(D, T(real), alpha, labels) * -1).mean()
        loss = loss + softplus(scores(D, T(fake), alpha, labels)).mean()
        return loss.reshape() + (squared_norms(real).mean() * (gamma / 2)).reshape()
    of_real = scores(D, T(real), alpha, labels)
    if kind == "relativistic":
        loss = softplus(scores(D, T(fake), alpha, labels) - of_real).mean()
        penalty = squared_norms(real).mean() + squared_norms(fake).mean()
        return loss.reshape() + (penalty * (gamma / 2)).reshape()
    loss = scores(D, T(fake), alpha, labels).mean() - of_real.mean() + (of_real ** 2).mean() * 0.001
    if not gamma:                                       # a step without the lazy penalty
        return loss.reshape()
    norms = squared_norms(between * real + (1 - between) * fake) ** 0.5
    return loss.reshape() + (((norms - 1) ** 2).mean() * gamma).reshape()


def loss_G(kind, D, real, fake, alpha, labels=None):
    of_fake = scores(D, fake, alpha, labels)
    if kind == "relativistic":
        return softplus(scores(D, T(real), alpha, labels) - of_fake).mean().reshape()
    return (softplus(of_fake * -1) if kind == "logistic" else of_fake * -1).mean().reshape()


def adam(p, gradient, v, steps, lr, interval=1):
    """(parameter, second moment) after step number `steps` ≥ 1; β₁ = 0, β₂ = 0.99.

    interval: of a lazy penalty, for which lr and the exponent of β₂ are 4/5 where it is 4, 16/17
    where it is 16.
    """
    c = interval / (interval + 1) if interval > 1 else 1
    beta2 = 0.99 ** c
    v = beta2 * v + (1 - beta2) * gradient ** 2
    return p - c * lr * gradient / (np.sqrt(v / (1 - beta2 ** steps)) + 1e-8), v
