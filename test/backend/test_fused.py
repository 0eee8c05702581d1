"""backend/fused.py, epilogue.py, layouts.py, parameters.py: loops and kernels of ours mean what
Jittor's own operators mean, or what NumPy computes in float64."""
import numpy as np
import pytest
from conftest import without_gpu

from backend import jt
from backend.epilogue import epilogue
from backend.fused import add_bias, bias_leaky_relu, blur, blurred_leaky_relu
from backend.kernels import winograd
from backend.layouts import split
from backend.parameters import adam_step, keep, move
from networks.layers import downsample


def random(seed, *shape):
    return np.random.RandomState(seed).randn(*shape).astype("float32")


def both(monkeypatch, compute):
    """What `compute` returns, a list of Vars, by the loops and by Jittor's operators."""
    ours = [v.numpy() for v in compute()]
    with monkeypatch.context() as patch:
        for room in "fused", "epilogue", "parameters":
            patch.setattr(f"backend.{room}.on_cpu", lambda: False)
        for room in "fused", "parameters", "layouts":
            patch.setattr(f"backend.{room}.on_gpu", lambda: False)
        return ours, [v.numpy() for v in compute()]


def assert_equal(ours, theirs, bound=1e-5):
    for a, b in zip(ours, theirs):
        assert a.shape == b.shape and np.abs(a - b).max() < bound * (np.abs(b).max() + 1e-3)


@pytest.mark.parametrize("blurred", [False, True])
@pytest.mark.parametrize("maps", [1, 3])
@pytest.mark.parametrize("one, eps", [(1, 1e-8), (0, 1e-5)])
def test_epilogue_and_every_gradient(monkeypatch, blurred, maps, one, eps):
    arrays = [random(0, 3, 5, 8, 12), random(1, maps, 1, 8, 12), random(2, 5), random(3, 5),
              random(4, 3, 10)]
    weights = jt.array(random(5, 3, 5, 8, 12))

    def compute():
        inputs = [jt.array(a) for a in arrays]
        y = epilogue(*inputs, one=one, eps=eps, blurred=blurred)
        return [y] + jt.grad((y * weights).sum(), inputs)

    assert_equal(*both(monkeypatch, compute))


@pytest.mark.parametrize("size", [4, 8, 32, 64, 128, 256])
def test_epilogue_and_gradients_of_every_size(size):
    """A GPU shares planes of each size out among its threads in another way. In float64; what is a
    sum over pixels is as exact as the sum of its terms' magnitudes lets it be."""
    arrays = [random(0, 2, 3, size, size), random(1, 2, 1, size, size), random(2, 3), random(3, 3),
              random(4, 2, 6)]
    dy = random(5, 2, 3, size, size)
    inputs = [jt.array(a) for a in arrays]
    y = epilogue(*inputs)
    ours = [v.numpy() for v in [y] + jt.grad((y * jt.array(dy)).sum(), inputs)]

    x, noise, strength, bias, style = (a.astype("f8") for a in arrays)
    before = x + noise * strength[:, None, None] + bias[:, None, None]
    slope = np.sqrt(2) * np.where(before > 0, 1, 0.2)
    after, pixels, scale = before * slope, (2, 3), style[:, :3, None, None] + 1
    over_deviation = 1 / np.sqrt(after.var(pixels, keepdims=True) + 1e-8)
    normal = (after - after.mean(pixels, keepdims=True)) * over_deviation
    d = dy * scale
    d = d - d.mean(pixels, keepdims=True) - normal * (d * normal).mean(pixels, keepdims=True)
    dx = d * over_deviation * slope

    def sums(total):
        """(dstrength, dbias, dstyle) as `total` adds up their terms."""
        return [total(dx * noise, (0, 2, 3)), total(dx, (0, 2, 3)),
                np.concatenate([total(dy * normal, pixels), total(dy, pixels)], 1)]

    wanted = [normal * scale + style[:, 3:, None, None], dx,
              (dx * strength[:, None, None]).sum(1, keepdims=True), *sums(np.sum)]
    bounds = [1e-5 * abs(array).max() for array in wanted[:3]]
    bounds += [1e-6 * magnitude for magnitude in sums(lambda terms, axes: abs(terms).sum(axes))]
    for array, right, bound in zip(ours, wanted, bounds):
        assert array.shape == right.shape and (abs(array - right) < bound).all()


@pytest.mark.parametrize("size", [4, 8, 16, 64, 128])
def test_blurred_leaky_relu_of_every_size(monkeypatch, size):
    x0, bias0 = random(0, 2, 3, size, size), random(2, 3)

    def compute():
        x, bias = jt.array(x0), jt.array(bias0)
        y = blurred_leaky_relu(x, bias)
        return [y, *jt.grad((y ** 3).sum(), [x, bias])]

    assert_equal(*both(monkeypatch, compute), bound=3e-5)


@without_gpu
@pytest.mark.parametrize("size", [4, 16])
def test_epilogue_blurs_in_its_own_loop_where_noise_has_no_gradient(monkeypatch, size):
    arrays = [random(0, 2, 20, size, size), random(2, 20), random(3, 20), random(4, 2, 40)]
    noise = jt.array(random(1, 2, 1, size, size)).stop_grad()
    weights = jt.array(random(5, 2, 20, size, size))

    def compute():
        x, *others = [jt.array(a) for a in arrays]
        y = epilogue(x, noise, *others, blurred=True)
        return [y] + jt.grad((y * weights).sum(), [x, *others])

    with jt.profile_scope() as report:
        both_forms = both(monkeypatch, compute)
    assert_equal(*both_forms)
    assert any("BLURRED = 1" in row[0] for row in report[1:])


@without_gpu
def test_second_derivatives_of_the_epilogue_are_refused_not_wrong():
    x, style = jt.array(random(0, 2, 3, 4, 4)), jt.array(random(1, 2, 6))
    y = epilogue(x, jt.zeros(1, 1, 4, 4), jt.zeros(3), jt.zeros(3), style)
    gradient = jt.grad((y * y).sum(), x)
    with pytest.raises(Exception, match="no second derivatives"):
        jt.grad((gradient * gradient).sum(), style)


@pytest.mark.parametrize("shape", [(3, 5, 6, 7), (2, 3, 1, 1), (2, 3, 64, 64), (4, 9)])
def test_adding_a_bias_with_gradients_up_to_the_second(monkeypatch, shape):
    x0, bias0 = random(0, *shape), random(1, shape[1])

    def compute():
        x, bias = jt.array(x0), jt.array(bias0)
        y = add_bias(x * x, bias)
        dx, dbias = jt.grad((y ** 3).sum(), [x, bias])
        second = jt.grad((dx * dx).sum() + (dbias * dbias).sum(), [x, bias])
        return [y, dx, dbias, *second]

    found, theirs = both(monkeypatch, compute)
    assert_equal(found, theirs, bound=2e-5)
    others = tuple(i for i in range(len(shape)) if i != 1)
    x = x0.astype("float64")
    y = x ** 2 + np.expand_dims(bias0, [i - 1 for i in others if i])
    assert_equal(found[:3], [y, 6 * y ** 2 * x, (3 * y ** 2).sum(others)], bound=2e-5)


@pytest.mark.parametrize("depth", [1, 6])
def test_styles_of_layers_with_gradients_up_to_the_second(monkeypatch, depth):
    styles0, weight = random(0, 3, depth, 5), jt.array(random(1, 3, 5))

    def compute():
        styles = jt.array(styles0)
        parts = split(styles * styles)
        gradient = jt.grad(sum((part ** 3 * weight).sum() * i for i, part in enumerate(parts, 1)),
                           styles)
        return [*parts, gradient, jt.grad((gradient ** 2).sum(), styles)]

    found, theirs = both(monkeypatch, compute)
    assert_equal(found, theirs)
    s = styles0.astype("float64")
    factor = weight.numpy()[:, None] * np.arange(1, depth + 1)[:, None]
    assert_equal(found, [*(s ** 2).transpose(1, 0, 2), 6 * s ** 5 * factor,
                         360 * s ** 9 * factor ** 2])


@pytest.mark.parametrize("shape", [(3, 5, 6, 7), (2, 3, 64, 64), (4, 9)])
def test_bias_and_leaky_relu_with_gradients_up_to_the_second(monkeypatch, shape):
    x0, bias0, weights = random(0, *shape), random(1, shape[1]), jt.array(random(2, *shape))

    def compute():
        x, bias = jt.array(x0), jt.array(bias0)
        y = bias_leaky_relu(x * x, bias)
        dx, dbias = jt.grad((y * y * weights).sum(), [x, bias])
        second = jt.grad((dx * dx).sum() + (dbias * dbias).sum(), [x, bias])
        return [y, dx, dbias, *second]

    assert_equal(*both(monkeypatch, compute), bound=2e-5)


@pytest.mark.parametrize("shape", [(3, 5, 6, 7), (2, 3, 1, 1), (1, 2, 64, 96)])
def test_blurred_leaky_relu_with_gradients_up_to_the_third(monkeypatch, shape):
    """Of the product with w, which is what R1 asks for: each gradient goes through the activation
    and back, the third through all of its operators."""
    x0, w0, bias0 = random(0, *shape), random(1, *shape), random(2, shape[1])

    def compute():
        x, w, bias = jt.array(x0), jt.array(w0), jt.array(bias0)
        y = blurred_leaky_relu(x * w, bias)
        dx, dbias = jt.grad((y * y).sum(), [x, bias])
        second = jt.grad((dx * dx).sum() + (dbias * dbias).sum(), [w, bias])
        third = jt.grad((second[0] ** 2).sum() + (second[1] ** 2).sum(), [x, w])
        return [y, dx, dbias, *second, *third]

    assert_equal(*both(monkeypatch, compute), bound=5e-5)


@pytest.mark.parametrize("shape", [(1, 1, 1, 1), (2, 3, 1, 5), (2, 3, 4, 1), (1, 2, 9, 17)])
def test_blur_of_every_small_size_and_its_gradients(monkeypatch, shape):
    def compute():
        x = jt.array(random(0, *shape))
        y = blur(x)
        gradient = jt.grad((y ** 3).sum(), x, retain_graph=True)
        return [y, gradient, jt.grad((gradient ** 2).sum(), x)]
    assert_equal(*both(monkeypatch, compute))


SHAPES = [(7,), (70_000,), (3, 2, 5, 1), (1, 1)]


@without_gpu
def test_operators_hold_no_more_than_their_gradients_need():
    """Activations, one per layer, and those of ten layers are gone when the gradient arrives at the
    two large ones before them. Jittor by itself would hold every array of both passes."""
    weight, bias = jt.randn(16, 16, 3, 3), jt.zeros(16)
    images = jt.randn(4, 16, 128, 128)

    def gradients():
        x = images
        for layer in range(12):
            x = bias_leaky_relu(winograd(x, weight, "same"), bias)
            x = downsample(x) if layer == 1 else x
        loss = x.sum()
        with jt.no_grad():
            return jt.grad(loss, [weight, bias])

    jt.sync(gradients())                                        # compiles
    with jt.flag_scope(profile_memory_enable=1):
        jt.sync(gradients())
        most = int(jt.core.get_max_memory_info().split("[!@#div1!@#]")[0])
    assert most < 7 * images.numel() * 4


def test_adam_step_of_many_parameters(monkeypatch):
    p, g, v = ([random(k, *shape) for shape in SHAPES] for k in (0, 1, 2))
    v = [a * a for a in v]

    def compute():
        new, moments, *others = adam_step(jt.ones(1), *(list(map(jt.array, x)) for x in (p, g, v)),
                                          jt.array(np.array([0.01], "float32")), 0.99, 1e-8)
        return [*new, *moments, *others]

    assert_equal(*both(monkeypatch, compute))


@pytest.mark.parametrize("value, sound", [(3e38, 1), (np.nan, 0), (np.inf, 0), (-np.inf, 0)])
def test_adam_step_finds_a_number_that_is_none(monkeypatch, value, sound):
    p, g, v = ([random(k, *shape) for shape in SHAPES] for k in (0, 1, 2))
    g[0][:] = g[1][40_000] = value
    for found in both(monkeypatch, lambda: [adam_step(
            jt.ones(1), *(list(map(jt.array, x)) for x in (p, g, v)), jt.ones(1), 0.99, 1e-8)[2]]):
        assert found == [np.float32(sound)]


@pytest.mark.parametrize("sound", [0, 1])
def test_a_step_is_kept_or_taken_back_for_many_parameters(monkeypatch, sound):
    new, old = ([random(k, *shape) for shape in SHAPES] for k in (0, 1))
    for found in both(monkeypatch, lambda: keep(
            list(map(jt.array, new)), list(map(jt.array, old)), jt.ones(1) * sound)):
        assert all((a == b).all() for a, b in zip(found, new if sound else old))


def test_move_of_many_parameters(monkeypatch):
    a, b = ([random(k, *shape) for shape in SHAPES] for k in (0, 1))
    amount = np.array([0.3], "float32")
    assert_equal(*both(monkeypatch, lambda: move(list(map(jt.array, a)), list(map(jt.array, b)),
                                                 jt.array(amount))))
