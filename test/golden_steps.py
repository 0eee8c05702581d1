"""One step of each kind of training StyleGAN2, as training/iteration2.py takes it, from the inputs
of a file of reference outputs: see golden_stylegan2.py."""
import numpy as np

from backend import jt
from training import iteration2, recipes, settings
from training.iteration import W_AVG_BETA, Inputs
from training.loss import softplus
from weights import official2, snapshot

STYLES, IMAGES, GRADIENTS, PARAMETERS = 1e-5, 2e-5, 1e-4, 1e-3


class Steps:
    """What the steps give, by their name: {"Gmain": {"loss": (array, bound), …}, …}."""

    def __init__(self, source):
        self.source, self.golden, self.found = source, source.golden, {}

    def get(self, step, what):
        if step not in self.found:
            self.found[step] = getattr(self, step.partition("_")[0])(step)
        return self.found[step].get(what, (None, 0))

    def new(self):
        """A run at the weights of the file."""
        golden, config = self.golden, self.source.config
        batch = len(golden["real"])
        s = recipes.recipe("stylegan2", "official", config.size) | dict(
            data="-", name="-", max_size=config.size, init_size=config.size, batch=str(batch),
            gamma=float(golden["r1_gamma"]), pl_weight=float(golden["pl_weight"]))
        settings.check(s)
        run = iteration2.StyleGAN2Training(s, settings.make_schedule(s), config)
        # The file's G trains; its noise is the constant maps.
        for network, prefix in (run.G, "generator"), (run.D, "discriminator"):
            snapshot.load_network(network, self.source.arrays, prefix, self.source.path)
        maps = self.source.noise("generator")
        run.maps = lambda count: maps
        run.G.w_avg.assign(golden["w_avg_before"])
        run.make_optimizers(run.schedule.at(0))
        return run

    def inputs(self, step):
        z = self.golden[f"{step}_z"]
        others = np.zeros_like(z)
        given = self.golden.get(f"{step}_mix_z", others)
        others[:len(given)] = given
        return Inputs(z, others, int(self.golden.get(f"{step}_mix_crossover",
                                                     self.source.config.layers)))

    def w_avg(self, run, w_mean):
        found = run.G.w_avg * W_AVG_BETA + w_mean * (1 - W_AVG_BETA)
        return found.numpy(), STYLES

    def gradients(self, step, network, parameters, terms):
        """The norm and the first numbers of each parameter's gradient of the sum of the terms."""
        gradients = dict(zip(parameters, jt.grad(sum(terms), list(parameters.values()))))
        theirs = {official2.official_form(name, tuple(g.shape))[0]: g.numpy().ravel()
                  for name, g in gradients.items()}
        names = [str(name) for name in self.golden[f"{step}_grad_names"]]
        names = [name.partition(".")[2] if name.startswith(("G.", "D.")) else name
                 for name in names]
        norms = [np.sqrt((theirs[name].astype("float64") ** 2).sum()) for name in names]
        heads = [np.pad(theirs[name][:8], (0, max(0, 8 - theirs[name].size))) for name in names]
        return {"grad_norm": (np.array(norms), PARAMETERS),
                "grad_head": (np.array(heads), PARAMETERS)}

    def Gmain(self, step):
        run, inputs = self.new(), self.inputs(step)
        terms, (w_mean,) = run.generator_terms(run.D, None, inputs)
        scores = run.D(run.paint(inputs, run.maps(0))[0])
        return {"fake_scores": (scores.numpy(), IMAGES),
                "loss": (softplus(-scores).numpy(), IMAGES), "w_avg_after": self.w_avg(run, w_mean),
                **self.gradients(step, run.G, run.adam_G.parameters, terms)}

    def Dmain(self, step):
        run, inputs = self.new(), self.inputs(step)
        real = jt.array(self.golden["real"])
        terms, (*_, w_mean) = run.discriminator_terms(run.D, real, None, inputs)
        fake, real = run.D(run.paint(inputs, run.maps(0))[0]), run.D(real)
        return {"fake_scores": (fake.numpy(), IMAGES), "real_scores": (real.numpy(), IMAGES),
                "loss": ((softplus(fake) + softplus(-real)).numpy(), IMAGES),
                "w_avg_after": self.w_avg(run, w_mean),
                **self.gradients(step, run.D, run.adam_D.parameters, terms)}

    def Dreg(self, step):
        run, real = self.new(), jt.array(self.golden["real"])
        terms, _ = run.r1_terms(run.D, real, None, None)
        scores = run.D(real)
        gradient = jt.grad(scores.sum(), real, retain_graph=True)
        penalty = (gradient * gradient).sum([1, 2, 3]).numpy()
        return {"real_scores": (scores.numpy(), IMAGES), "imggrad": (gradient.numpy(), GRADIENTS),
                "r1_penalty": (penalty, GRADIENTS),
                "loss": (penalty * float(self.golden["r1_gamma"]) / 2, GRADIENTS),
                **self.gradients(step, run.D, run.adam_D.parameters, terms)}

    def Greg(self, step):
        """Through path_length_step itself: what it draws is given to it, and its step recorded."""
        run, inputs, kept = self.new(), self.inputs(step), {}
        directions = jt.array(self.golden[f"{step}_pl_noise"] / np.float32(self.source.config.size))
        few = len(directions)
        inputs = inputs._replace(latents=inputs.latents[:few], others=inputs.others[:few])
        draw = inputs, run.maps(few), directions
        run.draw_paths = lambda _rng, _phase: [draw]
        run.last_sound = jt.ones(1)

        def descend(_adam, parts):
            (terms, (w_mean,)), = parts
            kept.update(self.gradients(step, run.G, run.adam_G.parameters, terms))
            kept["w_avg_after"] = self.w_avg(run, w_mean)

        run.descend = descend
        run.pl_mean.assign(np.array([self.golden[f"{step}_pl_mean_before"]], "float32"))
        run.path_length_step(None, run.schedule.at(0))
        fake, styles, _ = run.paint(*draw[:-1])
        gradient = jt.grad((fake * directions).sum(), styles, retain_graph=True)
        lengths = jt.sqrt((gradient * gradient).sum(2).mean(1)).numpy()
        mean = run.pl_mean.numpy()
        weight = float(self.golden["pl_weight"])
        return kept | {
            "pl_mean_after": (mean.reshape(()), GRADIENTS),
            "pl_grads": (gradient.numpy(), GRADIENTS),
            "pl_lengths": (lengths, GRADIENTS), "pl_penalty": ((lengths - mean) ** 2, GRADIENTS),
            "loss": (weight * (lengths - mean) ** 2, GRADIENTS)}
