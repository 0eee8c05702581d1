"""A picture's style in a trained generator: python project.py checkpoint/FFHQ_80000.model face.jpg

Finds the style w and the noise maps with which the generator paints the picture most nearly, with
the schedule of Karras et al. 2019 ("Analyzing and Improving the Image Quality of StyleGAN",
appendix D). Writes, into sample/<checkpoint's name>/ under the picture's name: .npz, which
generate.py --w paints again; .png, the picture and what was found; .gif, how it was found.
"""
import os
import shlex
import sys

import numpy as np
from PIL import Image
from tqdm import tqdm

from backend import streams
from backend.errors import UserError, counted
from backend.files import make_folder, naming
from backend.pixels import flat, of_picture
from cli import Parser, add_device_arguments, add_out_arguments, bring_up, run, size_argument
from dataset import to_float
from measures.lpips import LPIPS, WHERE
from networks.config import num_layers, sizes_to
from pictures import film, origin, styles_file
from pictures.grid import make_grid, save_png, to_pixels
from pictures.painter import latents_of, paint, random_noise, styles_of
from pictures.reading import make_square, open_picture, upright
from weights import snapshot

STEPS, LEARNING_RATE = 1000, 0.1
RAMP_UP, RAMP_DOWN, NOISE_UNTIL = 0.05, 0.25, 0.75      # of the steps
STYLE_NOISE, REGULARIZE_NOISE = 0.05, 1e5
SAMPLES = 1000                  # of w, for its mean and deviation; the paper has 10,000
FRAMES = 60


def main(argv=None):
    args = parse_arguments(argv)
    header, arrays = snapshot.load_any(args.checkpoint, args.size)
    label = None
    if args.label is not None:
        label = snapshot.label_of(args.label, header, args.checkpoint)
        args.label = snapshot.class_name(label, header)
    target = read_picture(args.picture, header["size"], header["model"]["channels"])
    out = args.out or os.path.join("sample", os.path.splitext(os.path.basename(args.checkpoint))[0])
    name = os.path.join(out, os.path.splitext(os.path.basename(args.picture))[0] + "_projected")
    make_folder(out, "--out")
    made = {"checkpoint": origin.weights(args.checkpoint, arrays),
            "picture": origin.identity(args.picture, target)}
    made |= origin.settings(args, ("size", "steps", "space", "seed", "lpips", "label"))
    if not args.overwrite:
        for ending in ("npz", "png", args.film):
            origin.check(f"{name}.{ending}", made)
    bring_up(args.device, args.cuda_home)
    generator = snapshot.make_generator(header, arrays, args.checkpoint)
    network = LPIPS(args.lpips) if args.lpips else None
    projection = Projection(generator, header["size"], header["alpha"], target, args.space,
                            args.steps, network, args.seed, label)
    cell = max(header["size"], 128)
    with tqdm(total=args.steps, unit="step") as bar, film.WRITERS[args.film](
            f"{name}.{args.film}", 20, made) as write:
        for step in range(args.steps):
            loss = projection.step(step)
            if step % max(1, args.steps // FRAMES) == 0 or step == args.steps - 1:
                picture, styles, noise = projection.result()
                write(make_grid(np.stack([target, picture]), 2, cell))
                bar.set_postfix_str(f"loss {loss:.4f}, PSNR {psnr(picture, target):.1f} dB",
                                    refresh=False)
            bar.update()
    styles_file.write(f"{name}.npz", made, w=styles, **{f"noise{i}": n.numpy()
                                                         for i, n in enumerate(noise)})
    with naming(f"{name}.png"):
        save_png(make_grid(np.stack([target, picture]), 2, cell), f"{name}.png", made=made)
    print(f"{args.picture}: PSNR {psnr(picture, target):.1f} dB at size {header['size']}, "
          f"{counted(args.steps, 'step')}, seed {args.seed}, loss over pixels and Laplacian "
          "pyramid" + (" and LPIPS" if network else ""))
    for ending in ("npz", "png", args.film):
        print(f"  {name}.{ending}")
    print("To paint it again, type: python generate.py "
          f"{shlex.quote(args.checkpoint)} --w {shlex.quote(f'{name}.npz')}")
    return 0


class Projection:
    """Style and noise of `target` [C, size, size], from the mean style on, as in the paper.

    space: "w", one style for all layers, or "w+", one for each. label: the class whose mean style
    it is, by default that of all.
    """

    def __init__(self, generator, size, alpha, target, space, steps, network, seed, label=None):
        from backend import jt
        self.generator, self.size, self.alpha, self.network = generator, size, alpha, network
        self.steps, self.rng = steps, streams.rng("projection", seed)
        latents = latents_of(range(2 ** 31 + seed, 2 ** 31 + seed + SAMPLES), generator.config,
                             label)
        w = styles_of(generator, latents, size, 1)[:, 0]
        self.deviation = float(np.sqrt(((w - w.mean(0)) ** 2).sum() / len(w)))
        self.target = jt.array(target[None]).stop_grad()
        self.pyramid = pyramid(self.target)
        self.features = network and network.features(self.target)
        layers = num_layers(size) if space == "w+" else 1
        self.w = jt.array(w.mean(0)[None, None].repeat(layers, 1))
        self.noise = [jt.array(n) for n in random_noise([seed], size, generator.config.arch)]
        self.parameters = [self.w, *self.noise]
        self.moments = [[jt.zeros(p.shape).stop_grad() for p in self.parameters] for _ in range(2)]

    def styles(self, w):
        return w.expand(w.shape[0], num_layers(self.size), w.shape[2])

    def error(self, image):
        """How far an image [1, C, size, size] is from the target, Var [1]."""
        error = ((image - self.target) ** 2).mean((1, 2, 3))
        for level, wanted in zip(pyramid(image), self.pyramid):
            error = error + (level - wanted).abs().mean((1, 2, 3))
        if self.network:
            error = error + self.network.distance(self.network.features(image), self.features)
        return error

    def step(self, step):
        """One step of Adam; the loss before it, without the noise's."""
        from backend import jt
        from networks.inputs import fade
        t = step / self.steps
        ramp = min(1.0, (1 - t) / RAMP_DOWN)
        ramp = (0.5 - 0.5 * np.cos(ramp * np.pi)) * min(1.0, t / RAMP_UP)
        strength = self.deviation * STYLE_NOISE * max(0.0, 1 - t / NOISE_UNTIL) ** 2
        moved = self.w + jt.array(self.rng.standard_normal(self.w.shape, "float32")) * strength
        images = self.generator.synthesis(self.styles(moved), self.noise, self.size,
                                          fade(self.alpha))
        error = self.error(images)
        loss = error + REGULARIZE_NOISE * sum(map(correlation, self.noise))
        gradients = jt.grad(loss, self.parameters)
        self.adam(gradients, LEARNING_RATE * ramp, step + 1)
        jt.sync_all()
        return error.item()

    def adam(self, gradients, lr, count):
        """Adam with β 0.9 and 0.999; then noise has mean 0 and deviation 1 again."""
        from backend import jt
        for i, (p, g, m, v) in enumerate(zip(self.parameters, gradients, *self.moments)):
            m.update(m * 0.9 + g * 0.1)
            v.update(v * 0.999 + g * g * 0.001)
            size = lr * np.sqrt(1 - 0.999 ** count) / (1 - 0.9 ** count)
            new = p.detach() - m * float(size) / (jt.sqrt(v) + 1e-8)
            if i:
                new = new - new.mean((2, 3), keepdims=True)
                new = new * jt.rsqrt((new * new).mean((2, 3), keepdims=True))
            p.update(new)
            p.start_grad()

    def result(self):
        """(NumPy picture, NumPy styles [1, layers, dlatent], noise maps [1, 1, h, h])."""
        styles, noise = self.styles(self.w).numpy(), [n.detach() for n in self.noise]
        return paint(self.generator, styles, self.size, self.alpha, noise=noise)[0], styles, noise


def pyramid(images):
    """Laplacian pyramid of Vars with 2×2 means: what each halving loses, and the rest at 4."""
    from networks.layers import downsample, upsample
    levels = []
    for _ in sizes_to(images.shape[-1])[1:]:
        smaller = downsample(images)
        levels.append(images - upsample(smaller))
        images = smaller
    return [*levels, images]


def correlation(noise):
    """How much neighbours in maps [N, 1, h, h] are alike, at every size from 8 on (appendix D)."""
    from networks.layers import downsample
    total = 0
    while True:
        for axis in (2, 3):
            total = total + (noise * rolled(noise, axis)).mean((1, 2, 3)) ** 2
        if noise.shape[-1] <= 8:
            return total.sum()
        noise = downsample(noise) * 2


def rolled(x, axis):
    """By one along an axis, the last becoming the first."""
    from backend import jt
    if axis == 2:
        return jt.concat([x[:, :, -1:], x[:, :, :-1]], 2)
    return jt.concat([x[:, :, :, -1:], x[:, :, :, :-1]], 3)


def psnr(image, target):
    """Of two float pictures [C, H, W], in dB, as 8 bits."""
    one, other = (to_pixels(x[None]).astype("float64") for x in (image, target))
    return 10 * np.log10(255 ** 2 / max(((one - other) ** 2).mean(), 1e-10))


def read_picture(path, size, channels):
    """float32 [C, size, size] in [-1, 1]: the middle square of any picture."""
    try:
        with open_picture(path) as opened:
            picture = upright(opened)
            picture = picture.convert("RGBA") if channels == 4 else flat(picture)
            picture = make_square(picture, "crop", None)
    except Exception as error:          # Pillow raises many kinds for broken files
        raise UserError(f"{path}: not a picture that can be read "
                        f"({getattr(error, 'strerror', None) or error})") from None
    if picture.size != (size, size):
        print(f"note: {path} is made {size}×{size}, from {picture.size[0]}×{picture.size[1]} in "
              "its middle", file=sys.stderr)
    picture = picture.resize((size, size), Image.LANCZOS)
    return np.ascontiguousarray(to_float(of_picture(picture, channels)))


def parse_arguments(argv):
    parser = Parser(description=__doc__)
    parser.add_argument("checkpoint", help="a .model file that train.py wrote, or other weights")
    parser.add_argument("picture", help="any picture; its middle square is taken")
    parser.add_argument("--steps", type=int, default=STEPS, metavar="N",
                        help=f"more are better and take longer (default {STEPS})")
    parser.add_argument("--space", choices=["w", "w+"], default="w", help="one style for all "
                        "layers, or one for each: nearer to strange pictures, and less of the "
                        "generator's own (default w)")
    parser.add_argument("--lpips", metavar="FILE", help=f"also compare as people see: {WHERE}")
    parser.add_argument("--film", choices=sorted(film.WRITERS), default="gif",
                        help="kind of the film (default gif)")
    parser.add_argument("--label", metavar="NAME|NUMBER", help="of a network with labels: begin at "
                        "the mean style of this class (default: of all)")
    parser.add_argument("--seed", type=int, default=0, help="of where it begins (default 0)")
    parser.add_argument("--size", type=size_argument, help="of other projects' weights: size in "
                        "pixels to which they were trained")
    add_out_arguments(parser)
    add_device_arguments(parser)
    args = parser.parse_args(argv)
    if args.steps < 1:
        parser.error(f"--steps: found {args.steps}, wanted 1 or more")
    if args.seed < 0:
        parser.error(f"--seed: found {args.seed}, wanted 0 or more")
    if args.film == "mp4":
        film.ffmpeg()
    return args


if __name__ == "__main__":
    run(main)
