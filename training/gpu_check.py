"""Whether a GPU computes: the operations that training needs, there and on the CPU."""
import numpy as np

from backend import epilogue, fused, kernels, modulation, noise, resample

BOUND = 1e-3                    # of the largest value; a GPU's kernels sum in another order


def arrays(*shapes):
    rng = np.random.RandomState(0)
    return [rng.randn(*shape).astype("float32") for shape in shapes]


def convolution(jt):
    x, w = map(jt.array, arrays((4, 16, 32, 32), (24, 16, 3, 3)))
    y = kernels.conv2d(x, w, padding=1, scale=0.1)
    return [y, *jt.grad((y * y).sum(), [x, w])]


def strided_convolution(jt):
    x, w = map(jt.array, arrays((4, 16, 32, 32), (24, 16, 4, 4)))
    y = kernels.conv2d(x, w, stride=2, padding=1)
    return [y, *jt.grad((y * y).sum(), [x, w])]


def transposed_convolution(jt):
    x, w = map(jt.array, arrays((4, 16, 16, 16), (24, 16, 4, 4)))
    y = kernels.conv_transpose2d(x, w, stride=2, padding=1)
    return [y, *jt.grad((y * y).sum(), [x, w])]


def double_gradients(jt):
    """What R1 needs: of a convolution, of a strided and of a transposed one."""
    results = []
    for shapes, function, options in (
            (((4, 8, 16, 16), (8, 8, 3, 3)), kernels.conv2d, dict(padding=1)),
            (((4, 8, 16, 16), (8, 8, 4, 4)), kernels.conv2d, dict(stride=2, padding=1)),
            (((4, 8, 8, 8), (8, 8, 4, 4)), kernels.conv_transpose2d, dict(stride=2, padding=1))):
        x, w = map(jt.array, arrays(*shapes))
        score = jt.sigmoid(function(x, w, **options) * 0.1).sum()
        gradient = jt.grad(score, x, retain_graph=True)
        results += jt.grad((gradient * gradient).sum(), [x, w])
    return results


def between_convolutions(jt):
    """Of planes of every size, which a GPU shares out among its threads in other ways."""
    results = []
    for size in (4, 8, 16, 32, 64, 128, 256):
        x, noise, strength, bias, style = map(jt.array, arrays(
            (2, 3, size, size), (2, 1, size, size), (3,), (3,), (2, 6)))
        y = epilogue.epilogue(x, noise.stop_grad(), strength, bias, style)
        z = fused.blurred_leaky_relu(x, bias) + fused.bias_leaky_relu(x, bias)
        # Sums over 256×256 differ by a thousandth for their order alone.
        of = [x, bias, strength][:3 if size < 256 else 1]
        for value in y, z + fused.add_bias(x, strength):
            results += [value, *jt.grad((value ** 3).mean(), of)]
    return results


def stylegan2(jt):
    """What only StyleGAN2 needs, with the double gradients of its path length penalty."""
    x, w, scale, other, maps, strength, bias = map(jt.array, arrays(
        (4, 8, 8, 8), (6, 8, 3, 3), (4, 6), (4, 8), (4, 1, 16, 16), (1,), (6,)))
    y = resample.smooth(kernels.conv_transpose2d(x, w, stride=2, padding=0), 1, 4.0)
    y = modulation.epilogue(y, scale, maps.stop_grad(), strength, bias)
    y = kernels.conv2d(resample.smooth(y, 2), w.transpose(1, 0, 2, 3), stride=2)
    y = resample.enlarge(resample.halve(y)) + modulation.scale_planes(y, other)
    gradients = jt.grad((y ** 2).sum(), [x, scale], retain_graph=True)
    return [y, *gradients, *jt.grad(sum((g * g).sum() for g in gradients), [x, w, scale])]


def products_and_reductions(jt):
    x, w = map(jt.array, arrays((64, 512), (512, 300)))
    y = kernels.matmul(x, w, scale=0.5)
    z = (y - y.mean(1, keepdims=True)) / jt.sqrt((y * y).mean(0, keepdims=True) + 1e-8)
    return [y, z.abs().sum(), z.max(1), *jt.grad((z * z * z).sum(), [x, w])]


def resampling(jt):
    from backend.fused import blur
    from networks.layers import downsample, upsample
    x = jt.array(*arrays((4, 16, 16, 16)))
    return [upsample(x), downsample(x), jt.grad((upsample(blur(x)) ** 3).sum(), x)]


def adam(jt):
    """Three steps of ours; the parameters after them."""
    from training.adam import Adam
    p, target = map(jt.array, arrays((50, 20), (50, 20)))
    optimizer = Adam({"p": p}, 0.01)
    for _ in range(3):
        sound, _ = optimizer.propose(*optimizer.gradients([((p - target) ** 2).sum()]))
        optimizer.commit(sound)
    return [p]


CHECKS = (convolution, strided_convolution, transposed_convolution, double_gradients,
          between_convolutions, stylegan2, products_and_reductions, resampling, adam)


def compare(jt):
    """Yields (name, largest difference ÷ largest value, whether it is small): GPU and CPU."""
    for check in CHECKS:
        found = {}
        for use_cuda in (1, 0):
            with jt.flag_scope(use_cuda=use_cuda):
                found[use_cuda] = [v.numpy() for v in check(jt)]
        error = max(np.abs(a - b).max() / max(np.abs(b).max(), 1e-30)
                    for a, b in zip(found[1], found[0]))
        yield check.__name__.replace("_", " "), error, bool(error < BOUND)
    yield random_numbers(jt)


def random_numbers(jt):
    """The same for the same seed, others for another, and others the next time."""
    draws = []
    for seed in (3, 3, 4):
        noise.seed(seed)
        draws += [noise.normal(1000, 100).numpy(), noise.normal(1000, 100).numpy()]
    even = noise.uniform(1000, 100).numpy()
    first, second, again, _, other, _ = draws
    error = max(abs(first.mean()), abs(first.std() - 1), abs((first * second).mean()),
                abs((first * other).mean()), abs(even.mean() - 0.5), abs(even.var() - 1 / 12))
    sound = (first == again).all() and error < 0.02 and 0 <= even.min() and even.max() <= 1
    return "random numbers", error, bool(sound)
