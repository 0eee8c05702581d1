"""StyleGAN2's networks against float64 forms of them, written as the paper writes them."""
import numpy as np
import pytest
import reference

import model
from backend import jt, kernels
from networks import inputs, stylegan2
from networks.config import ModelConfig
from networks.layers import draw_weights

SQRT2 = 2 ** 0.5


def made(config):
    """(G, D) with weights of a seed; biases and strengths of noise as well."""
    networks = model.StyledGenerator(config), model.Discriminator(config)
    for i, network in enumerate(networks):
        rng = np.random.default_rng(i)
        draw_weights(network, rng)
        for name, p in network.named_parameters():
            if name.endswith(("bias", "strength", "w_avg")):
                p.assign(p.numpy() + 0.3 * rng.standard_normal(p.shape, "float32"))
    return networks


def filtered(x, before, after, gain=1.0, every=1):
    taps = np.array([1, 3, 3, 1]) / 8 * np.sqrt(gain)
    return reference.filtered(x, taps, (before, after))[:, :, ::every, ::every]


def stuffed(x):
    y = np.zeros((*x.shape[:2], 2 * x.shape[2], 2 * x.shape[3]))
    y[:, :, ::2, ::2] = x
    return y


def synthesis(network, styles, noise):
    p, clamp, image = reference.Weights(network), network.config.clamp, None

    def limited(x, gain=1.0):
        return np.clip(x, -clamp * gain, clamp * gain) if clamp else x

    def layer(x, name, w, maps=None, up=False, demodulate=True):
        s = w @ p.scaled(name + ".style", gain=1).T + p[name + ".style.bias"]
        weight, y = p[name + ".weight"], []
        for one, style in zip(x, s):                        # a set of weights for each picture
            own = weight * style[:, None, None] / (1 if demodulate else np.sqrt(len(style)))
            if demodulate:
                own = own / np.sqrt((own ** 2).sum((1, 2, 3), keepdims=True) + 1e-8)
            y.append(reference.conv_transpose2d(one[None], own, 2) if up else
                     reference.conv2d(one[None], own, padding=weight.shape[-1] // 2))
        y = np.concatenate(y)
        y = filtered(y, 1, 1, 4) if up else y
        if not demodulate:
            return limited(y + p.bias(name))
        y = y + maps * p[name + ".noise_strength"] + p.bias(name)
        return limited(reference.lrelu(y) * SQRT2)

    x, index = p["synthesis.block4.const"].repeat(len(styles), 0), 0
    for s in network.config.sizes:
        name = f"synthesis.block{s}"
        for conv in ("conv1",) if s == 4 else ("conv0", "conv1"):
            x = layer(x, f"{name}.{conv}", styles[:, index], noise[index], up=conv == "conv0")
            index += 1
        rgb = layer(x, f"synthesis.to_rgb{s}", styles[:, index], demodulate=False)
        image = rgb if image is None else filtered(stuffed(image), 2, 1, 4) + rgb
    return image


def discriminator(network, images):
    p, config = reference.Weights(network), network.config
    half = np.sqrt(0.5) if config.d_residual else 1.0

    def active(x, name, gain=1.0):
        x = reference.lrelu(x + p.bias(name)) * SQRT2 * gain
        return np.clip(x, -config.clamp * gain, config.clamp * gain) if config.clamp else x

    name = f"from_rgb{config.size}"
    x = active(reference.conv2d(images, p.scaled(name, gain=1)), name)
    for s in reversed(config.sizes[1:]):
        name = f"block{s}"
        y = active(reference.conv2d(x, p.scaled(name + ".conv0", gain=1), padding=1),
                   name + ".conv0")
        y = active(reference.conv2d(filtered(y, 2, 2), p.scaled(name + ".conv1", gain=1), stride=2),
                   name + ".conv1", half)
        if config.d_residual:
            skip = reference.conv2d(filtered(x, 1, 1, every=2), p.scaled(name + ".skip", gain=1))
            y = y + skip * half
        x = y
    x = np.concatenate([x, reference.stddev_channel(x)], 1)
    x = active(reference.conv2d(x, p.scaled("head.conv", gain=1), padding=1), "head.conv")
    x = x.reshape(len(x), -1) @ p.scaled("head.dense0", gain=1).T + p["head.dense0.bias"]
    x = reference.lrelu(x) * SQRT2
    return x @ p.scaled("head.dense1", gain=1).T + p["head.dense1.bias"]


def relative(ours, wanted):
    return np.abs(ours - wanted).max() / np.abs(wanted).max()


@pytest.mark.parametrize("clamp", [0.0, 1.0], ids=["", "clamp"])
@pytest.mark.parametrize("fmap_max", [12, 40])           # the last by Winograd's algorithms
def test_the_generator_is_the_papers(clamp, fmap_max):
    config = ModelConfig(arch="stylegan2", size=16, latent=10, fmap_max=fmap_max, clamp=clamp)
    G, _ = made(config)
    rng = np.random.RandomState(3)
    styles = rng.randn(2, config.layers, 10)
    noise = [rng.randn(1, 1, s, s) for s in config.noise_sides]
    ours = G.synthesis(jt.array(styles.astype("float32")),
                       [jt.array(a.astype("float32")).stop_grad() for a in noise]).numpy()
    assert relative(ours, synthesis(G, styles, noise)) < 5e-6


@pytest.mark.parametrize("clamp", [0.0, 1.0], ids=["", "clamp"])
@pytest.mark.parametrize("residual", [True, False], ids=["resnet", "orig"])
@pytest.mark.parametrize("fmap_max", [12, 40])
def test_the_discriminator_is_the_papers_and_has_its_gradient(fmap_max, residual, clamp):
    config = ModelConfig(arch="stylegan2", size=16, fmap_max=fmap_max, clamp=clamp,
                         d_residual=residual)
    _, D = made(config)
    images, direction = (np.random.RandomState(seed).randn(4, 3, 16, 16) for seed in (4, 5))
    given = jt.array(images.astype("float32"))
    scores = D(given)
    assert relative(scores.numpy(), discriminator(D, images)) < 5e-6
    slope = (jt.grad(scores.sum(), given).numpy() * direction).sum()
    wanted = reference.first_difference(lambda x: discriminator(D, x).sum(), [images], [direction])
    assert abs(slope - wanted) < 1e-4 * np.abs(direction).sum() * 1e-2 + 1e-4 * abs(wanted)


@pytest.mark.skipif(not kernels.has_winograd, reason="no operators of our own here")
@pytest.mark.parametrize("layer", [stylegan2.UpConv2d, stylegan2.DownConv2d])
def test_sampling_by_winograds_algorithms_equals_plain(layer):
    rng = np.random.RandomState(6)
    weight = jt.array(rng.randn(24, 40, 3, 3).astype("float32"))
    for size in (8, 32):
        x, results = jt.array(rng.randn(2, 40, size, size).astype("float32")), []
        for form in (layer.plain, layer.winograd):
            y = form(x, weight, 0.5)
            results.append([y] + jt.grad((y * y).sum(), [x, weight]))
        for plain, found in zip(*results):
            assert relative(found.numpy(), plain.numpy()) < 2e-5


def test_pictures_of_a_style_do_not_depend_on_the_others_in_the_batch():
    config = ModelConfig(arch="stylegan2", size=16, latent=10, fmap_max=12)
    G, _ = made(config)
    latents, noise = np.random.RandomState(3).randn(3, 10).astype("float32"), \
        inputs.fixed_noise(16, arch="stylegan2")
    together = G(jt.array(latents), noise=noise).numpy()
    alone = np.concatenate([G(jt.array(z[None]), noise=noise).numpy() for z in latents])
    assert relative(together, alone) < 1e-5
