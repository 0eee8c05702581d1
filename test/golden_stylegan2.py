"""What check_golden.py compares of a StyleGAN2: what it paints and scores, and steps of training.

Inputs z [N, latent], c [N, labels], d_images [M, C, H, W], d_c and mix_crossover; outputs
    ws, ws_psi0.7, ws_psi0.7_cutoff4        styles of G_ema, one per layer; of G: G_ws …
    img_psi0.7, img_psi1.0_nonoise          images, with the file's noise maps or none
    mix_ws, mix_img                         psi 0.7, latent i below the crossover, i + 1 from it on
    act_b8_conv0, act_b8_torgb              after the layer, psi 0.7, first latent, first channels
    d_logits, d_logits3, d_logits_group4    of all pictures, of the first three, in groups of 4
    G_img_psi1.0                            of G, with its own noise maps
    r1_imggrad, r1_per_sample               of the first four: d sum(scores) / d images, its squares
    conv_cossum                             of the arrays conv_names, as the PyTorch code has them:
                                            the sum of all numbers t[i] · cos(i)

and, for the steps Gmain, Gmain_nomix, Greg (path length), Dmain and Dreg (R1), with inputs real,
r1_gamma, pl_weight, pl_decay, gain_*, w_avg_before, Greg_pl_noise, Greg_pl_mean_before, *_z,
*_mix_z and *_mix_crossover, each from the weights of the file and with its noise maps:
    Gmain_fake_scores, Dmain_real_scores …  scores
    Gmain_loss …                            of each image, before its mean and gain
    Gmain_w_avg_after …                     the mean style
    Greg_pl_grads, _pl_lengths, _pl_penalty, _pl_mean_after
    Dreg_imggrad, _r1_penalty
    Gmain_grad_norm, Gmain_grad_head …      of the loss times its gain, by each parameter in
                                            Gmain_grad_names: its norm, its first 8 numbers
"""
import re

import numpy as np

from weights import containers, foreign, official, official2, snapshot

STYLES, IMAGES, R1_IMAGES, PARAMETERS = 1e-5, 2e-5, 1e-4, 1e-3
STEPS = "Gmain_nomix|Gmain|Greg|Dmain|Dreg"


class StyleGAN2Outputs:
    """Computes what an array of the official network's outputs is named after."""

    def __init__(self, golden, pickle):
        self.golden, self.path = golden, pickle
        self.header, self.arrays = foreign.read(pickle)
        self.config = snapshot.model_config(self.header, pickle)
        content = containers.read(pickle)[1]
        if isinstance(content, dict):
            found = official2.Module(content["G"]).arrays
            self.own_noise = [found[name] for name in official2.noise_names(self.config)]
            self.group = self.config.stddev_group
        else:
            found = official.variables(content[0])
            self.own_noise = [found[f"synthesis/noise{i}"]
                              for i in range(len(self.config.noise_sides))]
            # Where a file does not say it, the official conversion compares the whole batch.
            self.group = official.options_of(content[1]).get("mbstd_group_size", 0)

    def error(self, name, found, wanted, relative_error):
        """The largest difference ÷ the largest value; of gradients for each parameter by itself."""
        if "_grad_" not in name or found.shape != wanted.shape:
            return relative_error(found, wanted)
        return max(relative_error(a, b) for a, b in zip(found, wanted))

    def make_networks(self):
        found = (self.header, self.arrays, self.path)
        self.networks = {"generator": snapshot.make_generator(*found, "generator"),
                         "ema": snapshot.make_generator(*found),
                         "discriminator": snapshot.make_discriminator(*found)}

    def compute(self, name):
        """(array, bound); ("input", 0) for what is no output, (None, 0) for what is not known."""
        if re.fullmatch(r"z|c|d_images|d_c|mix_crossover|.*names|conv_shapes|.*version.*|real|"
                        r"r1_gamma|pl_\w+|gain_\w+|w_avg_before|kink_margin|\w+_pl_noise|"
                        r"\w+_pl_mean_before|\w+_z|\w+_mix_crossover", name):
            return "input", 0
        if found := re.fullmatch(rf"({STEPS})_(\w+)", name):
            return self.steps().get(found[1], found[2])
        if found := re.fullmatch(r"(G_)?(ws|img)(?:_psi([\d.]+))?(?:_cutoff(\d+))?(_nonoise)?",
                                 name):
            prefix, kind, psi, cutoff, without = found.groups()
            prefix = "generator" if prefix else "ema"
            styles = self.styles(prefix, len(self.golden[name]), float(psi or 1),
                                 int(cutoff or self.config.layers))
            return (styles, STYLES) if kind == "ws" else \
                (self.images(prefix, styles, None if without else self.noise(prefix)), IMAGES)
        if found := re.fullmatch(r"mix_(ws|img)", name):
            styles = self.styles("ema", len(self.golden["z"]), 0.7, self.config.layers)
            below = (np.arange(styles.shape[1]) < self.golden["mix_crossover"])[:, None]
            styles = np.where(below, styles, np.roll(styles, -1, 0))[:len(self.golden[name])]
            return (styles, STYLES) if found[1] == "ws" else \
                (self.images("ema", styles, self.noise()), IMAGES)
        if found := re.fullmatch(r"act_b(\d+)_(conv0|conv1|torgb)", name):
            return self.activation(int(found[1]), found[2])[:, :self.golden[name].shape[1]], IMAGES
        if found := re.fullmatch(r"d_logits(3?)(?:_group(\d+))?", name):
            count = int(found[1] or len(self.golden[name]))
            return self.scores(count, int(found[2] or self.group or count)), IMAGES
        if name == "conv_cossum":
            return self.cosine_sums(), STYLES
        if found := re.fullmatch(r"r1_(imggrad|per_sample)", name):
            return self.r1()[found[1] == "per_sample"], R1_IMAGES
        return None, 0

    def steps(self):
        if not hasattr(self, "_steps"):
            from golden_steps import Steps
            self._steps = Steps(self)
        return self._steps

    def cosine_sums(self):
        converted = {}
        for prefix, theirs in ("ema", "G_ema"), ("discriminator", "D"):
            for name, a in snapshot.network_part(self.arrays, prefix).items():
                converted[f"{theirs}.{official2.official_form(name, a.shape)[0]}"] = a
        for i, name in enumerate(official2.noise_names(self.config)):
            converted[f"G_ema.{name}"] = self.arrays[f"noise/{i}"]
        arrays = [official2.FILTER if name.endswith("resample_filter") else converted[name]
                  for name in self.golden["conv_names"]]
        return np.array([(a.astype("float64").ravel() * np.cos(np.arange(a.size))).sum()
                         for a in arrays])

    def labels(self, name, count):
        from backend import jt
        return jt.array(self.golden[name][:count]) if self.config.labels else None

    def styles(self, prefix, count, psi, cutoff):
        import model
        from backend import jt
        network = self.networks[prefix]
        with jt.no_grad():
            w = network.mapping(jt.array(self.golden["z"][:count]), self.labels("c", count))
            styles = model.broadcast_style(w, self.config.layers)
            return model.truncate(styles, network.w_avg, psi, cutoff).numpy()

    def images(self, prefix, styles, noise):
        from backend import jt
        with jt.no_grad():
            return self.networks[prefix].synthesis(jt.array(styles), noise).numpy()

    def noise(self, prefix="ema"):
        from backend import jt
        sides = self.config.noise_sides
        maps = self.own_noise if prefix == "generator" else \
            [self.arrays[f"noise/{i}"] for i in range(len(sides))]
        return [jt.array(a.reshape(1, 1, side, side)) for a, side in zip(maps, sides)]

    def activation(self, size, layer):
        synthesis, kept = self.networks["ema"].synthesis, []
        module = getattr(synthesis, f"to_rgb{size}") if layer == "torgb" else \
            getattr(getattr(synthesis, f"block{size}"), layer)
        module.register_forward_hook(
            lambda _module, _inputs, output, _keywords=None: kept.append(output.numpy()))
        self.images("ema", self.styles("ema", 1, 0.7, self.config.layers), self.noise())
        module.remove_forward_hook()
        return kept[0]

    def score(self, images, group):
        """Scores of a Var of pictures, compared in groups of so many."""
        D = self.networks["discriminator"]
        if D.head.group != 1:
            D.head.group = group
        return D(images, labels=self.labels("d_c", images.shape[0]))

    def scores(self, count, group):
        from backend import jt
        with jt.no_grad():
            return self.score(jt.array(self.golden["d_images"][:count]), group).numpy()

    def r1(self):
        from backend import jt
        images = jt.array(self.golden["d_images"][:4])
        gradient = jt.grad(self.score(images, self.group or 4).sum(), images)
        return gradient.numpy(), (gradient * gradient).sum([1, 2, 3]).numpy()
