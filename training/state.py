"""The state of a run: what is saved, and read again.

A resumed run goes on as if it had not stopped: all that is random in an iteration is derived from
(seed, images seen), so that no generator's state is among what is saved.
"""
import dataclasses
import shlex
import sys
import zlib

import numpy as np

import backend
from backend import jt, mpi, pixels, streams
from backend.errors import UserError
from networks.generator import Discriminator, StyledGenerator, parameters_in_use
from networks.layers import draw_weights
from networks.shapes import picture_layers
from training import settings
from training.adam import Adam
from training.augment import Augmentation
from weights import snapshot


class State:
    """Networks, optimizers, images seen.

    Where the network has labels, shares: of each class among the pictures, float64 [labels];
    known: the labels.Labels with which the run began, which all that it reads is labelled by.
    """

    def __init__(self, s, schedule, config, pictures=None, shares=None, known=None):
        self.s, self.schedule, self.config = s, schedule, config
        self.pictures, self.shares, self.known = pictures or {}, shares, known
        self.G = StyledGenerator(self.config)
        self.D = Discriminator(self.config)
        for i, network in enumerate((self.G, self.D)):
            draw_weights(network, streams.rng("weights", s["seed"], i))
        self.averages = {kimg: StyledGenerator(self.config) for kimg in s["ema_kimg"]}
        for average in self.averages.values():
            copy_weights(self.G, average)
        self.G_ema = self.averages[s["ema_kimg"][0]]
        self.augmentation = Augmentation(s) if s["augment"] != "none" else None
        self.images_seen = 0
        self.adam_G = self.adam_D = self.optimizer_epoch = None     # made by the first step
        self.skipped, self.skipped_in_a_row = (jt.zeros(1).stop_grad() for _ in range(2))

    def make_optimizers(self, phase):
        """Adam from zero, over what is in use at this size (Karras et al. 2018, appendix C)."""
        G, D = (parameters_in_use(net, phase.size, phase.fading)
                for net in (self.G, self.D))
        frozen = self.frozen_layers()
        D = {name: p for name, p in D.items() if name.rpartition(".")[0] not in frozen}
        # R1 at each of StyleGAN1's steps belongs to its loss; StyleGAN2's terms are steps of their
        # own, however often they come.
        intervals = [interval if self.config.arch == "stylegan2" or interval > 1 else None
                     for interval in (self.s["pl_interval"], self.s["r1_interval"])]
        self.adam_G = Adam(G, phase.lr, intervals[0])
        self.adam_D = Adam(D, phase.dlr, intervals[1])
        self.averaged = {kimg: [dict(network.named_parameters())[name] for name in G]
                         for kimg, network in self.averages.items()}
        self.optimizer_epoch = phase.optimizer_epoch

    def frozen_layers(self):
        """The names of those of D, nearest the picture first, that stay as they are."""
        return picture_layers(self.config)[:self.s["freeze_d"]]

    def header(self):
        phase = self.schedule.trained(self.images_seen)
        return {"kind": "generator", "images_seen": self.images_seen, "name": self.s["name"],
                "size": phase.size, "alpha": phase.alpha, "streams": streams.VERSION,
                "reading": pixels.READING, "model": dataclasses.asdict(self.config),
                "settings": settings.to_save(self.s), "pictures": self.pictures,
                "kernels": self.kernels(),
                **({"classes": self.known.classes} if self.known and self.known.classes else {})}

    def kernels(self):
        """What decides the last digits: the device and the kind of its convolutions."""
        if jt.flags.use_cuda:
            return "CUDA"
        kind = "a CPU with Winograd kernels" if backend.has_winograd else "a CPU, direct kernels"
        version = {"stylegan1": 3, "stylegan2": 4}[self.config.arch]
        return f"{kind}{', AMX' * (self.s['amp'] and backend.has_amx)}, version {version}"

    def networks(self):
        return (("generator", self.G), ("discriminator", self.D),
                *((self.prefix(kimg), average) for kimg, average in self.averages.items()))

    def prefix(self, kimg):
        """Of the average of this half-life in a file to resume from: "ema", and "ema12" …"""
        return "ema" if self.averages[kimg] is self.G_ema else f"ema{kimg:g}"

    def state_of_networks(self):
        """{"generator/…", "discriminator/…", "ema/…", and "ema12/…" …: NumPy array}."""
        arrays = {}
        for prefix, network in self.networks():
            arrays |= snapshot.network_arrays(network, prefix)
        return arrays

    def state(self):
        """(header, arrays) of all that training needs to go on."""
        arrays = self.state_of_networks()
        if self.optimizer_epoch:
            arrays |= self.adam_G.state("adam_generator") | self.adam_D.state("adam_discriminator")
        arrays |= {"skipped": self.skipped.numpy(), "skipped_in_a_row":
                   self.skipped_in_a_row.numpy()}
        if self.augmentation:
            arrays |= self.augmentation.state()
        epoch = self.optimizer_epoch and list(self.optimizer_epoch)
        return self.header() | {"kind": "training", "optimizer_epoch": epoch}, arrays

    def checksum(self):
        """Of all state, to compare processes."""
        total = self.images_seen
        for array in self.state()[1].values():
            total = zlib.crc32(np.ascontiguousarray(array), total)
        return total

    def start_together(self):
        """All processes take the first one's weights."""
        if mpi.SIZE > 1:
            arrays = self.state_of_networks()
            for array in arrays.values():
                mpi.give_from_first(array)
            for prefix, network in self.networks():
                snapshot.load_network(network, arrays, prefix, "the first process")

    def start_from(self, header, arrays, path):
        """Take the weights of a file, up to the size that it was trained to; the rest is new."""
        there = {name.split("/")[0] for name in arrays}
        largest = min(header["size"], self.config.size)
        for prefix, network in self.networks():
            source = prefix if prefix in there or prefix == "discriminator" else "ema"
            if source in there:
                snapshot.load_network(network, arrays, source, path, largest)
        new = [s for s in self.schedule.sizes if s > header["size"]]
        frozen = self.frozen_layers()
        print(f"Starting from {path} ({snapshot.source(header)}, size {header['size']}) at size "
              f"{self.schedule.init_size}" + (f"; new layers from {new[0]} on" if new else "") +
              ("; a StyleGAN2, with its recipe" if self.config.arch == "stylegan2" else "") +
              ("" if "discriminator" in there else "; the discriminator is fresh") +
              (f"; {', '.join(frozen)} of D stay as they are" if frozen else ""), file=sys.stderr)

    def restore(self, header, arrays, path):
        """Take over what `state` gave, so that the next step is the one that would have come."""
        for prefix, network in self.networks():
            snapshot.load_network(network, arrays, prefix, path)
        if "skipped" not in arrays:
            raise UserError(f"{path}: saved by an earlier version, whose optimizer was another: "
                            f"type --init {shlex.quote(path)} --name OTHER to train on from its "
                            "weights")
        self.images_seen = header["images_seen"]
        self.skipped.assign(arrays["skipped"])
        self.skipped_in_a_row.assign(arrays["skipped_in_a_row"])
        if self.augmentation:
            self.augmentation.restore(arrays, header["settings"])
        phase = self.schedule.at(self.images_seen)
        if header["optimizer_epoch"] != list(phase.optimizer_epoch):
            return                                          # a new epoch begins, Adam afresh
        self.make_optimizers(phase)
        self.adam_G.restore(arrays, "adam_generator")
        self.adam_D.restore(arrays, "adam_discriminator")


def copy_weights(source, target):
    for (_, p), (_, q) in zip(source.named_parameters(), target.named_parameters()):
        q.assign(p.numpy())
