"""Compares the networks with outputs that this project did not make, one line per array.

    python test/check_golden.py PICKLE.pkl GOLDEN.npz        the official networks' outputs
    python test/check_golden.py --port [PARAMS.txt] GOLDEN.npz    the PyTorch port's
    python test/check_golden.py --ada GOLDEN.npz                  the official augmentation's

PICKLE is an official pickle of StyleGAN1 or StyleGAN2. The port's weights are made from a seed;
PARAMS lists their names and shapes (default: the port's own, 512 channels, up to 1024). Errors are
the largest difference divided by the largest reference value. Exit code 1 when one is over its
bound, or an array is not known.

StyleGAN2's arrays are listed in golden_stylegan2.py, those of the augmentation in golden_ada.py.
Those of the official StyleGAN1: inputs z
[N, latent], d_images [N, C, H, W], mix_crossover and, of a network with labels, labels [N, labels]
and d_labels (default labels); outputs
    w, ws, ws_psi0.7, dlatent_avg           styles of Gs (of G: G_w, …), one per layer in ws
    img_psi0.7, img_psi0.5_cutoff3, img_psi0.7_lod1.5       images of the full size
    mix_ws, mix_img                         psi 0.7, latent i below the crossover, i + 1 from it on
    act_8x8_Conv0_up                        after the layer's epilogue, psi 0.7, first latent
    d_scores_lod0.5, d_scores3_lod0.5       of all pictures, of the first three
    r1_lod0.5_imggrad, _per_sample          of the first four: d sum(scores) / d images, its squares
    r1_lod0.5_param_gradnorm                L2 norms of d mean(10 / 2 · per_sample) / d variable,
                                            for those in r1_lod0.5_param_gradnorm_names

Gradients have steps: where an activation is closer to zero than float32 resolves, its leaky ReLU
may take the other slope, and the image gradient differs by percents in the few pixels below it.
Direct kernels round as those of the references did; Winograd's do not, so they are not the default.
"""
import dataclasses
import os
import re
import sys

import numpy as np

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from golden_ada import Augmented  # noqa: E402
from golden_stylegan2 import StyleGAN2Outputs  # noqa: E402

from backend.errors import UserError  # noqa: E402
from cli import Parser, add_device_arguments, bring_up, run  # noqa: E402
from networks.config import PORT, ModelConfig  # noqa: E402
from networks.shapes import discriminator_shapes, generator_shapes  # noqa: E402
from weights import containers, foreign, official, port, snapshot  # noqa: E402

STYLES, IMAGES, R1_IMAGES, R1_PARAMETERS = 1e-5, 2e-5, 1e-4, 1e-3
INPUT = "input"                 # what compute() returns for arrays that are not outputs


def main(argv=None):
    parser = Parser(description=__doc__)
    parser.add_argument("files", nargs="+", metavar="FILE", help="weights (see above), GOLDEN.npz")
    parser.add_argument("--port", action="store_true", help="the PyTorch port's recipe and outputs")
    parser.add_argument("--ada", action="store_true", help="the official augmentation's outputs")
    parser.add_argument("--dump", metavar="OUT.npz", help="write the computed arrays")
    parser.add_argument("--conv", choices=["direct", "winograd"], default="direct",
                        help="kernels of the CPU; Winograd's bounds are twice as wide (default "
                        "direct)")
    add_device_arguments(parser)
    args = parser.parse_args(argv)
    if len(args.files) != 2 - args.ada and not (args.port and len(args.files) == 1):
        parser.error("wanted PICKLE.pkl GOLDEN.npz, --port GOLDEN.npz, or --ada GOLDEN.npz")
    try:
        with np.load(args.files[-1], allow_pickle=False) as archive:
            golden = {name: archive[name] for name in archive.files}
    except (OSError, ValueError) as error:
        raise UserError(f"{args.files[-1]}: {error}") from None
    if args.port:
        source = PortOutputs(golden, *args.files[:-1])
    elif args.ada:
        source = Augmented(golden)
    else:
        header, _ = foreign.read(args.files[0])
        kind = OfficialOutputs if header["model"]["arch"] == "stylegan1" else StyleGAN2Outputs
        source = kind(golden, args.files[0])
    import backend
    backend.use_conv(args.conv)
    bring_up(args.device, args.cuda_home)
    source.make_networks()
    wrong, dump = [], {}
    for name, wanted in golden.items():
        found, bound = source.compute(name)
        if found is INPUT:
            print(f"{name:40} input")
            continue
        if found is None:
            print(f"{name:40} not known")
            wrong.append(name)
            continue
        dump[name] = found
        error = source.error(name, found, wanted, relative_error) if hasattr(source, "error") \
            else relative_error(found, wanted)
        print(f"{name:40} {error:.1e}  bound {bound:.0e}{'' if error <= bound else '  OVER'}")
        if not error <= bound:
            wrong.append(name)
    if args.dump:
        with open(args.dump, "wb") as file:
            np.savez(file, **dump)
    print(f"{len(dump)} arrays compared, {len(wrong)} over their bound or not known")
    return 1 if wrong or not dump else 0


def relative_error(found, wanted):
    if found.shape != wanted.shape:
        return np.inf
    difference = np.abs(found.astype("float64") - wanted).max(initial=0)
    return difference / (np.abs(wanted).max(initial=0) or 1)


def fading(lod):
    """Level of detail → (levels to leave out, alpha): 1.25 is a quarter of the way to 2."""
    return int(lod), 1 - lod % 1


class OfficialOutputs:
    """Computes what an array of the official network's outputs is named after."""

    def __init__(self, golden, pickle):
        self.golden, self.path = golden, pickle
        self.header, self.arrays = foreign.read(pickle)
        _, networks = containers.read(pickle)
        self.variables = {"generator": official.variables(networks[0]),
                          "ema": official.variables(networks[2])}
        self.config = snapshot.model_config(self.header, pickle)

    def make_networks(self):
        found = (self.header, self.arrays, self.path)
        self.networks = {"generator": snapshot.make_generator(*found, "generator"),
                         "ema": snapshot.make_generator(*found),
                         "discriminator": snapshot.make_discriminator(*found)}

    def compute(self, name):
        """(array, bound); (INPUT, 0) for what is no output, (None, 0) for what is not known."""
        if re.fullmatch(r"z|(d_)?labels|d_images|mix_crossover|.*names|.*version.*", name):
            return INPUT, 0
        if found := re.fullmatch(r"(G_|Gs_)?(dlatent_avg|w|ws|img)(?:_psi([\d.]+))?"
                                 r"(?:_cutoff(\d+))?(?:_lod([\d.]+))?", name):
            prefix, kind, psi, cutoff, lod = found.groups()
            prefix = "generator" if prefix == "G_" else "ema"
            count = len(self.golden[name])
            if kind == "dlatent_avg":
                return self.networks[prefix].w_avg.numpy(), STYLES
            if kind == "w":
                return self.styles(prefix, count, 1.0)[:, 0], STYLES
            psi = float(psi) if psi else 1.0 if kind == "ws" else 0.7
            styles = self.styles(prefix, count, psi, int(cutoff or 8))
            return (styles, STYLES) if kind == "ws" else \
                (self.images(prefix, styles, lod and float(lod)), IMAGES)
        if found := re.fullmatch(r"mix_(ws|img)", name):
            styles = self.styles("ema", len(self.golden["z"]), 0.7)
            below = (np.arange(styles.shape[1]) < self.golden["mix_crossover"])[:, None]
            styles = np.where(below, styles, np.roll(styles, -1, 0))[:len(self.golden[name])]
            return (styles, STYLES) if found[1] == "ws" else (self.images("ema", styles), IMAGES)
        if found := re.fullmatch(r"act_(\d+)x\d+_(Const|Conv|Conv0_up|Conv1)", name):
            return self.activation(int(found[1]), found[2] in ("Conv", "Conv1")), IMAGES
        if found := re.fullmatch(r"d_scores(\d*)_lod([\d.]+)", name):
            images = self.golden["d_images"]
            return self.scores(images[:int(found[1] or len(images))], float(found[2])), IMAGES
        if found := re.fullmatch(r"r1_lod([\d.]+)_(imggrad|per_sample|param_gradnorm)", name):
            gradient, penalty, norms = self.r1(float(found[1]))
            if found[2] == "param_gradnorm":
                return np.array([norms[n] for n in self.golden[name + "_names"]]), R1_PARAMETERS
            return (gradient if found[2] == "imggrad" else penalty), R1_IMAGES
        return None, 0

    def styles(self, prefix, count, psi, cutoff=8):
        import model
        from backend import jt
        network = self.networks[prefix]
        with jt.no_grad():
            w = network.mapping(jt.array(self.golden["z"][:count]), self.labels("labels", count))
            styles = model.broadcast_style(w, self.config.layers)
            return model.truncate(styles, network.w_avg, psi, cutoff).numpy()

    def labels(self, name, count):
        from backend import jt
        if not self.config.labels:
            return None
        found = self.golden[name if name in self.golden else "labels"][:count]
        return jt.array(found.astype("float32"))

    def images(self, prefix, styles, lod=None):
        """Pictures of the full size, like those of the official network at any level of detail."""
        from backend import jt
        from networks.inputs import fade
        levels, alpha = fading(lod if lod is not None else float(self.variables[prefix]["lod"]))
        images = []
        with jt.no_grad():
            for one in styles:
                image = self.networks[prefix].synthesis(
                    jt.array(one[None]), self.noise(prefix), self.config.size >> levels,
                    fade(alpha))
                images.append(image.numpy().repeat(2 ** levels, 2).repeat(2 ** levels, 3))
        return np.concatenate(images)

    def noise(self, prefix):
        from backend import jt
        found = self.variables[prefix]
        return [jt.array(found[f"synthesis/noise{i}"]) for i in range(self.config.layers)]

    def activation(self, size, second):
        """After the epilogue of one of the two layers of `size`, for the first latent."""
        from backend import jt
        synthesis, kept = self.networks["ema"].synthesis, []
        block = getattr(synthesis, f"block{size}")
        epilogue = block.epilogue1 if second else block.epilogue0
        epilogue.register_forward_hook(
            lambda _module, _inputs, output, _keywords=None: kept.append(output.numpy()))
        with jt.no_grad():
            synthesis(jt.array(self.styles("ema", 1, 0.7)), self.noise("ema"), self.config.size)
        epilogue.remove_forward_hook()
        return kept[0]

    def scores_var(self, images, lod):
        """Scores of a Var of pictures of the full size, at a level of detail."""
        from networks.inputs import fade
        from networks.layers import downsample
        levels, alpha = fading(lod)
        for _ in range(levels):
            images = downsample(images)
        return self.networks["discriminator"](images, fade(alpha),
                                              self.labels("d_labels", images.shape[0]))

    def scores(self, images, lod):
        from backend import jt
        with jt.no_grad():
            return self.scores_var(jt.array(images), lod).numpy()

    def r1(self, lod):
        """(image gradients, penalties per image, {official name: norm of the penalty's gradient})
        for the first four pictures."""
        from backend import jt
        images = jt.array(self.golden["d_images"][:4])
        gradient, penalty, norms = r1_gradients(
            self.networks["discriminator"], images, lambda: self.scores_var(images, lod))
        shapes = discriminator_shapes(self.config)
        names = {ours: official.official_form(ours, shape, self.config.size, lambda size: False)[0]
                 for ours, shape in shapes.items()}
        return gradient, penalty, {names[n]: np.sqrt((g.astype("float64") ** 2).sum())
                                   for n, g in norms.items()}


def r1_gradients(discriminator, images, scores):
    """(d sum(scores) / d images, its squares summed per image, {our name: gradient of their
    mean · 10 / 2})."""
    from backend import jt
    gradient = jt.grad(scores().sum(), images, retain_graph=True)
    penalty = (gradient * gradient).sum([1, 2, 3])
    parameters = dict(discriminator.named_parameters())
    gradients = jt.grad(penalty.mean() * (10 / 2), list(parameters.values()))
    return gradient.numpy(), penalty.numpy(), {n: g.numpy() for n, g in zip(parameters, gradients)}


class PortOutputs:
    """The same for the PyTorch port, whose weights are made from the seeds of its recipe."""

    seeds = {"G": 1234, "D": 5678}

    def __init__(self, golden, parameters=None):
        self.golden = golden
        self.shapes = read_shapes(parameters) if parameters else port_shapes(golden)
        self.state = {network: make_parameters(self.shapes[network], seed)
                      for network, seed in self.seeds.items()}
        content = {"g_running": self.state["G"], "discriminator": self.state["D"]}
        weights = port.weights_of("recipe", content)
        self.config = weights.config
        self.arrays = {name: np.ascontiguousarray(a) for name, a in foreign.place(weights).items()}

    def compute(self, name):
        if re.fullmatch(r"z2?|noise\d+|d_images_step\d+|.*names|.*version.*", name):
            return INPUT, 0
        if found := re.fullmatch(r"([GD])_param_(first|sum)", name):
            arrays = [self.state[found[1]][n] for n in self.golden[f"{found[1]}_param_names"]]
            return np.array([a.flat[0] if found[2] == "first" else a.sum(dtype="float64")
                             for a in arrays]), STYLES
        if name in ("w", "w2"):
            return self.styles("z2" if name == "w2" else "z", 2)[:, 0], STYLES
        if name == "mean_style":
            return self.mean_style(), STYLES
        if found := re.fullmatch(r"g_step(\d+)_alpha([\d.]+)(?:_trunc([\d.]+))?"
                                 r"(?:_mix_range(\d+)_(\d+))?", name):
            step, alpha, psi, *mixed = found.groups()
            return self.images(int(step), float(alpha), psi and float(psi), mixed), IMAGES
        if found := re.fullmatch(r"d_step(\d+)_alpha([\d.]+)", name):
            return self.scores(int(found[1]), float(found[2])), IMAGES
        if found := re.fullmatch(r"r1_step(\d+)_alpha([\d.]+)_(penalty|imggrad|gradnorm|gradhead|"
                                 r"all_gradnorm)", name):
            gradient, penalty, gradients = self.r1(int(found[1]), float(found[2]))
            if found[3] in ("penalty", "imggrad"):
                return (penalty if found[3] == "penalty" else gradient), R1_IMAGES
            names = name.rpartition("_")[0] + "_names"
            wanted = [gradients[n] for n in self.golden[names]]
            return np.array([g.ravel()[:16] if found[3] == "gradhead" else
                             np.sqrt((g.astype("float64") ** 2).sum()) for g in wanted]), \
                R1_PARAMETERS
        return None, 0

    def make_networks(self):
        header = {"model": dataclasses.asdict(self.config)}
        self.generator = snapshot.make_generator(header, self.arrays, "recipe")
        self.discriminator = snapshot.make_discriminator(header, self.arrays, "recipe")

    def styles(self, latents, layers):
        import model
        from backend import jt
        with jt.no_grad():
            w = self.generator.mapping(jt.array(self.golden[latents]))
            return model.broadcast_style(w, layers).numpy()

    def mean_style(self):
        """Of all latents that the recipe has."""
        return np.concatenate([self.styles(z, 1) for z in ("z", "z2")]).mean(0)

    def images(self, step, alpha, psi, mixed):
        """psi: towards mean_style in all layers; mixed: first and last block with the second w."""
        import model
        from backend import jt
        from networks.inputs import fade
        layers, size = 2 * (step + 1), 4 * 2 ** step
        styles = self.styles("z", layers)
        if mixed[0] is not None:
            second = slice(2 * int(mixed[0]), 2 * (int(mixed[1]) + 1))
            styles[:, second] = self.styles("z2", layers)[:, second]
        noise = []
        for i in range(step + 1):
            noise += [jt.array(self.golden[f"noise{i}"]), None]     # one map for both layers
        with jt.no_grad():
            styles = jt.array(styles)
            if psi is not None:
                styles = model.truncate(styles, jt.array(self.mean_style()), psi, cutoff=layers)
            return self.generator.synthesis(styles, noise, size, fade(alpha)).numpy()

    def scores(self, step, alpha):
        from backend import jt
        from networks.inputs import fade
        with jt.no_grad():
            images = jt.array(self.golden[f"d_images_step{step}"])
            return self.discriminator(images, fade(alpha)).numpy()

    def r1(self, step, alpha):
        from backend import jt
        from networks.inputs import fade
        images = jt.array(self.golden[f"d_images_step{step}"])
        gradient, penalty, gradients = r1_gradients(
            self.discriminator, images, lambda: self.discriminator(images, fade(alpha)))
        arrays = {f"discriminator/{name}": g for name, g in gradients.items()}
        return gradient, np.float32(penalty.mean() * 10 / 2), \
            port.to_port(self.config, arrays)["discriminator"]


def make_parameters(shapes, seed):
    """{name: N(0, 1) array} in the order of the names; scale 1 for all, biases too."""
    rng = np.random.RandomState(seed)
    return {name: rng.standard_normal(shapes[name]).astype("float32") for name in sorted(shapes)}


def port_shapes(golden):
    """{"G" or "D": {port's name: shape}} of the port's classes, with the options that the names of
    the parameters in the golden file tell."""
    names = {network: golden[f"{network}_param_names"].tolist() for network in "GD"}
    layers = port.count(names["G"], r"style\.\d+\.linear\.bias")
    activate = "from_rgb.0.0.conv.bias" in names["D"]
    config = ModelConfig(**PORT, mapping_layers=layers, from_rgb_activate=activate)
    shapes = {"G": generator_shapes(config), "D": discriminator_shapes(config)}
    found = {"G": {}, "D": {}}
    for network in "GD":
        for name, shape in shapes[network].items():
            for fused in False, True:
                theirs, there, _ = port.port_form(name, shape, 8, activate, fused)
                if theirs in names[network]:
                    found[network][theirs] = there
    return found


def read_shapes(path):
    """The same from lines such as "G: style.1.linear.bias [512]"."""
    found = {"G": {}, "D": {}}
    try:
        with open(path) as file:
            for line in filter(str.strip, file):
                network, name, shape = re.fullmatch(r"([GD]): (\S+) \[([\d, ]*)\]\s*",
                                                    line).groups()
                found[network][name] = tuple(int(n) for n in shape.split(",") if n.strip())
    except (OSError, AttributeError, UnicodeDecodeError):
        raise UserError(f"{path}: wanted lines such as G: style.1.linear.bias [512]") from None
    return found


if __name__ == "__main__":
    run(main)
