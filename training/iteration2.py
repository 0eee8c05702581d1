"""One iteration of StyleGAN2: four steps of the optimizers instead of two.

Karras et al. 2019, "Analyzing and Improving the Image Quality of StyleGAN"; in the order and with
the constants of the code of Karras et al. 2020, "Training Generative Adversarial Networks with
Limited Data": the generator's loss, every fourth time its path length penalty, the discriminator's
loss, every sixteenth time R1. Each draws latents of its own. With the relativistic loss
(training/loss.py) R1 is of generated pictures too, and all are of the classes of the real ones that
they are scored beside.
"""
import functools

import numpy as np

from backend import jt, mpi, noise
from networks.generator import mix_styles
from networks.inputs import make_noise
from training.iteration import Inputs, Training, add, as_var, mean_sign
from training.loss import path_lengths, r1_penalty, softplus

# Of the path length penalty: its batch is so many times smaller, and how fast its mean moves.
PATH_BATCH_SHRINK, PATH_DECAY = 2, 0.01


class StyleGAN2Training(Training):
    """The state of a run and its iteration; pl_mean is the mean path length so far."""

    def __init__(self, *of_the_run):
        super().__init__(*of_the_run)
        self.pl_mean = jt.zeros(1).stop_grad()

    def state(self):
        header, arrays = super().state()
        return header, arrays | {"pl_mean": self.pl_mean.numpy()}

    def restore(self, header, arrays, path):
        super().restore(header, arrays, path)
        self.pl_mean.assign(arrays["pl_mean"])

    def step(self, images, labels=None):
        """As Training.step; also measures path_length, the mean of the paths' lengths.

        Of the four steps, one whose numbers are not finite leaves its network as it was. Then
        `sound` is 0, the averages stay, and the iteration counts as skipped.
        """
        phase, rng = self.begin()
        iteration = self.images_seen // phase.batch
        known = self.known_labels(labels)
        reals = [(jt.array(part), as_var(one)) for part, one in zip(
            np.split(images, self.s["grad_accum"]), known)]
        known = known if self.relativistic and self.config.labels else None
        measured, self.sound, self.w_means = {}, jt.ones(1), []

        measured["loss_G"], measured["grad_norm_G"], _ = self.descend(
            self.adam_G, (self.generator_terms(D, real, inputs) for D, (real, _), inputs in zip(
                self.critics(0, phase), reals, self.draw(rng, phase, known))))
        if self.s["pl_weight"] and iteration % self.s["pl_interval"] == 0:
            measured["path_length"] = self.path_length_step(rng, phase)
        measured["loss_D"], measured["grad_norm_D"], scores = self.descend(
            self.adam_D, (self.discriminator_terms(D, *real, inputs) for D, real, inputs
                          in zip(self.critics(1, phase), reals, self.draw(rng, phase, known))))
        measured |= zip(("score_sign", "score_real", "score_fake"), scores)
        if self.s["gamma"] and iteration % self.s["r1_interval"] == 0:
            draws = self.draw(rng, phase, known) if self.relativistic else [None] * len(reals)
            _, _, (measured["r1"],) = self.descend(
                self.adam_D, (self.r1_terms(D, *real, inputs) for D, real, inputs
                              in zip(self.critics(2, phase), reals, draws)), False)

        measured["sound"] = self.sound
        self.finish(phase, self.w_means, measured)
        return measured

    def descend(self, adam, parts, paints=True):
        """One step of an optimizer; where its numbers are not finite, all stays as it was.

        parts: for each part of this process's batch (terms of its loss, what is measured of it),
        where `paints` with the mean style of its pictures last. Returns (loss, norm of its
        gradient, means of what is measured).
        """
        sums, count = None, len(adam.parameters)
        for terms, values in parts:
            sums = add(sums, [*adam.gradients(terms), *values])
        loss, *means = self.means(sums)
        self.last_sound, norm = adam.propose(loss, *means[:count])
        adam.commit(self.last_sound)
        jt.sync_all()
        self.sound = (self.sound * self.last_sound).stop_grad()
        values = means[count:]
        if paints:
            self.w_means.append(values.pop())
        return loss, norm, values

    def paint(self, inputs, maps):
        """(pictures, their styles [N, layers, dlatent], the mean of their first style w)."""
        labels = as_var(inputs.labels)
        w, w_other = (self.G.mapping(jt.array(z), labels) for z in (inputs.latents, inputs.others))
        styles = mix_styles(w, w_other, inputs.crossover, self.config.layers)
        return self.G.synthesis(styles, maps), styles, w.detach().mean(0)

    def maps(self, count):
        return make_noise(count, self.config.size, self.config.arch)

    def generator_terms(self, D, real, inputs):
        fake, _, w_mean = self.paint(inputs, self.maps(len(inputs.latents)))
        D = functools.partial(D, labels=as_var(inputs.labels))
        return [self.generator_loss(D, real, fake)], [w_mean]

    def discriminator_terms(self, D, real, labels, inputs):
        with jt.no_grad():
            fake, _, w_mean = self.paint(inputs, self.maps(len(inputs.latents)))
        real_scores = D(real, labels=labels)
        fake_scores = D(fake.detach(), labels=as_var(inputs.labels))
        above = real_scores - fake_scores if self.relativistic else real_scores
        terms = [softplus(-above).mean()] if self.relativistic else \
            [softplus(fake_scores).mean(), softplus(-real_scores).mean()]
        return terms, [mean_sign(above), real_scores.mean().detach(), fake_scores.mean().detach(),
                       w_mean]

    def r1_terms(self, D, real, labels, inputs):
        """inputs: of the generated pictures that have the penalty too, or None."""
        penalties = [r1_penalty(D(real, labels=labels), real).mean()]
        if inputs:
            with jt.no_grad():
                fake, *_ = self.paint(inputs, self.maps(len(inputs.latents)))
            fake = fake.detach()
            fake.start_grad()
            penalties.append(r1_penalty(D(fake, labels=as_var(inputs.labels)), fake).mean())
        weight = self.s["gamma"] / 2 * self.s["r1_interval"]
        return [p * weight for p in penalties], [sum(p.detach() for p in penalties)]

    def path_length_step(self, rng, phase):
        """The penalty mean((length − a)²), where a is the moving mean of lengths. This batch's are
        in it, and are differentiated there too. Returns their mean."""
        draws = self.draw_paths(rng, phase)
        # All lengths are needed before the first gradient; only one part's are kept, the others
        # are computed again.
        lengths = []
        for draw in draws:
            kept = [self.path_run(draw)]
            lengths.append(kept[0][0].detach())
            if len(draws) > 1:
                jt.sync(lengths)
        mean, = self.means([sum(length.mean() for length in lengths)])
        pl_mean = self.pl_mean + PATH_DECAY * (mean - self.pl_mean)
        # The gradient by a length: 2 / N · (length − a − decay · (mean of all lengths − a)).
        shift = pl_mean + PATH_DECAY * (mean - pl_mean)

        def terms(draw):
            length, w_mean = kept.pop() if kept else self.path_run(draw)
            factor = 2 * self.s["pl_weight"] * self.s["pl_interval"]
            return [(length * (length.detach() - shift)).mean() * factor], [w_mean]

        self.descend(self.adam_G, map(terms, [draws[-1], *draws[:-1]]))
        self.pl_mean.update(jt.ternary(self.last_sound > 0, pl_mean, self.pl_mean))
        return mean

    def draw_paths(self, rng, phase):
        """For each part (Inputs, noise maps, directions)."""
        config, accum = self.config, self.s["grad_accum"]
        batch = phase.batch // PATH_BATCH_SHRINK
        latents = rng.standard_normal((2, batch, config.latent), "float32")
        crossover = self.crossover(rng, config.layers)
        labels = self.draw_labels(rng, batch)
        parts = np.split(np.arange(batch), accum * mpi.SIZE)
        parts = parts[accum * mpi.RANK:accum * (mpi.RANK + 1)]
        shape = len(parts[0]), config.channels, config.size, config.size
        return [(Inputs(*latents[:, part], crossover, None if labels is None else labels[part]),
                 self.maps(shape[0]), noise.normal(*shape) * (1 / config.size)) for part in parts]

    def path_run(self, draw):
        """(path lengths [N], mean style)."""
        *inputs, directions = draw
        fake, styles, w_mean = self.paint(*inputs)
        return path_lengths(fake, styles, directions), w_mean
