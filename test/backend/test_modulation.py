"""backend/modulation.py, resample.py: StyleGAN2's loops compute what float64 NumPy computes, with
their gradients and the gradients of these."""
import numpy as np
import pytest
import reference

from backend import jt, modulation, resample

TAPS = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64


def random(seed, *shape):
    return np.random.RandomState(seed).randn(*shape)


def resampled(x, up, down, before, after, gain):
    """As the paper's code says it: zeros between, zeros around, the filter, every so many."""
    n, c, h, w = x.shape
    stuffed = np.zeros((n, c, h * up, w * up))
    stuffed[:, :, ::up, ::up] = x
    padded = np.pad(stuffed, ((0, 0), (0, 0), (before, after), (before, after)))
    y = np.stack([reference.conv2d(padded[:, i:i + 1], TAPS[None, None] * gain)[:, 0]
                  for i in range(c)], 1)
    return y[:, :, ::down, ::down]


def epilogue(x, scale, noise, strength, bias, gain, clamp):
    y = x * scale[:, :, None, None] + noise * strength + bias.reshape(1, -1, 1, 1)
    y = reference.lrelu(y) * gain
    return np.clip(y, -clamp, clamp) if clamp else y


def check_derivatives(ours, theirs, arrays, weights, bound=2e-5):
    """Values, gradients and second derivatives of sum(f(…) · weights), in random directions."""
    rng = np.random.RandomState(9)
    u, d = ([rng.randn(*a.shape) for a in arrays] for _ in range(2))
    found = [jt.array(a.astype("float32")) for a in arrays]
    y, wanted = ours(*found), theirs(*arrays)
    assert np.abs(y.numpy() - wanted).max() < bound * np.abs(wanted).max()

    def total(*values):
        return (theirs(*values) * weights).sum()

    def along(gradients, directions):
        return sum((g * jt.array(v.astype("float32"))).sum()
                   for g, v in zip(gradients, directions))

    gradients = jt.grad((y * jt.array(weights.astype("float32"))).sum(), found, retain_graph=True)
    slope = along(gradients, u)
    wanted = reference.first_difference(total, arrays, u)
    scale = sum(np.abs(g.numpy() * v).sum() for g, v in zip(gradients, u))
    assert abs(float(slope.item()) - wanted) < bound * scale
    second = along(jt.grad(slope, found), d)
    wanted = reference.second_difference(total, arrays, u, d)
    assert abs(float(second.item()) - wanted) < 1e-4 * max(abs(wanted), scale)


@pytest.fixture(params=["loops", "Jittor's operators"])
def both(request, monkeypatch):
    if request.param != "loops":
        monkeypatch.setattr(modulation, "own", lambda: False)
        for name in "on_cpu", "on_gpu":
            monkeypatch.setattr(resample, name, lambda: False)


@pytest.mark.parametrize("clamp", [0.0, 1.5])
@pytest.mark.parametrize("maps", [1, 3])
def test_what_follows_a_convolution_can_be_differentiated_twice(both, maps, clamp):
    arrays = [random(0, 3, 5, 6, 8), random(1, 3, 5), random(2, 1), random(3, 5)]
    noise, weights = random(4, maps, 1, 6, 8), random(5, 3, 5, 6, 8)
    given = jt.array(noise.astype("float32")).stop_grad()
    check_derivatives(
        lambda x, scale, strength, bias: modulation.epilogue(x, scale, given, strength, bias,
                                                             clamp=clamp),
        lambda x, scale, strength, bias: epilogue(x, scale, noise, strength, bias, 2 ** 0.5, clamp),
        arrays, weights)


def test_noise_maps_can_be_learned_too(both):
    arrays = [random(0, 2, 3, 4, 4), random(1, 2, 3), random(4, 1, 1, 4, 4), random(2, 1),
              random(3, 3)]
    check_derivatives(modulation.epilogue, lambda *a: epilogue(*a, 2 ** 0.5, 0), arrays,
                      random(5, 2, 3, 4, 4))


def test_scaled_planes_can_be_differentiated_twice(both):
    arrays = [random(0, 3, 5, 6, 8), random(1, 3, 5)]
    check_derivatives(modulation.scale_planes, lambda x, s: x * s[:, :, None, None], arrays,
                      random(5, 3, 5, 6, 8))


@pytest.mark.parametrize("height, width", [(4, 4), (5, 9), (16, 12), (33, 33)])
def test_the_filter_and_its_adjoints(both, height, width):
    x = random(0, 2, 3, height, width)
    for ours, *how in ((lambda x: resample.smooth(x, 1, 4.0), 1, 1, 1, 1, 4),
                       (lambda x: resample.smooth(x, 2), 1, 1, 2, 2, 1),
                       (resample.enlarge, 2, 1, 2, 1, 4)):
        wanted = resampled(x, *how)
        check_derivatives(ours, lambda x, how=how: resampled(x, *how), [x],
                          random(5, *wanted.shape))


@pytest.mark.parametrize("side", [4, 6, 32])
def test_halving_and_its_adjoint(both, side):
    x = random(0, 2, 3, side, side)
    check_derivatives(resample.halve, lambda x: resampled(x, 1, 2, 1, 1, 1), [x],
                      random(5, 2, 3, side // 2, side // 2))
