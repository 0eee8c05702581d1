"""Takes steps of training, alone or as one of several processes; the first writes what came of it.

    mpirun -np 2 python test/steps.py DATA OUT.npz '{"grad_accum": 1}' PERMUTE IMAGES_SEEN …

Writes the gradients of one iteration at each IMAGES_SEEN, as "<images seen>/<D or G>/<parameter>",
and the weights after 20 iterations from the beginning, as "weights/<network>/<parameter>". Noise
maps are slices of the same ones, however the batch is divided. With PERMUTE above 0 the groups of
each batch are in another order, which changes the order of summation and nothing else.
"""
import json
import sys

import numpy as np

import backend
from backend import mpi
from dataset import Loader
from networks.config import sizes_to
from training import schedule, settings

ITERATIONS = 20


def main():
    data, out, changes, permute = sys.argv[1], sys.argv[2], json.loads(sys.argv[3]), sys.argv[4]
    backend.use_device(changes.pop("device", "cpu"))
    backend.use_conv(changes.get("conv", "winograd"))
    s = settings.OFFICIAL | dict(data=data, name="x", batch="16", latent=16, fmap_max=8,
                                 max_size=32, phase_kimg=0.064, fade_kimg=0.064) | changes
    settings.check(s)
    plan = settings.make_schedule(s)
    from backend import jt
    from training import iteration
    if int(permute):
        iteration.parts = permuted(int(permute))
    found = {}

    def new():
        training = iteration.Training(s, plan, settings.model_config(s))
        training.start_together()
        rng = np.random.RandomState(0)
        for network in training.G, training.D:
            for p in network.parameters():              # the same on every device
                p.assign((p.numpy().std() > 0.5) * (100 if p.numpy().std() > 10 else 1)
                         * rng.randn(*p.shape).astype("float32"))
        calls = iter(range(10 ** 9))

        def make_noise(count, size):
            call = next(calls)
            part = training.my_parts(plan.at(training.images_seen).batch)[call % s["grad_accum"]]
            rng = np.random.default_rng([training.images_seen, call // s["grad_accum"] % 2])
            maps = [rng.standard_normal((plan.batch[size], 1, side, side), "float32")[part]
                    for side in sizes_to(size) for _ in range(2)]
            return [jt.array(one) for one in maps]
        iteration.make_noise = make_noise
        return training

    with Loader(data, seed=s["seed"], workers=0) as loader:
        def step(training):
            phase = plan.at(training.images_seen)
            part = training.my_parts(phase.batch).ravel()
            training.step(next(loader.batches(phase.size, phase.batch, training.images_seen,
                                              part))[1])

        for images_seen in map(int, sys.argv[5:]):
            training = new()
            # Not the weights of the beginning, where some gradients are nothing but rounding.
            rng = np.random.RandomState(images_seen)
            for network in training.G, training.D:
                for p in network.parameters():
                    p.assign(p.numpy() + 0.1 * rng.randn(*p.shape).astype("float32"))
            training.images_seen = images_seen
            training.make_optimizers(plan.at(images_seen))
            training.optimizer_epoch = plan.at(images_seen).optimizer_epoch
            for name, adam in ("D", training.adam_D), ("G", training.adam_G):
                adam.propose = recording(adam, f"{images_seen}/{name}", found)
            step(training)
        training = new()
        for _ in range(ITERATIONS):
            step(training)
    found |= {f"weights/{name}": array for name, array in training.state_of_networks().items()}
    assert mpi.same(training.checksum())
    if mpi.FIRST:
        np.savez(out, **found)


def recording(adam, prefix, found):
    propose = adam.propose

    def wrapped(loss, *gradients):
        for name, gradient in zip(adam.parameters, gradients):
            found[f"{prefix}/{name}"] = gradient.numpy()
        return propose(loss, *gradients)
    return wrapped


def permuted(seed):
    """schedule.parts with the groups of a batch in another order."""
    def parts(batch, count, _group=4):
        order = np.random.RandomState(seed).permutation(batch // 4)
        return np.arange(batch).reshape(4, -1)[:, order].reshape(4, count, -1).swapaxes(
            0, 1).reshape(count, -1)
    assert (np.sort(parts(32, 2), None) == np.sort(schedule.parts(32, 2), None)).all()
    return parts


if __name__ == "__main__":
    main()
