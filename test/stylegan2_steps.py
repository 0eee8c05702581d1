"""One iteration of StyleGAN2's training, alone or as one of several processes.

    mpirun -np 2 python test/stylegan2_steps.py DATA OUT.npz LOSS

The first process writes the gradient of each of the four steps, "<step>/<parameter>", and
"pl_mean". Noise maps and directions are one for all pictures, so that they do not depend on how the
batch is divided.
"""
import sys

import numpy as np

import backend
from backend import mpi
from dataset import Loader
from train import make_training
from training import recipes, settings

STEPS = "generator", "path length", "discriminator", "R1"


def made(data, shares=None, **changes):
    """A run, of size 16 and batch 16, with weights that differ from zero; shares: of each class,
    where there are labels."""
    from backend import jt
    s = recipes.recipe("stylegan2", "official", 16) | dict(
        data=data, name="x", max_size=16, init_size=16, batch="16", latent=16, mapping_layers=2,
        fmap_max=8) | changes
    settings.check(s)
    config = settings.model_config(s, labels=0 if shares is None else len(shares))
    training = make_training(s, settings.make_schedule(s), config, None, shares)
    rng = np.random.RandomState(0)
    for network in training.G, training.D:
        for name, p in network.named_parameters():
            if name.endswith(("bias", "noise_strength")):
                p.assign(p.numpy() + 0.1 * rng.randn(*p.shape).astype("float32"))
    maps = [jt.array(rng.randn(1, 1, s, s).astype("float32")).stop_grad()
            for s in training.config.noise_sides]
    sides = training.config.size, training.config.size
    direction = jt.array(rng.randn(1, 3, *sides).astype("float32") / sides[0])
    training.maps = lambda count: maps
    draw_paths = training.draw_paths
    training.draw_paths = lambda rng, phase: [
        (*draw[:-1], direction.expand(draw[-1].shape[0], 3, *sides))
        for draw in draw_paths(rng, phase)]
    training.start_together()
    return training


def step(training):
    """One iteration on real pictures."""
    phase = training.schedule.at(training.images_seen)
    with Loader(training.s["data"], seed=0, workers=0) as loader:
        _, images, labels = next(loader.batches(phase.size, phase.batch, training.images_seen,
                                        training.my_parts(phase.batch).ravel()))
    return training.step(images, labels)


def gradients(training):
    """{"<step>/<parameter>": its gradient} of the first iteration, and "pl_mean"."""
    found, calls = {}, iter(STEPS)
    training.make_optimizers(training.schedule.at(0))
    training.optimizer_epoch = training.schedule.at(0).optimizer_epoch
    for adam in training.adam_G, training.adam_D:
        def recording(loss, *gradients, adam=adam, propose=adam.propose):
            kind = next(calls)
            for name, gradient in zip(adam.parameters, gradients):
                found[f"{kind}/{name}"] = gradient.numpy()
            return propose(loss, *gradients)
        adam.propose = recording
    step(training)
    return found | {"pl_mean": training.pl_mean.numpy()}


if __name__ == "__main__":
    backend.use_device("cpu")
    training = made(sys.argv[1], loss=sys.argv[3])
    found = gradients(training)
    assert mpi.same(training.checksum())
    if mpi.FIRST:
        np.savez(sys.argv[2], **found)
