"""A picture's style in a trained generator: python project.py checkpoint/FFHQ_80000.model face.jpg

Finds the style w and the noise maps with which the generator paints the picture most nearly, with
the schedule of Karras et al. 2019 ("Analyzing and Improving the Image Quality of StyleGAN",
appendix D). Writes, into sample/<checkpoint's name>/, face_projected.npz, which generate.py --w
paints again; face_projected.png, the picture and what was found; and .gif, how it was found.
"""
import os
import shlex

import numpy as np
from tqdm import tqdm

from backend.errors import counted
from backend.files import make_folder, naming
from cli import (
    MOST_SEED,
    Parser,
    add_device_arguments,
    add_out_arguments,
    bring_up,
    run,
    size_argument,
)
from measures.lpips import LPIPS, WHERE
from pictures import film, origin, styles_file
from pictures.grid import make_grid, save_png
from pictures.projection import STEPS, Projection, psnr, read_picture
from weights import snapshot

FRAMES = 60


def main(argv=None):
    args = parse_arguments(argv)
    header, arrays = snapshot.load_any(args.checkpoint, args.size)
    snapshot.say_guess(header, args.checkpoint)
    snapshot.check_channels(header, args.checkpoint)
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
          f"{shlex.quote(args.checkpoint)} --w {shlex.quote(f'{name}.npz')}" +
          (f" --size {args.size}" if args.size else ""))
    return 0


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
    if not 0 <= args.seed <= MOST_SEED:
        parser.error(f"--seed: found {args.seed}, wanted 0 to {MOST_SEED}")
    if args.film == "mp4":
        film.ffmpeg()
    return args


if __name__ == "__main__":
    run(main)
