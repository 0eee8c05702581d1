"""Trains the network of measures/attributes.py on pictures whose attributes are known."""
import numpy as np

from backend import jt, streams
from backend.errors import UserError
from dataset import load_batch, to_float
from measures.attributes import LITTLE, chosen, make_network, scaled
from networks.layers import draw_weights
from training.adam import Adam
from training.loss import softplus

BATCH, DAMAGED, LR = 64, 32, 0.03
HELD_OUT = 10                   # every tenth picture
TAKEN_FOR_DAMAGED = 0.01        # of the whole pictures that were held out


def load_pictures(folder, names, size):
    """uint8 [N, channels, size, size]."""
    found, places = [], {name: i for i, name in enumerate(folder.names)}
    for first in range(0, len(names), 256):
        paths = [folder.file(places[name]) for name in names[first:first + 256]]
        pixels, bad = load_batch(paths, [False] * len(paths), folder.size, 3)
        if bad:
            raise UserError(f"{bad[0][1]}: {bad[0][2]}")
        found.append(np.rint(scaled(pixels.astype("float32"), size)).astype("uint8"))
    return np.concatenate(found)


class Lesson:
    """Batches of whole and damaged pictures, and what is in them: a function of seed and step."""

    def __init__(self, pictures, values, seed):
        self.pictures, self.values, self.seed = pictures, values, seed

    def batch(self, step):
        """(float32 [BATCH + DAMAGED, C, size, size], int64 [BATCH, attributes])."""
        rng = streams.rng("attributes", self.seed, 0, step)
        rows = rng.choice(len(self.pictures), BATCH + 2 * DAMAGED)
        whole, first, second = np.split(to_float(self.pictures[rows]), [BATCH, BATCH + DAMAGED])
        return (np.concatenate([whole, damage(first, second, rng)]), self.values[rows[:BATCH]])


def damage(pictures, others, rng):
    """Each picture damaged in one of the ways in which generators fail, by a random degree."""
    return np.stack([DAMAGES[rng.integers(len(DAMAGES))](one, other, rng)
                     for one, other in zip(pictures, others)]).astype("float32")


def blended(one, other, rng):
    share = rng.uniform(0.25, 0.75)
    return one * share + other * (1 - share)


def spliced(one, other, rng):
    """A part from another picture, behind a straight border."""
    size, axis = one.shape[-1], rng.integers(1, 3)
    place = rng.integers(size // 4, 3 * size // 4)
    first, second = (np.moveaxis(x, axis, -1) for x in (one, other))
    return np.moveaxis(np.concatenate([first[..., :place], second[..., place:]], -1), -1, axis)


def patched(one, _other, rng):
    """A square of it where another belongs."""
    size = one.shape[-1]
    side = rng.integers(size // 6, size // 2)
    (top, left), (y, x) = rng.integers(0, size - side, (2, 2))
    found = one.copy()
    found[:, y:y + side, x:x + side] = one[:, top:top + side, left:left + side]
    return found


def blurred(one, _other, rng):
    """Means of blocks, which are again one."""
    side = 2 << rng.integers(1, 3)
    small = one.reshape(one.shape[0], one.shape[1] // side, side, one.shape[2] // side,
                        side).mean((2, 4))
    return small.repeat(side, 1).repeat(side, 2)


def noisy(one, _other, rng):
    return one + rng.normal(0, rng.uniform(0.15, 0.5), one.shape)


def bent(one, _other, rng):
    """Rows or columns moved along waves."""
    size, axis = one.shape[-1], rng.integers(1, 3)
    waves = rng.uniform(0.06, 0.15) * size * np.sin(
        2 * np.pi * (rng.uniform(1, 3) * np.arange(size) / size + rng.uniform()))
    lines = np.moveaxis(one, axis, 0)
    moved = np.stack([np.roll(line, round(by), -1) for line, by in zip(lines, waves)])
    return np.moveaxis(moved, 0, axis)


DAMAGES = (blended, spliced, patched, blurred, noisy, bent)


def train(size, channels, attributes, lesson, steps, done):
    """The network after `steps` batches of a Lesson; done(step) is called after each."""
    network = make_network(size, channels, attributes)
    draw_weights(network, streams.rng("attributes", lesson.seed, 1))
    adam = Adam(dict(network.named_parameters()), LR)
    for step in range(steps):
        pictures, values = lesson.batch(step)
        adam.lr = LR * min(1, 2 * (1 - step / steps))
        sound, _ = adam.propose(*adam.gradients([loss(network, attributes, pictures, values)]))
        adam.commit(sound)
        done(step)
    return network


def loss(network, attributes, pictures, values):
    """Cross entropy, in the mean over the attributes, and logistic loss of whole and damaged."""
    scores = network(jt.array(pictures))[1]
    total, begin = 0, 0
    for i, names in enumerate(attributes.values()):
        own = scores[:BATCH, begin:begin + len(names)]
        own = own - own.max(1, keepdims=True).detach()
        right = jt.array(np.eye(len(names), dtype="float32")[values[:, i]])
        total = total + (jt.log(jt.exp(own).sum(1)) - (own * right).sum(1)).mean()
        begin += len(names)
    whole = jt.array(np.repeat([1.0, -1.0], [BATCH, len(pictures) - BATCH]).astype("float32"))
    return total / len(attributes) + softplus(-scores[:, begin] * whole).mean()


def examine(network, attributes, pictures, values, seed):
    """On pictures that were held out: ({attribute: share that is right}, the score from which a
    picture counts as whole, {damage: share that is found})."""
    def scores(some):
        with jt.no_grad():
            return np.concatenate([network(jt.array(some[i:i + BATCH]))[1].numpy()
                                   for i in range(0, len(some), BATCH)])

    whole = to_float(pictures)
    found = scores(whole)
    right = {name: float((own == values[:, i]).mean()) for i, (name, own) in enumerate(
        zip(attributes, chosen(found, attributes)))}
    threshold = float(np.quantile(found[:, -1], TAKEN_FOR_DAMAGED))
    rng, caught = streams.rng("attributes", seed, 2), {}
    for way in DAMAGES:
        damaged = np.stack([way(one, other, rng) for one, other in zip(whole, np.roll(
            whole, 1, 0))]).astype("float32")
        caught[way.__name__] = float((scores(damaged)[:, -1] < threshold).mean())
    return right, threshold, caught


def learn(folder, table, size, seed, epochs, say, bar):
    """(header, arrays) for measures.attributes.save. folder: a PictureFolder; table: of read_table.

    say(text) prints a line; bar(total) gives a function that is called after each step.
    """
    names, attributes, values = table
    pictures = load_pictures(folder, names, size)
    held_out = np.arange(len(names)) % HELD_OUT == 0
    lesson = Lesson(pictures[~held_out], values[~held_out], seed)
    steps = max(1, epochs * len(lesson.pictures) // BATCH)
    network = train(size, pictures.shape[1], attributes, lesson, steps, bar(steps))
    right, threshold, caught = examine(network, attributes, pictures[held_out], values[held_out],
                                       seed)
    say(f"of {held_out.sum():,} pictures that were held out, right: " + ", ".join(
        f"{name} {share:.1%} of {len(attributes[name])}" for name, share in right.items()))
    say(f"damaged ones found, where {TAKEN_FOR_DAMAGED:.0%} of the whole ones are taken for such: "
        + ", ".join(f"{name} {share:.1%}" for name, share in caught.items()))
    if np.mean([*caught.values()]) < LITTLE:
        say("note: few damaged ones are found, so what it says of how many pictures of a generator "
            f"are whole will not mean much: type --epochs {2 * epochs} or take more pictures")
    header = {"size": size, "channels": pictures.shape[1], "attributes": attributes,
              "whole": threshold, "right": right, "damaged found": caught,
              "pictures": len(names), "epochs": epochs, "seed": seed}
    return header, {name: p.numpy() for name, p in network.named_parameters()}
