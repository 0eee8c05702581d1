"""Single steps of training against replay.py, float64 NumPy that shares no code with them."""
import dataclasses

import numpy as np
import pytest
import replay
from small_runs import in_process

from backend import jt
from networks.config import sizes_to
from training import iteration, loss
from training.iteration import Training

BATCH, LAYERS = 8, 4
# Of the largest gradient of a network: float32 against float64.
BOUND = 2e-5


def recorded(training, monkeypatch):
    """What a step draws at random, brought into the order of the whole batch as it is drawn, and
    the gradients that it finds: {"draws": [D's, G's], "between", "D", "G": {name: array}}."""
    found = {"draws": [], "between": np.full((BATCH, 1, 1, 1), np.nan)}
    parts = training.my_parts(BATCH)
    draw, make_noise, propose = training.draw, iteration.make_noise, {}

    def drawing(rng, phase, known):
        inputs = draw(rng, phase, known)
        latents, others = (np.empty((BATCH, inputs[0][0].shape[1])) for _ in range(2))
        labels = np.empty((BATCH, training.config.labels)) if training.config.labels else None
        for part, (z, other, _, some) in zip(parts, inputs):
            latents[part], others[part] = z, other
            if some is not None:
                labels[part] = some
        maps = [np.empty((BATCH, 1, s, s)) for s in sizes_to(phase.size) for _ in range(2)]
        found["draws"].append((latents, others, inputs[0].crossover, maps, labels))
        found["next"] = iter(parts)
        return inputs

    def making(count, size):
        maps, part = make_noise(count, size), next(found["next"])
        for all_of_it, some in zip(found["draws"][-1][3], maps):
            all_of_it[part] = some.numpy()
        return maps

    calls = iter(parts)

    def rand(*shape):
        between = np.random.RandomState(7).rand(BATCH, 1, 1, 1).astype("float32")
        found["between"] = between
        return jt.array(between[next(calls)])

    def proposing(name, adam):
        propose[name] = adam.propose

        def wrapped(value, *gradients):
            found[name] = {n: g.numpy() for n, g in zip(adam.parameters, gradients)}
            return propose[name](value, *gradients)
        return wrapped

    monkeypatch.setattr(training, "draw", drawing)
    monkeypatch.setattr(iteration, "make_noise", making)
    monkeypatch.setattr(loss.noise, "uniform", rand)
    for name, adam in ("D", training.adam_D), ("G", training.adam_G):
        monkeypatch.setattr(adam, "propose", proposing(name, adam))
    return found


def networks(training):
    return {prefix: {name: p.numpy().astype("float64") for name, p in network.named_parameters()}
            for prefix, network in training.networks()}


def largest(arrays):
    return max(np.abs(a).max() for a in arrays)


def assert_near(found, wanted):
    """All gradients of a network: within BOUND of its largest one."""
    scale = largest(wanted.values())
    assert scale > 0
    for name in found:
        assert np.abs(found[name] - wanted[name]).max() < BOUND * scale, name


@pytest.mark.parametrize("kind", ["logistic", "relativistic", "wgan-gp"])
@pytest.mark.parametrize("images_seen, size, alpha", [(0, 8, 1.0), (88, 16, 0.375), (128, 16, 1.0)])
@pytest.mark.parametrize("grad_accum, r1_interval, labels", [(1, 1, 0), (2, 1, 0), (1, 4, 0),
                                                             (1, 1, 3), (2, 1, 2)])
def test_a_step_is_that_of_the_papers(symbols, monkeypatch, kind, images_seen, size, alpha,
                                      grad_accum, r1_interval, labels):
    """Of a lazy penalty the first and the last are steps that have it, four times as strong."""
    s, schedule, config = in_process(symbols, max_size=32, latent=LAYERS, fmap_max=4, loss=kind,
                                     grad_accum=grad_accum, r1_interval=r1_interval, mixing=1.0,
                                     dlr="0.003")
    shares = np.arange(1, labels + 1) / max(1, sum(range(labels + 1)))
    training = Training(s, schedule, dataclasses.replace(config, labels=labels), None, shares)
    rng = np.random.RandomState(1)
    for _, network in training.networks():
        for p in network.parameters():                  # also biases and strengths that begin at 0
            p.assign(p.numpy() + 0.1 * rng.randn(*p.shape).astype("float32"))
    phase = training.schedule.at(images_seen)
    assert (phase.size, phase.alpha) == (size, pytest.approx(alpha))
    training.images_seen, training.optimizer_epoch = images_seen, phase.optimizer_epoch
    training.make_optimizers(phase)
    for adam in training.adam_D, training.adam_G:       # as after some steps
        adam.steps.assign(np.array([3.0], "float32"))
        for v in adam.v.values():
            v.assign(rng.rand(*v.shape).astype("float32") * 1e-4)
    real = np.tanh(rng.randn(BATCH, 3, size, size)).astype("float32")
    before = networks(training)
    moments = {"discriminator": training.adam_D, "generator": training.adam_G}
    moments = {prefix: {name: v.numpy().astype("float64") for name, v in adam.v.items()}
               for prefix, adam in moments.items()}
    found = recorded(training, monkeypatch)

    classes = rng.randint(max(1, labels), size=BATCH)
    mine = training.my_parts(BATCH).ravel()
    measured = training.step(real[mine], classes[mine] if labels else None)
    after = networks(training)

    # D's step: real pictures faded as G's are, and pictures of G as it was before.
    D, G = replay.Net(before["discriminator"]), replay.Net(before["generator"])
    layers = training.config.mapping_layers
    known = [draw[-1] for draw in found["draws"]]
    if labels:                  # D is shown pictures of the same classes as the real ones
        assert (known[0] == np.eye(labels)[classes]).all() and (known[1].sum(1) == 1).all()
        assert (known[1] == known[0]).all() == (kind == "relativistic")
    fake, w_first = replay.pictures(G, found["draws"][0], size, alpha, layers)
    shown = replay.faded(real.astype("float64"), alpha)
    gamma = {1: 10.0, 4: 0.0 if images_seen == 88 else 40.0}[r1_interval]
    value = replay.loss_D(kind, D, shown, fake.value, alpha, gamma, 32 / size,
                          found["between"].astype("float64"), known[0])
    assert measured["loss_D"].item() == pytest.approx(value.value.item(), rel=1e-5)
    names = list(found["D"])
    wanted = replay.gradients(value, [D.p[n] for n in names])
    assert_near(found["D"], {n: g.value for n, g in zip(names, wanted)})

    # G's step, against the D that has just learned.
    D = replay.Net(after["discriminator"])
    fake, w_second = replay.pictures(G, found["draws"][1], size, alpha, layers)
    value = replay.loss_G(kind, D, shown, fake, alpha, known[1])
    assert measured["loss_G"].item() == pytest.approx(value.value.item(), rel=1e-5)
    names = list(found["G"])
    wanted = replay.gradients(value, [G.p[n] for n in names])
    assert_near(found["G"], {n: g.value for n, g in zip(names, wanted)})

    # Adam, from the gradients that were found; what is not in use stays.
    for prefix, name, lr, interval in (("discriminator", "D", 0.003, r1_interval),
                                       ("generator", "G", 0.001, 1)):
        for parameter, old in before[prefix].items():
            if parameter == "w_avg":
                continue
            new = old
            if parameter in found[name]:
                new, _ = replay.adam(old, found[name][parameter].astype("float64"),
                                     moments[prefix][parameter], 4, lr, interval)
            assert np.abs(after[prefix][parameter] - new).max() < 1e-6 * max(1, largest([old]))

    # Both passes of G move the mean style, from the styles before mixing; the average follows G.
    w_avg = before["generator"]["w_avg"]
    for w in w_first, w_second:
        w_avg = 0.995 * w_avg + 0.005 * w.mean(0)
    assert np.abs(after["generator"]["w_avg"] - w_avg).max() < 1e-6
    kept = 0.5 ** (BATCH / 10_000)
    for parameter, old in before["ema"].items():
        new = after["generator"][parameter]
        if parameter != "w_avg":
            new = kept * old + (1 - kept) * new if parameter in found["G"] else old
        assert np.abs(after["ema"][parameter] - new).max() < 1e-6 * max(1, largest([old]))
