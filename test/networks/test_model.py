"""The networks against float64 NumPy, and the promises of its layers."""
import dataclasses
import math

import numpy as np
import pytest
import reference
from conftest import without_gpu

import model
from backend import jt, kernels
from backend.fused import blur
from backend.kernels import conv2d
from networks import inputs, layers
from networks.config import PORT, ModelConfig, sizes_to
from networks.shapes import discriminator_shapes, generator_shapes

CONFIG = ModelConfig(size=16, latent=12, fmap_base=64, fmap_max=12)


def fill(network, seed):
    """Every parameter random, biases and noise weights too, so that each of them matters."""
    rng = np.random.RandomState(seed)
    for name, p in network.named_parameters():
        scale = 100 if "mapping" in name and "weight" in name else 1
        p.assign((rng.randn(*p.shape) * scale).astype("float32"))
    return network


@pytest.fixture(scope="module")
def networks():
    return fill(model.StyledGenerator(CONFIG), 1), fill(model.Discriminator(CONFIG), 2)


def relative(found, wanted):
    found = found.numpy() if hasattr(found, "numpy") else found
    return np.abs(found - wanted).max() / np.abs(wanted).max()


@pytest.mark.parametrize("size, alpha", [(4, 1.0), (8, 1.0), (8, 0.3), (16, 1.0), (16, 0.6)])
def test_generator_equals_float64_reference(networks, size, alpha):
    z = np.random.RandomState(3).randn(3, CONFIG.latent)
    noise = [np.random.RandomState(i).randn(1, 1, s, s)
             for i, s in enumerate(s for s in sizes_to(size) for _ in range(2))]
    image = networks[0](jt.array(z.astype("float32")), size, inputs.fade(alpha),
                        [jt.array(n.astype("float32")) for n in noise])
    assert tuple(image.shape) == (3, 3, size, size)
    assert relative(image, reference.generator(networks[0], z, size, alpha, noise)) < 2e-5


@pytest.mark.parametrize("count, size, alpha", [(8, 16, 1.0), (8, 16, 0.6), (3, 8, 1.0),
                                                (5, 8, 0.2), (4, 4, 1.0)])
def test_discriminator_equals_float64_reference(networks, count, size, alpha):
    x = np.random.RandomState(4).randn(count, 3, size, size)
    scores = networks[1](jt.array(x.astype("float32")), inputs.fade(alpha))
    assert relative(scores, reference.discriminator(networks[1], x, alpha)) < 2e-5


def test_networks_with_labels_equal_float64_reference():
    """Labels of one class, of several by halves, and of none."""
    config = dataclasses.replace(CONFIG, labels=3, dlatent=10)
    G, D = fill(model.StyledGenerator(config), 1), fill(model.Discriminator(config), 2)
    labels = np.array([[1, 0, 0], [0, 0, 1], [0, 0.5, 0.5], [0, 0, 0]])
    z = np.random.RandomState(3).randn(4, CONFIG.latent)
    ours = jt.array(labels.astype("float32"))
    image = G(jt.array(z.astype("float32")), 8, labels=ours, noise=[None] * 4)
    assert relative(image, reference.generator(G, z, 8, labels=labels)) < 2e-5
    scores = D(image, labels=ours)
    wanted = reference.discriminator(D, image.numpy().astype("float64"), labels=labels)
    assert relative(scores, wanted) < 2e-5 and scores.numpy()[3] == 0


@pytest.mark.parametrize("channels", [6, 160])
@pytest.mark.parametrize("layer", [layers.UpConv2d, layers.DownConv2d])
def test_every_form_of_sampling_equals_plain(layer, channels):
    rng = np.random.RandomState(5)
    for size in (8, 64):
        x = jt.array(rng.randn(2, channels, size, size).astype("float32"))
        weight = jt.array(rng.randn(8, channels, 3, 3).astype("float32"))
        results = []
        for form in (layer.plain, layer.fused, layer.winograd)[:3 if kernels.on_cpu() else 2]:
            y = form(x, weight, 0.5)
            results.append([y] + jt.grad((y * y).sum(), [x, weight]))
        for plain, *others in zip(*results):
            for other in others:
                assert relative(other, plain.numpy()) < 2e-5


@without_gpu
@pytest.mark.parametrize("winograd, forms", [
    (True, {"same": "plain winograd winograd", "up": "fused fused winograd"}),
    (False, {"same": "plain plain plain", "up": "fused fused fused"})])
def test_which_form_runs_is_a_table_by_width(monkeypatch, winograd, forms):
    monkeypatch.setattr(kernels, "has_winograd", winograd)
    weights = [jt.zeros(width, 512, 3, 3) for width in (8, 16, 64)]
    for form, wanted in forms.items():
        assert [kernels.best_form(form, w) for w in weights] == wanted.split()
    assert kernels.best_form("same", jt.zeros(512, 512, 1, 1)) == "plain"


def test_stddev_groups_by_hand():
    # Eight pictures of one value: groups are n, n + 2, n + 4, n + 6.
    values = np.array([0, 10, 2, 10, 4, 10, 6, 10], "float32")
    x = jt.array(values.reshape(8, 1, 1, 1) * np.ones((1, 3, 4, 4), "float32"))
    last = layers.append_stddev(x).numpy()[:, 3]
    assert last.shape == (8, 4, 4)
    assert np.allclose(last[0::2], math.sqrt(5), atol=1e-5)      # of 0, 2, 4, 6
    assert np.allclose(last[1::2], 1e-4, atol=1e-6)              # all equal: √1e-8
    assert [layers.stddev_group(n) for n in (1, 2, 3, 4, 5, 6, 7, 8, 12)] == \
        [1, 2, 3, 4, 1, 3, 1, 4, 4]


def test_stddev_has_the_gradient_of_finite_differences():
    x0 = np.random.RandomState(6).randn(8, 2, 4, 4)
    direction = np.random.RandomState(7).randn(*x0.shape)
    weights = np.random.RandomState(8).randn(8, 1, 1, 1)

    def numpy_sum(x):
        return (reference.stddev_channel(x) * weights).sum()

    x = jt.array(x0.astype("float32"))
    loss = (layers.append_stddev(x)[:, 2:] * jt.array(weights.astype("float32"))).sum()
    slope = (jt.grad(loss, x).numpy() * direction).sum()
    h = 1e-5
    wanted = (numpy_sum(x0 + h * direction) - numpy_sum(x0 - h * direction)) / (2 * h)
    assert abs(slope - wanted) < 1e-4 * abs(wanted)


def test_equal_lr_scales_before_the_forward_pass_and_stores_nothing():
    layer = layers.EqualLinear(50, 7, gain=1.5, lrmul=0.01)
    assert abs(layer.weight.numpy().std() - 100) < 15
    layer.bias.assign(np.full(7, 30, "float32"))
    x = np.random.RandomState(9).randn(4, 50).astype("float32")
    wanted = x @ layer.weight.numpy().T * (1.5 * 0.01 / math.sqrt(50)) + 0.3
    assert relative(layer(jt.array(x)), wanted) < 1e-5
    assert [name for name, _ in layer.named_parameters()] == ["weight", "bias"]


def test_widths_are_those_of_the_paper():
    config = ModelConfig()
    assert [config.width(s) for s in sizes_to(1024)] == \
        [512, 512, 512, 512, 256, 128, 64, 32, 16]
    assert config.layers == 18


def test_parameter_counts_are_those_that_the_official_networks_print():
    networks = model.StyledGenerator(ModelConfig()), model.Discriminator(ModelConfig())
    counts = [sum(p.numel() for name, p in n.named_parameters() if name != "w_avg")
              for n in networks]
    assert counts == [26_219_627, 23_087_249]           # at 1024, widths of the paper


def test_truncation_moves_the_first_layers_towards_the_mean():
    styles = jt.array(np.full((2, 10, 4), 3, "float32"))
    w_avg = jt.array(np.ones(4, "float32"))
    truncated = model.truncate(styles, w_avg, psi=0.5, cutoff=8).numpy()
    assert np.allclose(truncated[:, :8], 2) and np.allclose(truncated[:, 8:], 3)
    assert np.allclose(model.truncate(styles, w_avg, psi=0, cutoff=8).numpy()[:, :8], 1)


def test_mixing_takes_the_other_style_from_the_crossover_on():
    a, b = (jt.array(np.full((2, 4), v, "float32")) for v in (1, 2))
    for crossover in (1, 3, 6):
        styles = model.mix_styles(a, b, crossover, layers=6).numpy()
        assert (styles[:, :crossover] == 1).all() and (styles[:, crossover:] == 2).all()


def test_one_channel_networks():
    config = ModelConfig(size=8, channels=1, latent=8, fmap_max=8, mapping_layers=2)
    images = model.StyledGenerator(config)(jt.randn(3, 8))
    assert tuple(images.shape) == (3, 1, 8, 8)
    assert tuple(model.Discriminator(config)(images).shape) == (3, 1)


def test_parameters_in_use_leave_out_larger_sizes():
    network = model.Discriminator(CONFIG)
    stable = model.parameters_in_use(network, 8, fading=False)
    fading = model.parameters_in_use(network, 8, fading=True)
    assert "block8.conv0.weight" in stable and "block16.conv0.weight" not in stable
    assert set(fading) - set(stable) == {"from_rgb4.weight", "from_rgb4.bias"}
    assert "w_avg" not in model.parameters_in_use(model.StyledGenerator(CONFIG), 16, False)


@pytest.mark.parametrize("config", [
    CONFIG, ModelConfig(size=4, latent=8, fmap_max=8),
    ModelConfig(size=32, latent=8, fmap_base=128, fmap_max=16, **PORT),
    ModelConfig(size=16, channels=4, latent=8, dlatent=6, mapping_fmaps=5, mapping_layers=3,
                fmap_base=100, fmap_decay=0.7, fmap_max=30, d_fmap_base=80, d_fmap_max=20,
                stddev_group=1),
    ModelConfig(size=8, labels=3, latent=8, dlatent=6, mapping_layers=1, fmap_max=8),
    ModelConfig(arch="stylegan2", size=32, latent=8, fmap_base=128, fmap_max=16, d_fmap_max=12),
    ModelConfig(arch="stylegan2", size=4, channels=1, labels=3, latent=8, dlatent=6, fmap_max=8,
                d_residual=False, d_mapping_layers=2)],
    ids=["official", "4", "port", "other widths", "labels", "StyleGAN2",
         "StyleGAN2 with labels"])
def test_shapes_without_jittor_are_those_of_the_networks(config):
    for network, shapes in ((model.StyledGenerator, generator_shapes),
                            (model.Discriminator, discriminator_shapes)):
        found = {name: tuple(p.shape) for name, p in network(config).named_parameters()}
        assert found == shapes(config)
    labels = jt.array(np.eye(4, config.labels, dtype="float32")) if config.labels else None
    images = model.StyledGenerator(config)(
        jt.randn(4, config.latent), labels=labels,
        noise=inputs.make_noise(4, config.size, config.arch))
    assert tuple(images.shape) == (4, config.channels, config.size, config.size)
    scores = model.Discriminator(config)(images, labels=labels) if config.labels else \
        model.Discriminator(config)(images)
    assert tuple(scores.shape) == (4, 1) and np.isfinite(scores.numpy()).all()


def test_stddev_of_the_whole_batch_is_one_value():
    x = np.random.RandomState(12).randn(6, 2, 4, 4).astype("float32")
    last = layers.append_stddev(jt.array(x), 6).numpy()[:, 2]
    assert np.allclose(last, np.sqrt(x.var(0) + 1e-8).mean(), rtol=1e-5)


def test_new_layers_of_a_ports_network_scale_by_one():
    network = model.StyledGenerator(ModelConfig(size=8, latent=8, fmap_max=8, **PORT))
    bias = network.synthesis.block8.epilogue0.style.bias.numpy()
    assert bias.tolist() == [1] * 8 + [0] * 8


@pytest.mark.parametrize("wrong", [dict(size=48), dict(size=2), dict(size=8192), dict(channels=0),
                                   dict(fmap_max="512"), dict(latent=-1), dict(fmap_base=1e400),
                                   dict(fmap_decay=float("nan")), dict(fmap_max=2.5),
                                   dict(mapping_layers=0), dict(noise_per_block=2)])
def test_impossible_configurations_are_refused(wrong):
    with pytest.raises(ValueError, match="wanted"):
        ModelConfig(**wrong)


def test_blur_keeps_a_constant_inside_and_darkens_the_border():
    image = blur(jt.ones(1, 2, 6, 5)).numpy()
    assert np.allclose(image[:, :, 1:-1, 1:-1], 1)
    assert np.allclose(image[:, :, 0, 0], 9 / 16)
    x = np.random.RandomState(10).randn(2, 3, 7, 6)
    assert relative(blur(jt.array(x.astype("float32"))), reference.blur(x)) < 1e-6


def test_convolution_of_every_network_shape_equals_float64():
    rng = np.random.RandomState(11)
    for fan_in, fan_out, kernel, size in ((3, 16, 1, 8), (16, 3, 1, 8), (17, 16, 3, 4),
                                          (32, 32, 3, 16)):
        x, w = rng.randn(2, fan_in, size, size), rng.randn(fan_out, fan_in, kernel, kernel)
        found = conv2d(jt.array(x.astype("float32")), jt.array(w.astype("float32")),
                       padding=kernel // 2)
        assert relative(found, reference.conv2d(x, w, padding=kernel // 2)) < 1e-5
