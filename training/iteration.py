"""One iteration of a run.

Karras et al. 2018 (network, style mixing) and Karras et al. 2017 (growing). Everything that changes
during training is a function of images seen (schedule.py), and everything random in an iteration
is derived from (seed, images seen).
"""
import contextlib
import functools
from typing import NamedTuple, Optional

import numpy as np

from backend import jt, mpi, noise, streams
from backend.parameters import move
from networks.config import num_layers
from networks.generator import mix_styles
from networks.inputs import fade, is_fading, make_noise
from networks.layers import downsample, upsample
from pictures.painter import one_hot, paint, styles_of
from training import loss
from training.schedule import ema_beta, gradient_scale, group_unit, lazy, parts
from training.state import State

TRUNCATION_PSI = 0.7            # of the sample grids
HELD_OUT = 3                    # after the steps of an iteration, for what is random
W_AVG_BETA = 0.995              # of the mean style, for each pass of G


class Inputs(NamedTuple):
    """Of the generator, for some pictures: latents [N, latent], others to mix with from the layer
    `crossover` on, and their labels [N, labels], or None. NumPy, float32."""

    latents: np.ndarray
    others: np.ndarray
    crossover: int
    labels: Optional[np.ndarray] = None


class Training(State):
    """The state of a run, and one iteration of it."""

    def __init__(self, s, *of_the_run):
        super().__init__(s, *of_the_run)
        self.discriminator_loss, self.generator_loss = loss.LOSSES[s["loss"]]
        self.relativistic = s["loss"] == "relativistic"

    def step(self, images, labels=None):
        """One iteration on a batch of real pictures, float32 NumPy [N, C, size, size], and of their
        classes, int NumPy [N], where the network has labels.

        Of several processes each brings its part of the batch, and all have to take the step.
        Returns what was measured, Vars of one element: both losses, the norms of both gradients,
        the mean scores of real and generated pictures; score_sign, the mean sign of the former, or
        with the relativistic loss of how far they are above the generated ones beside them; r1, the
        penalty before γ, where it was computed; and sound, 1, or 0 where a number was not finite
        and the step is skipped.
        """
        phase, rng = self.begin()
        alpha = fade(phase.alpha)

        # Discriminator: real pictures up, generated ones down, R1.
        sums = made = None
        reals = [self.fade_reals(jt.array(part), alpha)
                 for part in np.split(images, self.s["grad_accum"])]
        known = self.known_labels(labels) if self.config.labels else None
        critics, draws = self.critics(0, phase, alpha), self.draw(rng, phase, known)
        for D, real, inputs in zip(critics, reals, draws):
            D = functools.partial(D, labels=as_var(inputs.labels))
            terms, values, made = self.discriminator_terms(D, real, inputs, phase, alpha)
            sums = add(sums, [*self.adam_D.gradients(terms), *values])
        loss_D, *means = self.means(sums)
        gradients, (w_mean, *values) = means[:len(self.adam_D.v)], means[len(self.adam_D.v):]
        w_means = [w_mean]              # of every pass of G
        measured = dict(zip(("score_sign", "score_real", "score_fake", "r1"), values),
                        loss_D=loss_D)
        sound, measured["grad_norm_D"] = self.adam_D.propose(loss_D, *gradients)
        del sums, means, gradients, values
        jt.sync_all()                   # frees what only D's step needed

        # Generator: its pictures up.
        sums, shared = None, self.s["share_fakes"]
        critics = self.critics(1, phase, alpha)
        if not shared:
            # Where they are scored beside real pictures, they are of their classes.
            draws = self.draw(rng, phase, known if self.relativistic else None)
        for D, real, inputs in zip(critics, reals, draws):
            D = functools.partial(D, labels=as_var(inputs.labels))
            fake, w = made or self.generate(inputs, phase, alpha)
            made = None
            terms, w_mean = [self.generator_loss(D, real, fake)], w.detach().mean(0)
            del fake, w
            sums = add(sums, [*self.adam_G.gradients(terms), w_mean])
        measured["loss_G"], *gradients, w_mean = self.means(sums)
        w_means += [] if shared else [w_mean]
        sound_too, measured["grad_norm_G"] = self.adam_G.propose(measured["loss_G"], *gradients)
        measured["sound"] = sound = (sound * sound_too).stop_grad()     # see Adam
        del sums, gradients

        # Where a number was not finite, all stays as it was. On the device: nothing waits for it.
        self.adam_D.commit(sound)
        self.adam_G.commit(sound)
        self.finish(phase, w_means, measured)
        return measured

    def begin(self):
        """(the Phase of this iteration, the generator of all that is random in it); the optimizers
        and the device's own generator are ready for it."""
        phase = self.schedule.at(self.images_seen)
        if phase.optimizer_epoch != self.optimizer_epoch:
            self.make_optimizers(phase)
        self.adam_G.lr, self.adam_D.lr = phase.lr, phase.dlr
        rng = streams.rng("step", self.s["seed"], self.images_seen)
        # For the noise maps, which are others in every process.
        noise.seed((int(rng.integers(2 ** 31)) + 2591 * mpi.RANK) % 2 ** 31)
        return phase, rng

    def finish(self, phase, w_means, measured):
        """What comes after the steps of both networks: averages, of the style (w_means: of every
        pass of G) and of the generator, what is counted, and how much is augmented next."""
        sound = measured["sound"]
        self.skipped.update(self.skipped + (1 - sound))
        self.skipped_in_a_row.update((self.skipped_in_a_row + 1) * (1 - sound))
        w_avg = self.G.w_avg
        for mean in w_means:
            w_avg = w_avg * W_AVG_BETA + mean * (1 - W_AVG_BETA)
        self.G.w_avg.update(jt.ternary(sound > 0, w_avg, self.G.w_avg))
        parameters = [p.detach() for p in self.adam_G.parameters.values()]
        for kimg, network in self.averages.items():
            network.w_avg.update(self.G.w_avg.detach())
            beta = ema_beta(phase.batch, kimg, self.images_seen, self.s["ema_rampup"])
            new = sound * (1 - beta)
            moved = move([v.detach() for v in self.averaged[kimg]], parameters, new)
            for average, value in zip(self.averaged[kimg], moved):
                average.update(value)
        if self.augmentation:
            self.augmentation.steer(measured["score_sign"], sound, phase.batch)
        self.images_seen += phase.batch
        jt.sync_all()

    def critics(self, step, phase, alpha=1.0):
        """For each part of this process D, as `critic` gives it; step: which of the iteration's."""
        return [self.critic(step, phase, alpha, images) for images in self.my_parts(phase.batch)]

    def critic(self, step, phase, alpha, images):
        """D, a function from pictures and their labels (a Var [N, labels], or None) to scores,
        which augments them first; images: which ones of a batch they are."""
        if not self.augmentation:
            return lambda pictures, labels=None: self.D(pictures, alpha, labels)
        place = self.images_seen, step
        transform = self.augmentation.transforming(place, phase.batch, images)
        return lambda pictures, labels=None: self.D(transform(pictures), alpha, labels)

    def score(self, images, phase, labels=None):
        """D's mean score, a NumPy number, of a batch of real pictures, as `step` takes them, which
        are faded and augmented as those that it learns from."""
        alpha, total = fade(phase.alpha), np.float64(0)
        chunk = len(images) // self.s["grad_accum"]
        with jt.no_grad():
            for i, known in zip(range(0, len(images), chunk), self.known_labels(labels)):
                D = self.critic(HELD_OUT, phase, alpha, np.arange(i, i + chunk))
                real = self.fade_reals(jt.array(images[i:i + chunk]), alpha)
                total += D(real, labels=as_var(known)).sum().item()
        return total / len(images)

    def my_parts(self, batch):
        """Which images of a batch are this process's, int [--grad_accum, images of each part]."""
        count = self.s["grad_accum"]
        return parts(batch, count * mpi.SIZE, group_unit(self.config.stddev_group))[
            count * mpi.RANK:count * (mpi.RANK + 1)]

    def draw(self, rng, phase, known=None):
        """For each part of this process its Inputs. known: labels that they are to have, of each
        part; else they are drawn as the pictures have them."""
        latents = rng.standard_normal((2, phase.batch, self.config.latent), "float32")
        crossover = self.crossover(rng, num_layers(phase.size))
        parts = self.my_parts(phase.batch)
        if known is None:
            labels = self.draw_labels(rng, phase.batch)
            known = [None if labels is None else labels[part] for part in parts]
        return [Inputs(*latents[:, part], crossover, labels)
                for part, labels in zip(parts, known)]

    def draw_labels(self, rng, count):
        """[count, labels], or None: of random pictures."""
        if not self.config.labels:
            return None
        return one_hot(rng.choice(self.config.labels, count, p=self.shares), self.config.labels)

    def known_labels(self, labels):
        """Classes [N] of pictures → labels [N / parts, labels] of each part, or None for each."""
        parts, count = self.s["grad_accum"], self.config.labels
        return np.split(one_hot(labels, count), parts) if count else [None] * parts

    def crossover(self, rng, layers):
        """The first layer of another style; `layers` where none is mixed in."""
        return int(rng.integers(1, layers)) if rng.random() < self.s["mixing"] else layers

    def discriminator_terms(self, D, real, inputs, phase, alpha):
        """(terms of its loss, [mean w, what was measured], the pictures and their w to share)."""
        gamma = lazy(self.s["gamma"], self.images_seen, phase.batch, self.s["r1_interval"])
        scale = gradient_scale(phase.size, self.schedule.max_size, self.s["gamma_scale"])
        # Of a batch in parts, for the memory of one, they are painted again from the same latents.
        share = self.s["share_fakes"] and self.s["grad_accum"] == 1
        with contextlib.nullcontext() if share else jt.no_grad():
            fake, w = self.generate(inputs, phase, alpha)
        terms, of_real, of_fake, penalty = self.discriminator_loss(D, real, fake.detach(), gamma,
                                                                   scale)
        # Only differences mean anything to the relativistic loss: its zero is the other score.
        above = of_real - of_fake if self.relativistic else of_real
        values = [w.detach().mean(0), mean_sign(above), of_real.mean().detach(),
                  of_fake.mean().detach()]
        values += [] if penalty is None else [penalty.detach()]
        return terms, values, (fake, w) if share else None

    def means(self, sums):
        """The means over all parts of a batch, of Vars that are sums over this process's parts."""
        count = self.s["grad_accum"] * mpi.SIZE
        with jt.no_grad():              # they are held: see Adam
            if mpi.SIZE > 1:            # in one message
                flat = mpi.total(jt.concat([v.reshape(-1) for v in sums]))
                ends = np.cumsum([v.numel() for v in sums])
                sums = [flat[int(end) - v.numel():int(end)].reshape(v.shape)
                        for v, end in zip(sums, ends)]
            return [v / count for v in sums] if count > 1 else sums

    def generate(self, inputs, phase, alpha):
        """(pictures of latents, mixed with others from a layer on, and their style w)."""
        latents, others, crossover, labels = inputs
        both = self.G.mapping(jt.array(np.concatenate([latents, others])),
                              as_var(None if labels is None else np.concatenate([labels] * 2)))
        w, w_other = both[:len(latents)], both[len(latents):]
        styles = mix_styles(w, w_other, crossover, num_layers(phase.size))
        noise = make_noise(len(latents), phase.size)
        return self.G.synthesis(styles, noise, phase.size, alpha), w

    def fade_reals(self, images, alpha):
        """While a size fades in, real pictures are blended with their own half-size version."""
        if not is_fading(alpha):
            return images
        blurred = upsample(downsample(images))
        return blurred + (images - blurred) * alpha

    def sample(self, latents):
        """NumPy pictures of the averaged generator as it was trained last, for NumPy latents."""
        phase = self.schedule.trained(self.images_seen)
        styles = styles_of(self.G_ema, latents, phase.size, TRUNCATION_PSI)
        return paint(self.G_ema, styles, phase.size, phase.alpha,
                     chunk=phase.batch // self.s["grad_accum"])


def as_var(array):
    """Of a NumPy array; None of None."""
    return None if array is None else jt.array(array)


def mean_sign(scores):
    """Of scores [N, 1], from −1 to 1."""
    return ((scores > 0).float() - (scores < 0).float()).mean().detach()


def add(sums, more):
    """`more` added to the Vars in `sums`, None for the first; what they needed is free then."""
    if sums is None:
        return more
    sums = [a + b for a, b in zip(sums, more)]
    jt.sync(sums)
    return sums
