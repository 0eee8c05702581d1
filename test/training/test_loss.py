"""loss.py: values by hand, and double gradients by finite differences in float64."""
import numpy as np
import pytest
import reference
import replay

import model
from backend import jt
from backend.fused import bias_leaky_relu, blur, blurred_leaky_relu
from backend.kernels import conv2d, conv_transpose2d, matmul
from networks import inputs, layers
from networks.config import ModelConfig
from training import loss

CONFIG = ModelConfig(size=16, latent=8, fmap_base=64, fmap_max=8)


def random(seed, *shape):
    return np.random.RandomState(seed).randn(*shape)


def var(array):
    return jt.array(array.astype("float32"))


def discriminator(config):
    """Always the same one: with others a difference may go across a bend of the leaky ReLU."""
    network = model.Discriminator(config)
    layers.draw_weights(network, np.random.default_rng(0))
    return network


def test_softplus_is_stable():
    x = np.array([-200, -1, 0, 1, 200], "float32")
    assert np.allclose(loss.softplus(jt.array(x)).numpy(), np.logaddexp(0, x), atol=1e-6)


def test_logistic_losses_by_hand():
    scores = jt.array(np.array([[0.0], [2.0]], "float32"))
    of_G = loss.logistic_generator(lambda x: x, None, scores).item()
    assert abs(of_G - np.logaddexp(0, [0, -2]).mean()) < 1e-6
    images = jt.array(random(0, 2, 3, 4, 4).astype("float32"))
    weight = jt.array(random(1, 48).astype("float32"))

    def linear(x):
        return (x.reshape(2, 48) * weight).sum(1, keepdims=True)

    total, real, fake, penalty = loss.logistic_discriminator(linear, images, images * 2, gamma=10)
    # A linear D has the same gradient everywhere: its own weight.
    norm = (weight.numpy().astype("float64") ** 2).sum()
    assert abs(penalty.item() - norm) < 1e-4 * norm
    wanted = np.logaddexp(0, -real.numpy()).mean() + np.logaddexp(0, fake.numpy()).mean() + 5 * norm
    assert abs(sum(total).item() - wanted) < 1e-4 * wanted


def test_relativistic_losses_by_hand():
    """Pairs are picture by picture, and the penalty is on both sides of them."""
    real, fake = (var(random(i, 2, 3, 4, 4)) for i in (0, 1))
    weight = random(2, 48)

    def quadratic(x):
        return ((x.reshape(2, 48) ** 2) * var(weight)).sum(1, keepdims=True)

    scores = [(v.numpy().astype("float64").reshape(2, 48) ** 2 @ weight) for v in (real, fake)]
    norms = [((2 * v.numpy().astype("float64").reshape(2, 48) * weight) ** 2).sum(1).mean()
             for v in (real, fake)]
    terms, *_, penalty = loss.relativistic_discriminator(quadratic, real, fake, 10, scale=0.5)
    assert abs(penalty.item() - sum(norms)) < 1e-4 * sum(norms)
    wanted = np.logaddexp(0, scores[1] - scores[0]).mean() + 5 * 0.25 * sum(norms)
    assert len(terms) == 1 and abs(terms[0].item() - wanted) < 1e-4 * wanted
    of_G = loss.relativistic_generator(quadratic, real, fake).item()
    assert abs(of_G - np.logaddexp(0, scores[0] - scores[1]).mean()) < 1e-4


@pytest.mark.parametrize("discriminator_loss", [loss.logistic_discriminator,
                                                loss.relativistic_discriminator,
                                                loss.wgan_gp_discriminator])
def test_without_gamma_no_penalty_is_computed(monkeypatch, discriminator_loss):
    monkeypatch.setattr(loss, "r1_penalty", None)
    images = jt.array(random(0, 2, 3, 4, 4).astype("float32"))
    terms, real, fake, penalty = discriminator_loss(lambda x: x.mean([1, 2, 3]), images, -images, 0)
    assert penalty is None
    assert np.isfinite(sum(terms).item())


def numpy_penalty(network, images, alpha):
    """Σ over images of |∇ D|², the gradient by central differences of the float64 network."""
    h, gradient = 1e-4, np.empty_like(images)
    flat, out = images.reshape(-1), gradient.reshape(-1)
    for i in range(flat.size):
        kept = flat[i]
        flat[i] = kept + h
        high = reference.discriminator(network, images, alpha).sum()
        flat[i] = kept - h
        low = reference.discriminator(network, images, alpha).sum()
        flat[i] = kept
        out[i] = (high - low) / (2 * h)
    return (gradient ** 2).sum((1, 2, 3))


@pytest.mark.parametrize("alpha", [1.0, 0.5])
def test_r1_penalty_equals_finite_differences(alpha):
    config = ModelConfig(size=8, latent=8, fmap_max=4)
    network = discriminator(config)
    images = random(2, 4, 3, 8, 8)
    x = var(images)
    found = loss.r1_penalty(network(x, inputs.fade(alpha)), x).numpy()
    assert np.allclose(found, numpy_penalty(network, images, alpha), rtol=2e-3)


@pytest.mark.parametrize("kind", ["logistic", "relativistic"])
def test_gradients_of_the_losses_equal_finite_differences(kind):
    """Along a random direction, of values in float64: D's by its weights, penalties in it, and G's
    by its pictures."""
    network = discriminator(ModelConfig(size=8, latent=8, fmap_max=4))
    weights = {name: p.numpy() + 0.1 * random(i, *p.shape)
               for i, (name, p) in enumerate(network.named_parameters())}
    for name, p in network.named_parameters():
        p.assign(weights[name].astype("float32"))
    real, fake = (random(seed, 4, 3, 8, 8) for seed in (20, 21))
    of_D, of_G = loss.LOSSES[kind]
    h = 1e-5

    terms = of_D(network, var(real), var(fake), 2.0)[0]
    used = dict(network.named_parameters())
    found = jt.grad(sum(terms), list(used.values()))
    direction = {name: random(40, *array.shape) for name, array in weights.items()}
    high, low = (replay.loss_D(kind, replay.Net({n: a + step * direction[n]
                                                 for n, a in weights.items()}),
                               real, fake, 1, 2.0, 1, None).value.item() for step in (h, -h))
    along = sum((g.numpy() * direction[n]).sum() for n, g in zip(used, found))
    assert along == pytest.approx((high - low) / (2 * h), rel=1e-3)

    pictures, direction = var(fake), random(41, *fake.shape)
    found = jt.grad(of_G(network, var(real), pictures), pictures).numpy()
    high, low = (replay.loss_G(kind, replay.Net(weights), real,
                               replay.T(fake + step * direction), 1).value.item()
                 for step in (h, -h))
    assert (found * direction).sum() == pytest.approx((high - low) / (2 * h), rel=1e-3)


LAYERS = {
    "conv2d": (lambda x, w: conv2d(x, w, padding=1), (2, 3, 8, 8), (4, 3, 3, 3)),
    "conv2d stride 2": (lambda x, w: conv2d(x, w, 2, 1), (2, 3, 8, 8), (4, 3, 4, 4)),
    "conv_transpose2d": (lambda x, w: conv_transpose2d(x, w, 2, 1), (2, 3, 4, 4), (4, 3, 4, 4)),
    "conv 1x1": (lambda x, w: conv2d(x, w), (2, 3, 4, 4), (5, 3, 1, 1)),
    "up plain": (lambda x, w: layers.UpConv2d.plain(x, w, 1.0), (2, 3, 4, 4), (4, 3, 3, 3)),
    "up fused": (lambda x, w: layers.UpConv2d.fused(x, w, 1.0), (2, 3, 4, 4), (4, 3, 3, 3)),
    "down plain": (lambda x, w: layers.DownConv2d.plain(x, w, 1.0), (2, 3, 8, 8), (4, 3, 3, 3)),
    "down fused": (lambda x, w: layers.DownConv2d.fused(x, w, 1.0), (2, 3, 8, 8), (4, 3, 3, 3)),
    "matmul": (lambda x, w: matmul(x, w), (4, 6), (6, 5)),
    "matmul transposed": (lambda x, w: matmul(x, w, transpose_b=True), (4, 6), (5, 6)),
    "blur": (lambda x, w: blur(x * w), (2, 3, 6, 6), (2, 3, 6, 6)),
    "bias and leaky relu": (lambda x, w: bias_leaky_relu(x * x, w), (2, 3, 4, 4), (3,)),
    "blurred leaky relu": (lambda x, w: blurred_leaky_relu(x * x, w), (2, 3, 4, 4), (3,)),
    "stddev": (lambda x, w: layers.append_stddev(x * w), (4, 2, 4, 4), (4, 2, 4, 4)),
}


@pytest.mark.parametrize("name", LAYERS)
def test_double_gradient_through_every_kind_of_layer(name):
    """d/dw of |d/dx Σ tanh(f(x, w))|², against central differences of the first gradient."""
    layer, x_shape, w_shape = LAYERS[name]
    x0, w0 = random(3, *x_shape), random(4, *w_shape) * 0.3
    direction = random(5, *w_shape)

    def penalty(w):
        x = var(x0)
        gradient = jt.grad(jt.tanh(layer(x, w) * 0.3).sum(), x)
        return (gradient * gradient).sum()

    w = var(w0)
    slope = (jt.grad(penalty(w), w).numpy().astype("float64") * direction).sum()
    h = 3e-3
    high, low = (penalty(var(w0 + s * h * direction)).item() for s in (1, -1))
    wanted = (high - low) / (2 * h)
    assert abs(slope - wanted) < 0.02 * abs(wanted) + 1e-3


def test_wgan_gp_penalises_the_distance_of_the_gradient_from_one():
    images, fake = var(random(6, 4, 3, 4, 4)), var(random(7, 4, 3, 4, 4))
    weight = random(8, 48)
    weight *= 3 / np.linalg.norm(weight)        # |∇ D| = 3 everywhere
    w = var(weight)

    def linear(x):
        return (x.reshape(4, 48) * w).sum(1, keepdims=True)

    total, real, generated, penalty = loss.wgan_gp_discriminator(linear, images, fake, gamma=10)
    assert abs(penalty.item() - 4) < 1e-3
    wanted = generated.numpy().mean() - real.numpy().mean() + 40 \
        + 0.001 * (real.numpy() ** 2).mean()
    assert abs(sum(total).item() - wanted) < 1e-2
    assert np.abs(jt.grad(sum(total), w).numpy()).max() > 0
