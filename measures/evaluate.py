"""Compares the pictures of a generator with real ones, by any of METRICS."""
import dataclasses
import os
import sys

import numpy as np

from backend.errors import UserError
from cli import names_argument
from dataset import PictureFolder, load_labelled
from measures import attributes, feature_metrics, inception, lpips, swd
from measures.attributes import coverage
from measures.ms_ssim import Diversity, scales
from measures.path_length import path_length
from pictures.grid import to_pixels
from pictures.painter import latents_of, paint, random_noise, styles_of

METRICS = ("swd", "ms_ssim", "fid", "kid", "pr", "ppl", "parts")
OF_FEATURES = {"fid", "kid", "pr"}
LEAST_SIZE = {"swd": 8, "ppl": 16}      # of pictures, in pixels
# What training writes into stats.csv.
COLUMNS = ("swd", "ms_ssim", "fid", "kid", "precision", "recall", "ppl_z", "ppl_w",
           "parts_fd", "parts_precision", "parts_recall", "parts_there", "parts_apart", "whole")
CHUNK = 32


class Stopped(Exception):
    """The user asked for it while measuring."""


class Measure:
    """Real and generated pictures go in, some at a time; results come out.

    network: an Inception, where its features are wanted; parts: an Attributes, where they are.
    floors: whether to measure the real pictures among themselves too. labels: a labels.Labels, of
    the classes that `add` is told.
    """

    def __init__(self, wanted, seed=0, network=None, floors=True, parts=None, labels=None):
        self.wanted, self.seed, self.with_floors = wanted, seed, floors
        self.network = network if OF_FEATURES & wanted else None
        self.parts = parts if "parts" in wanted else None
        self.seen = [], [], []                  # what it sees in the same three kinds of pictures
        self.asked, self.classes = attribute_of(labels, self.parts), []
        # Real pictures, generated ones, and further real ones for the floor.
        self.real, self.fake, self.others = (swd.Descriptors(seed, i) for i in range(3))
        self.real_diversity, self.diversity = Diversity(), Diversity()
        self.features = [], []

    def add(self, real, fake, classes=None):
        """uint8 [n, C, size, size] each, equally many, and of both the classes, int [n]."""
        self.classes.extend([] if classes is None else classes)
        if "swd" in self.wanted:
            self.real.add(real)
            self.fake.add(fake)
        if "ms_ssim" in self.wanted:
            self.real_diversity.add(real)
            self.diversity.add(fake)
        if self.network:
            for features, pixels in zip(self.features, (real, fake)):
                features.append(self.network.features(pixels))
        if self.parts:
            for seen, pixels in zip(self.seen, (real, fake)):
                seen.append(self.parts.look(pixels))
        self.size = real.shape[-1]

    def add_others(self, real):
        """uint8 [n, C, size, size]: real pictures that are not among the others, for the floor."""
        if "swd" in self.wanted:
            self.others.add(real)
        if self.parts:
            self.seen[2].append(self.parts.look(real))

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
        if self.parts:
            yield from self.of_parts(*([np.concatenate(part) for part in zip(*seen)]
                                       for seen in self.seen if seen))

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

    def of_parts(self, real, fake, others=None):
        """Of what an Attributes sees in pictures; others: further real ones."""
        def numbers(seen):
            return [feature_metrics.frechet_distance(real[0], seen[0]),
                    *feature_metrics.precision_recall(real[0], seen[0]),
                    *coverage(real[1], seen[1], self.parts.attributes)]

        how = f"a network of {self.parts.size}×{self.parts.size} that knows parts"
        floors = numbers(others) if others else [None] * 5
        for (column, label, meant), value, floor in zip((
                ("parts_fd", "Fréchet distance, parts", how),
                ("parts_precision", "precision, parts", how),
                ("parts_recall", "recall, parts", how),
                ("parts_there", "parts that appear", "a quarter as often as in real ones or more"),
                ("parts_apart", "frequencies of parts", "total variation, 0 to 1")),
                numbers(fake), floors):
            yield (column, label, value, f"other real ones: {floor:.4g}" if others else None, meant)
        yield ("whole", "whole pictures", float(fake[2].mean()),
               f"the real ones: {real[2].mean():.4f}", how)
        if self.asked and self.classes:
            name, place, values = self.asked
            shown = [float((seen[1][:, place] == values[self.classes]).mean())
                     for seen in (fake, real)]
            yield (None, f"show their label, {name}", shown[0], f"the real ones: {shown[1]:.4f}",
                   how)


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
        pictures, classes = real.load_labelled(some)
        measure.add(pictures, generated(
            generator, size, alpha, range(seed + first, seed + some.stop), classes), classes)
        if measure.with_floors and measure.wanted & {"swd", "parts"} and \
                len(real.folder) >= 2 * count:
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
    unreadable: {path: reason} of those so far in whose place stands another.
    """

    folder: PictureFolder
    channels: int
    mirror: bool
    seed: int
    unreadable: dict = dataclasses.field(default_factory=dict)

    def load(self, some):
        """uint8 [n, channels, size, size]: the pictures of a range of this order."""
        return self.load_labelled(some)[0]

    def load_labelled(self, some):
        """(the same, their classes, int [n], which the generated ones beside them are to have; or
        None)."""
        found, classes, bad = load_labelled(self.folder, some, self.seed, self.mirror,
                                            self.channels)
        self.unreadable.update((str(path), reason) for _, path, reason in bad)
        return found, classes


def attribute_of(labels, parts):
    """Which attribute of an Attributes the Labels are, as resize.py --labels attributes.csv:NAME
    makes them, or the network has learned them as: (its name, its place, int [classes]: the number
    of the value that is each class); None where they are none."""
    if not labels or not parts:
        return None
    kinds = labels.names()
    for name in (labels.made or "").rpartition(":")[2], attributes.LABEL:
        values = parts.attributes.get(name, [])
        if {*kinds} <= {*values} and (len(kinds) == len(values) or name != attributes.LABEL):
            return name, [*parts.attributes].index(name), np.array([*map(values.index, kinds)])
    return None


def generated(generator, size, alpha, seeds, classes=None):
    """uint8 [N, C, size, size]: what `seeds` look like, each with noise of its own, and of their
    classes, by default as latents_of draws them."""
    styles = styles_of(generator, latents_of(seeds, generator.config, classes), size, 1)
    images = paint(generator, styles, size, alpha,
                   noise=lambda rows: random_noise([seeds[i] for i in rows], size,
                                                        generator.config.arch))
    return to_pixels(images).transpose(0, 3, 1, 2)[:, :images.shape[1]]


def load_networks(wanted, inception_file, lpips_file, features_file):
    """(Inception, LPIPS, Attributes), None where not wanted. Raises UserError where a file is
    wanting or wrong."""
    parts = attributes.Attributes(features_file) if "parts" in wanted else None
    if parts and parts.doubts():
        print(parts.doubts(), file=sys.stderr)
    return (inception.Inception(inception_file) if OF_FEATURES & wanted else None,
            lpips.LPIPS(lpips_file) if "ppl" in wanted else None, parts)


def check_files(wanted, inception_file, lpips_file, features_file):
    """Raise UserError where a file is needed that is not named."""
    if OF_FEATURES & wanted and not inception_file:
        raise inception.needs(",".join(sorted(OF_FEATURES & wanted)))
    if "ppl" in wanted and not lpips_file:
        raise UserError(f"ppl needs LPIPS weights: type --lpips FILE, {lpips.WHERE}")
    if "parts" in wanted and not features_file:
        raise UserError(f"parts needs --features FILE, {attributes.WHERE}")
    for path, used in ((inception_file, OF_FEATURES & wanted), (lpips_file, "ppl" in wanted),
                       (features_file, "parts" in wanted)):
        if used and not os.path.isfile(path):
            raise UserError(f"{path}: no such file")


def metrics_argument(text):
    """argparse type: names of METRICS."""
    return names_argument(text, METRICS)
