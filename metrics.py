"""How good a generator is, in numbers: python metrics.py checkpoint/data_025000000.model data

Real pictures of its size are compared with as many generated ones, painted without truncation and
with noise of their own, rounded to 8 bits as the real ones are.

    swd       sliced Wasserstein distance over the Laplacian pyramid: are details alike?
    ms_ssim   multi-scale similarity of pairs of generated pictures: do they differ?
    fid, kid, pr    Fréchet and kernel distance, precision and recall of Inception features:
              need --inception
    ppl       perceptual path length: is the latent space smooth? needs --lpips

The first two need no pretrained network.
"""
import dataclasses
import shlex
import sys
import time

import numpy as np
from tqdm import tqdm

import feature_metrics
import inception
import lpips
import snapshot
import swd
from cli import (
    Parser,
    UserError,
    add_device_arguments,
    bring_up,
    counted,
    names_argument,
    run,
    size_argument,
)
from dataset import PictureFolder, check_root, flips, load_batch
from grid import to_pixels
from ms_ssim import Diversity, scales
from painter import latents_of, paint, random_noise, styles_of
from path_length import path_length

METRICS = ("swd", "ms_ssim", "fid", "kid", "pr", "ppl")
OF_FEATURES = {"fid", "kid", "pr"}
# What training writes into stats.csv.
COLUMNS = ("swd", "ms_ssim", "fid", "kid", "precision", "recall", "ppl_z", "ppl_w")
CHUNK = 32


class Stopped(Exception):
    """The user asked for it while measuring."""


class Measure:
    """Real and generated pictures go in, some at a time; results come out.

    network: an Inception, where features are wanted. floors: whether to measure the real pictures
    among themselves too.
    """

    def __init__(self, wanted, seed=0, network=None, floors=True):
        self.wanted, self.seed, self.with_floors = wanted, seed, floors
        self.network = network if OF_FEATURES & wanted else None
        # Real pictures, generated ones, and further real ones for the floor.
        self.real, self.fake, self.others = (swd.Descriptors(seed, i) for i in range(3))
        self.real_diversity, self.diversity = Diversity(), Diversity()
        self.features = [], []

    def add(self, real, fake):
        """uint8 [n, C, size, size] each, equally many."""
        if "swd" in self.wanted:
            self.real.add(real)
            self.fake.add(fake)
        if "ms_ssim" in self.wanted:
            self.real_diversity.add(real)
            self.diversity.add(fake)
        if self.network:
            for features, pixels in zip(self.features, (real, fake)):
                features.append(self.network.features(pixels))
        self.size = real.shape[-1]

    def add_others(self, real):
        """uint8 [n, C, size, size]: real pictures that are not among the others, for the floor."""
        self.others.add(real)

    def results(self):
        """Yields (column of stats.csv or None, label, value, what to compare with, filter)."""
        if "swd" in self.wanted:
            yield from self.distances()
        if "ms_ssim" in self.wanted:
            yield ("ms_ssim", "MS-SSIM of pairs", self.diversity.mean(),
                   f"the real ones: {self.real_diversity.mean():.4f}; 1: all alike",
                   f"Gaussian window of 11, {scales(self.size)} scales")
        if self.network:
            yield from self.of_features(*map(np.concatenate, self.features))

    def distances(self):
        found, floors = swd.distance(self.real, self.fake, self.seed), self.floors()
        for name, value in found.items():
            beside = ", ".join(f"{floor[name]:.2f} of {count:,}" for count, floor in floors.items())
            yield ("swd" if name == "mean" else None,
                   f"SWD × 1000, {'mean' if name == 'mean' else f'size {name}'}", value,
                   beside and f"real ones beside other real ones: {beside}",
                   "Laplacian pyramid, 1 4 6 4 1")

    def floors(self):
        """{number of pictures: distances of so many real ones and as many others}.

        That of the number that is measured where the real ones suffice; else of smaller numbers,
        which are all larger, to be seen falling.
        """
        if not self.with_floors:
            return {}
        if self.others.count:
            return {self.real.count: swd.distance(self.real, self.others, self.seed)}
        counts = [self.real.count // part for part in (8, 4, 2)]
        return {count: swd.distance(self.real.some(0, count), self.real.some(count, 2 * count),
                                    self.seed) for count in counts if count}

    def of_features(self, real, fake):
        scaled = "bilinear to 299"
        if "fid" in self.wanted:
            yield "fid", "FID", feature_metrics.frechet_distance(real, fake), None, scaled
        if "kid" in self.wanted:
            yield ("kid", "KID × 1000", 1000 * feature_metrics.kernel_distance(
                real, fake, self.seed), None, scaled)
        if "pr" in self.wanted:
            precision, recall = feature_metrics.precision_recall(real, fake)
            yield "precision", "precision, 3 neighbours", precision, None, scaled
            yield "recall", "recall, 3 neighbours", recall, None, scaled


def evaluate(measure, perceptual, generator, size, alpha, real, count, crop=False, done=None,
             stopped=lambda: False):
    """What Measure.results gives for a generator, and path lengths where ppl is wanted.

    real: a Real. perceptual: an LPIPS, for ppl; crop: see path_length.py. done(n): called after n
    pictures. Raises Stopped.
    """
    seed = measure.seed
    for first in range(0, count if measure.wanted - {"ppl"} else 0, CHUNK):
        if stopped():
            raise Stopped
        some = range(first, min(first + CHUNK, count))
        measure.add(real.load(some),
                    generated(generator, size, alpha, range(seed + first, seed + some.stop)))
        if measure.with_floors and "swd" in measure.wanted and len(real.folder) >= 2 * count:
            measure.add_others(real.load(range(count + first, count + some.stop)))
        if done:
            done(len(some))
    results = list(measure.results())
    if "ppl" in measure.wanted:
        for space in "zw":
            value = path_length(perceptual, generator, size, alpha, space, count, seed, crop, done)
            results.append((f"ppl_{space}", f"PPL in {space}, whole paths", value, None,
                            "LPIPS of VGG-16, noise drawn for every 16 paths, " +
                            ("the official crop of aligned faces" if crop else "whole pictures")))
    return results


@dataclasses.dataclass
class Real:
    """The real pictures that a generator is compared with, in an order that the seed decides.

    mirror: whether each is mirrored or not by a coin of its own, as where training did that.
    """

    folder: PictureFolder
    channels: int
    mirror: bool
    seed: int

    def load(self, some):
        """uint8 [n, channels, size, size]: the pictures of a range of this order."""
        pictures, _ = load_batch(self.folder.files(some, self.seed),
                                 flips(some, self.seed, self.mirror), self.folder.size,
                                 self.channels)
        return pictures


def generated(generator, size, alpha, seeds):
    """uint8 [N, C, size, size]: what `seeds` look like, each with noise of its own."""
    styles = styles_of(generator, latents_of(seeds, generator.config.latent), size, 1)
    images = paint(generator, styles, size, alpha,
                   noise=lambda rows: random_noise([seeds[i] for i in rows], size))
    return to_pixels(images).transpose(0, 3, 1, 2)[:, :images.shape[1]]


def main(argv=None):
    args = parse_arguments(argv)
    header, arrays = snapshot.load_any(args.checkpoint, args.size)
    check_root(args.data, f"python metrics.py {shlex.quote(args.checkpoint)}")
    folder = PictureFolder(args.data, header["size"])
    folder.check()
    if "ppl" in args.metrics and header["size"] < 16:
        raise UserError(f"ppl: {args.checkpoint} is of size {header['size']}, wanted 16 or more")
    if args.ppl_crop and header["size"] < 32:
        raise UserError(f"--ppl_crop: {args.checkpoint} is of size {header['size']}, wanted 32 or "
                        "more")
    mirror = args.mirror or bool(header.get("settings", {}).get("mirror"))
    count = min(args.images, len(folder))
    if count < 2:
        raise UserError(f"{folder.path}: found {counted(count, 'picture')}, wanted 2 or more to "
                        "compare")
    if count < args.images:
        print(f"note: {folder.path} has {count} pictures, not {args.images}: distances of few "
              "pictures are larger, compare only equal numbers", file=sys.stderr)
    bring_up(args.device, args.cuda_home)
    network, perceptual = networks(args.metrics, args.inception, args.lpips)
    generator = snapshot.make_generator(header, arrays, args.checkpoint)
    total = count * (bool(args.metrics - {"ppl"}) + 2 * ("ppl" in args.metrics))
    with tqdm(total=total, unit="picture", delay=2) as bar:
        found = evaluate(Measure(args.metrics, args.seed, network), perceptual, generator,
                         header["size"], header["alpha"],
                         Real(folder, header["model"]["channels"], mirror, args.seed), count,
                         args.ppl_crop, bar.update)
    print(f"{args.checkpoint}: {snapshot.source(header)}, against {folder.path}" +
          (", mirrored or not as in training" if mirror else "") + "; no truncation")
    for _, label, value, beside, how in found:
        print(f"  {label:24} {value:9.4g}   {count:,} pictures, seed {args.seed}, {how}" +
              (f" ({beside})" if beside else ""))
    return 0


def networks(wanted, inception_file, lpips_file):
    """(Inception or None, LPIPS or None). Raises UserError where a file is wanting or wrong."""
    return (inception.Inception(inception_file) if OF_FEATURES & wanted else None,
            lpips.LPIPS(lpips_file) if "ppl" in wanted else None)


def check(wanted, inception_file, lpips_file):
    """Raise UserError where a file is needed that is not named."""
    if OF_FEATURES & wanted and not inception_file:
        raise inception.needs(",".join(sorted(OF_FEATURES & wanted)))
    if "ppl" in wanted and not lpips_file:
        raise UserError(f"ppl needs LPIPS weights: type --lpips FILE, {lpips.WHERE}")


def metrics_argument(text):
    """argparse type: names of METRICS."""
    return names_argument(text, METRICS)


def parse_arguments(argv):
    parser = Parser(description=__doc__)
    parser.add_argument("checkpoint", help="a .model file that train.py wrote, or other weights")
    parser.add_argument("data", help="folder that holds 8/, 16/ … of the real pictures")
    parser.add_argument("--metrics", type=metrics_argument, metavar="LIST", help="of "
                        + ",".join(METRICS) + " (default: all whose weights are named)")
    parser.add_argument("--inception", metavar="FILE", help=f"the Inception weights of FID: from "
                        f"{inception.WHERE}")
    parser.add_argument("--lpips", metavar="FILE", help=f"LPIPS weights: {lpips.WHERE}")
    parser.add_argument("--images", type=int, default=8192, metavar="N",
                        help="real and generated pictures to compare, and paths of ppl (default "
                        "8192; all there are where there are fewer; swd needs 0.25 MB of memory "
                        "for each at every level of detail). The papers have 16384 for swd, 10000 "
                        "for ms_ssim, 50000 for fid")
    parser.add_argument("--mirror", action="store_true", help="mirror half of the real pictures "
                        "(default: where the file says that training did)")
    parser.add_argument("--ppl_crop", action="store_true", help="of ppl, compare the part of the "
                        "pictures that the official code does, made for aligned faces: rows 3/8 "
                        "to 7/8, columns 1/4 to 3/4 (default: whole pictures)")
    parser.add_argument("--seed", type=int, default=0, metavar="N",
                        help="of the choice of pictures and of the latents (default 0)")
    parser.add_argument("--size", type=size_argument, help="of other projects' weights: size in "
                        "pixels to which they were trained")
    add_device_arguments(parser)
    args = parser.parse_args(argv)
    if args.images < 2:
        parser.error(f"--images: found {args.images}, wanted 2 or more")
    if args.seed < 0:
        parser.error(f"--seed: found {args.seed}, wanted 0 or more")
    args.metrics = set(args.metrics.split(",")) if args.metrics else \
        {"swd", "ms_ssim"} | (OF_FEATURES if args.inception else set()) | \
        ({"ppl"} if args.lpips else set())
    check(args.metrics, args.inception, args.lpips)
    if args.ppl_crop and "ppl" not in args.metrics:
        parser.error("--ppl_crop: ppl is not among the metrics: type --lpips FILE, or leave it out")
    if not args.inception:
        print(f"note: no FID, KID, precision and recall without --inception FILE, from "
              f"{inception.WHERE}", file=sys.stderr)
    return args


class DuringTraining:
    """train.py --metrics: measures now and then, in at most a share of the time.

    Nothing that it does reaches the training: each step seeds what is random in it, and the
    averaged generator is only read.
    """

    def __init__(self, s, started):
        self.wanted = set(s["metrics"].split(",")) if s["metrics"] else set()
        self.networks = networks(self.wanted, s["inception"], s["lpips"])
        self.s, self.started, self.spent = s, started, 0.0
        self.cost = {}                          # seconds per picture, by size

    def measure(self, training, say, stopped):
        """{column: value} at this point, {} where there is no time for it."""
        if not self.wanted:
            return {}
        s, phase = self.s, training.schedule.trained(training.images_seen)
        before = time.monotonic()
        try:
            folder = PictureFolder(s["data"], phase.size)
            count = min(s["metric_images"], len(folder))
            if phase.size not in self.cost:
                # A few pictures, twice: the first time compiles.
                few = min(count, 2 * CHUNK)
                for _ in range(2):
                    begin = time.monotonic()
                    self.run(training, phase, folder, few, stopped)
                    self.cost[phase.size] = (time.monotonic() - begin) / few
            self.spent += time.monotonic() - before
            before = time.monotonic()
            if self.cost[phase.size] * count > s["metric_share"] * (before - self.started) - \
                    self.spent:
                say(f"{training.images_seen:,} images: no metrics, which would take about "
                    f"{self.cost[phase.size] * count:.0f} s, more than --metric_share "
                    f"{s['metric_share']:g} of the time so far")
                return {}
            found = self.run(training, phase, folder, count, stopped)
            seconds = time.monotonic() - before
            self.cost[phase.size] = seconds / count
        except Stopped:
            return {}
        except UserError as error:              # the pictures are gone: the loop will save and say
            say(f"{training.images_seen:,} images: no metrics ({error})")
            return {}
        finally:
            self.spent += time.monotonic() - before
        say(f"{training.images_seen:,} images: " + ", ".join(
            f"{label} {value:.4g}" for column, label, value, *_ in found if column) +
            f" ({count:,} pictures of {phase.size}×{phase.size}, seed 0; {seconds:.0f} s)")
        return {column: value for column, _, value, *_ in found if column}

    def run(self, training, phase, folder, count, stopped):
        wanted = self.wanted - ({"ppl"} if phase.size < 16 else set())
        network, perceptual = self.networks
        return evaluate(Measure(wanted, 0, network, floors=False), perceptual, training.G_ema,
                        phase.size, phase.alpha,
                        Real(folder, training.config.channels, self.s["mirror"], 0), count,
                        stopped=stopped)


if __name__ == "__main__":
    run(main)
