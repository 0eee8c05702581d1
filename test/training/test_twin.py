"""The PyTorch twin that bench/ measures against computes what our networks compute."""
import dataclasses
import types

import numpy as np
import pytest
from conftest import command

import model
from backend import jt
from networks import config, inputs, shapes
from weights import snapshot

torch = pytest.importorskip("torch")
from bench import torch_twin2  # noqa: E402
from bench.torch_twin import Blur, Twin  # noqa: E402

CONFIG = config.ModelConfig(size=16, latent=16, fmap_max=24)


def random_weights(shapes, rng):
    return {name: rng.standard_normal(shape).astype("float32") for name, shape in shapes.items()}


@pytest.mark.parametrize("fused", [False, True])
@pytest.mark.parametrize("alpha", [0.3, 1.0])
def test_the_twin_paints_and_scores_as_ours_do(fused, alpha):
    rng = np.random.default_rng(0)
    G, D = model.StyledGenerator(CONFIG), model.Discriminator(CONFIG)
    twin = Twin(CONFIG, fused)
    for network, theirs, wanted in ((G, twin.G, shapes.generator_shapes(CONFIG)),
                                    (D, twin.D, shapes.discriminator_shapes(CONFIG))):
        arrays = random_weights(wanted, rng)
        snapshot.load_network(network, {f"x/{name}": a for name, a in arrays.items()}, "x", "-")
        theirs.load_state_dict({name: torch.from_numpy(a) for name, a in arrays.items()})
    z, noise = rng.standard_normal((8, 16)).astype("float32"), inputs.fixed_noise(16)
    with jt.no_grad():
        w = G.mapping(jt.array(z))
        styles = model.mix_styles(w, w[::-1], 3, config.num_layers(16))
        images = G.synthesis(styles, noise, 16, inputs.fade(alpha)).numpy()
        scores = D(jt.array(images), inputs.fade(alpha)).numpy()
    with torch.no_grad():
        w = twin.G.style(torch.from_numpy(z))
        maps = [torch.from_numpy(n.numpy()) for n in noise]
        found = twin.G(w, w.flip(0), 3, 16, alpha, maps).numpy()
        found_scores = twin.D(torch.from_numpy(images), alpha).numpy()
    assert np.abs(found - images).max() < 1e-5 * np.abs(images).max()
    assert np.abs(found_scores - scores).max() < 1e-5 * np.abs(scores).max()


@pytest.mark.parametrize("function, options", [
    (Blur, ()), (torch_twin2.Filter, (2, 1, 4.0, 1)), (torch_twin2.Filter, (1, 1, 4.0, 1)),
    (torch_twin2.Filter, (2, 2, 1.0, 1)), (torch_twin2.Filter, (1, 1, 1.0, 2))])
def test_the_gradients_of_its_filters_are_those_that_pytorch_finds(function, options):
    x = torch.from_numpy(np.random.default_rng(0).standard_normal((2, 3, 8, 8)).astype("float32"))
    weight = torch.arange(1.0, 9)

    def derivatives(f):
        own = x.clone().requires_grad_()
        y = f(own * weight)
        first, = torch.autograd.grad((y ** 3).sum(), own, create_graph=True)
        return y, first, *torch.autograd.grad((first ** 2).sum(), own)

    said = derivatives(lambda x: function.apply(x, *options))
    found = derivatives(lambda x: function.forward(types.SimpleNamespace(), x, *options))
    for one, other in zip(said, found):
        assert (one - other).abs().max() < 1e-5 * other.abs().max()


def test_a_run_of_the_twin_is_a_file_of_ours(symbols, tmp_path):
    flags = ["--init_size", 8, "--max_size", 16, "--batch", 8, "--latent", 16, "--fmap_max", 16,
             "--phase_kimg", 0.2, "--fade_kimg", 0.1, "--kimg", 0.4, "--workers", 1]
    command("bench/train_twin.py", symbols, *flags, "--name", "twin", cwd=tmp_path)
    path = str(tmp_path / "checkpoint/twin_000000400.model")
    header, arrays = snapshot.load_any(path)
    assert (header["size"], header["alpha"], header["images_seen"]) == (16, 1, 400)
    assert config.ModelConfig(**header["model"]) == dataclasses.replace(
        CONFIG, fmap_max=16)
    assert np.abs(arrays["ema/w_avg"]).max() > 0
    command("generate.py", path, "--n_row", 2, "--n_col", 2, "--device", "cpu", cwd=tmp_path)


@pytest.mark.parametrize("scaled", [False, True])
def test_stylegan2s_twin_paints_and_scores_as_ours_does(scaled):
    shape = config.ModelConfig(arch="stylegan2", size=16, latent=16, fmap_max=24)
    rng, found = np.random.default_rng(0), torch_twin2.Twin(shape, scaled)
    G, D = model.StyledGenerator(shape), model.Discriminator(shape)
    for network, theirs, wanted in ((G, found.G, shapes.generator_shapes(shape)),
                                    (D, found.D, shapes.discriminator_shapes(shape))):
        arrays = random_weights(wanted, rng)
        snapshot.load_network(network, {f"x/{name}": a for name, a in arrays.items()}, "x", "-")
        theirs.load_state_dict({name: torch.from_numpy(a) for name, a in arrays.items()})
    styles = rng.standard_normal((8, shape.layers, 16)).astype("float32")
    noise = inputs.fixed_noise(16, arch="stylegan2")
    with jt.no_grad(), torch.no_grad():
        pictures = G.synthesis(jt.array(styles), noise)
        theirs = found.G(torch.from_numpy(styles), [torch.from_numpy(n.numpy()) for n in noise])
        scores = found.D(theirs)
        assert np.abs(pictures.numpy() - theirs.numpy()).max() < 1e-4 * theirs.abs().max()
        assert np.abs(D(pictures).numpy() - scores.numpy()).max() < 1e-4 * scores.abs().max()


def test_stylegan2s_twin_takes_steps():
    shape = config.ModelConfig(arch="stylegan2", size=8, latent=8, fmap_max=4)
    found = torch_twin2.Twin(shape)
    found.begin(8, False, 1e-3)
    images = torch.randn(4, 3, 8, 8)
    assert all(np.isfinite(found.step(images)) for _ in range(5)) and found.pl_mean > 0
