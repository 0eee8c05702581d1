"""Trains StyleGAN1, growing from small pictures to large ones.

    python train.py data --init_size 8
    python train.py data --resume

Karras et al. 2018 (network, style mixing, truncation) and Karras et al. 2017 (growing). Everything
that changes during training is a function of images seen (schedule.py), and everything random in
an iteration is derived from (seed, images seen): a resumed run goes on as if it had not stopped.
"""
import dataclasses
import os
import shlex
import sys
import time

import numpy as np

import backend
import runs
import settings as flags
import snapshot
from cli import StopSignals, UserError, bring_up, run
from config import num_layers
from dataset import Loader, PictureFolder, load_batch, to_float
from generate import paint, styles_of
from grid import save_grid
from progress import ProgressBar, dry_run, say_growth, say_how_long, say_what_changed
from schedule import ema_beta, r1_gamma

CHECKPOINTS, SAMPLES = "checkpoint", "sample"
TRUNCATION_PSI = 0.7
MOST_SKIPPED = 10               # steps in a row whose numbers are not finite


def main(argv=None):
    started = time.monotonic()
    typed = flags.parse(argv)
    name = typed["name"]
    lock = None if typed.get("dry_run") else runs.lock(CHECKPOINTS, name)
    saved = find_run(typed)
    init = (*snapshot.load_any(typed["init"]), typed["init"]) if "init" in typed else None
    if saved:
        s = flags.resumed_run(typed, saved[0]["settings"])
        config = snapshot.model_config(saved[0], saved[2])
    else:
        s = flags.new_run(typed, init and init[0])
        config = flags.model_config(s, init and init[0])
    schedule = flags.make_schedule(s)
    pictures = check_pictures(s, schedule)
    backend.use_conv(s["conv"])
    if s.get("dry_run"):
        bring_up(s["device"])
        return dry_run(config, schedule)
    if saved and saved[0]["images_seen"] >= schedule.total_images:
        print(f"The run {name} is finished: {saved[0]['images_seen']:,} images of "
              f"{schedule.total_images:,}. Type --kimg to make it longer.")
        return 0
    for folder in (CHECKPOINTS, os.path.join(SAMPLES, name)):
        runs.try_writing(folder)
    lock = lock or runs.lock(CHECKPOINTS, name)         # held until this process ends
    runs.remove_leftovers(CHECKPOINTS, name)
    runs.check_space(CHECKPOINTS, s, config)

    jt = bring_up(s["device"])
    training = Training(s, schedule, config, pictures)
    if saved:
        say_what_changed(training, saved[0])
        training.restore(*saved)
    elif init:
        training.start_from(*init)
    saved = init = None                 # their arrays are large, and copied
    say_how_long(jt, training)
    try:
        return loop(training, started)
    except (RuntimeError, MemoryError) as error:
        if "memory" not in str(error).lower() and "alloc" not in str(error).lower():
            raise
        size = schedule.at(training.images_seen).size
        batch = schedule.batch[size]
        raise UserError(f"out of memory at size {size} with batch {batch}: type --batch "
                        f"{size}:{max(4, batch // 8 * 4)}, or --fmap_max or --max_size for a "
                        "smaller network") from None


def find_run(typed):
    """(header, arrays, path) of the run to go on with, None for a new one."""
    name = typed["name"]
    if typed.get("resume"):
        saved = runs.load_resume(CHECKPOINTS, name)
        if saved is None:
            raise UserError(f"--resume: there is no {runs.resume_path(CHECKPOINTS, name)}: "
                            "leave --resume out to begin, or name the run with --name")
        return saved
    there = [p for p in (runs.resume_path(CHECKPOINTS, name),
                         runs.previous_path(CHECKPOINTS, name)) if os.path.exists(p)]
    there += runs.model_files(CHECKPOINTS, name)
    if there and not typed.get("dry_run"):
        raise UserError(f"the run {name} exists ({there[0]}): type --resume to go on with it, or "
                        "--name OTHER to begin another")
    return None


def check_pictures(s, schedule):
    """Every size of the schedule is there, before the first step is made; {size: fingerprint}."""
    pictures = {}
    for size in schedule.sizes:
        folder = PictureFolder(s["data"], size)
        folder.check()
        pictures[str(size)] = folder.fingerprint()
    if len(folder) < 5000 and not s.get("dry_run"):
        print(f"note: {len(folder)} pictures are few (below 5,000); watch the grids for pictures "
              "that repeat" + ("" if s["mirror"] else ", and try --mirror where it is right"),
              file=sys.stderr)
    return pictures


class Training:
    """The state of a run: networks, optimizers, images seen; and one iteration of it."""

    def __init__(self, s, schedule, config, pictures=None):
        import loss
        import model
        from backend import jt
        self.jt, self.model = jt, model
        self.s, self.schedule, self.config = s, schedule, config
        self.pictures = pictures or {}
        self.discriminator_loss, self.generator_loss = loss.LOSSES[s["loss"]]
        jt.set_seed(s["seed"])
        self.G = model.StyledGenerator(self.config)
        self.D = model.Discriminator(self.config)
        self.G_ema = model.StyledGenerator(self.config)
        copy_weights(self.G, self.G_ema)
        self.images_seen = 0
        self.adam_G = self.adam_D = self.optimizer_epoch = None     # made by the first step
        self.skipped, self.skipped_in_a_row = (jt.zeros(1).stop_grad() for _ in range(2))

    def step(self, images):
        """One iteration on a batch of real pictures, float32 NumPy [N, C, size, size].

        Returns (discriminator loss, generator loss) as Vars.
        """
        from backend.fused import move
        jt, model, phase = self.jt, self.model, self.schedule.at(self.images_seen)
        if phase.optimizer_epoch != self.optimizer_epoch:
            self.make_optimizers(phase)
        for adam in (self.adam_G, self.adam_D):
            adam.lr = phase.lr
        rng = np.random.default_rng([self.s["seed"], 2, self.images_seen])
        jt.set_seed(int(rng.integers(2 ** 31)))             # for the noise maps
        alpha = model.fade(phase.alpha)

        # Discriminator: real pictures up, generated ones down, R1.
        real = self.fade_reals(jt.array(images), alpha)
        with jt.no_grad():
            fake, _ = self.generate(rng, phase, alpha)
        gamma = self.s["gamma"]
        if self.s["loss"] == "logistic":
            gamma = r1_gamma(gamma, phase.size, self.schedule.max_size, self.s["gamma_scale"])
        terms = self.discriminator_loss(lambda x: self.D(x, alpha), real, fake, gamma)[0]
        del real, fake
        d_loss, sound = self.adam_D.propose(terms)
        jt.sync_all()                   # frees what only D's step needed

        # Generator: its pictures up.
        fake, w = self.generate(rng, phase, alpha)
        g_loss = self.generator_loss(self.D(fake, alpha))
        del fake
        g_loss, sound_too = self.adam_G.propose([g_loss])
        sound = sound * sound_too

        # Where a number was not finite, all stays as it was. On the device: nothing waits for it.
        self.adam_D.commit(sound)
        self.adam_G.commit(sound)
        self.skipped.update(self.skipped + (1 - sound))
        self.skipped_in_a_row.update((self.skipped_in_a_row + 1) * (1 - sound))

        # Averages: of the style, and of the generator.
        w_avg = self.G.w_avg * 0.995 + w.detach().mean(0) * 0.005
        self.G.w_avg.update(jt.ternary(sound > 0, w_avg, self.G.w_avg))
        self.G_ema.w_avg.update(self.G.w_avg.detach())
        new = sound * (1 - ema_beta(phase.batch, self.s["ema_kimg"]))
        averages, parameters = self.averaged
        moved = move([v.detach() for v in averages], [p.detach() for p in parameters], new)
        for average, value in zip(averages, moved):
            average.update(value)
        self.images_seen += phase.batch
        jt.sync_all()
        return d_loss, g_loss

    def generate(self, rng, phase, alpha):
        """(pictures of new latents, mixed with probability --mixing, and their style w)."""
        jt, model, layers = self.jt, self.model, num_layers(phase.size)
        latents = rng.standard_normal((2 * phase.batch, self.config.latent), "float32")
        crossover = int(rng.integers(1, layers)) if rng.random() < self.s["mixing"] else layers
        both = self.G.mapping(jt.array(latents))
        w, w_other = both[:phase.batch], both[phase.batch:]
        styles = model.mix_styles(w, w_other, crossover, layers)
        noise = model.make_noise(phase.batch, phase.size)
        return self.G.synthesis(styles, noise, phase.size, alpha), w

    def fade_reals(self, images, alpha):
        """While a size fades in, real pictures are blended with their own half-size version."""
        if not self.model.is_fading(alpha):
            return images
        blurred = self.model.upsample(self.model.downsample(images))
        return blurred + (images - blurred) * alpha

    def make_optimizers(self, phase):
        """Adam from zero, over what is in use at this size (Karras et al. 2018, appendix C)."""
        from adam import Adam
        G, D = (self.model.parameters_in_use(net, phase.size, phase.fading)
                for net in (self.G, self.D))
        self.adam_G, self.adam_D = Adam(G, phase.lr), Adam(D, phase.lr)
        averages = dict(self.G_ema.named_parameters())
        self.averaged = [averages[name] for name in G], list(G.values())
        self.optimizer_epoch = phase.optimizer_epoch

    def sample(self, latents):
        """NumPy pictures of the averaged generator at the current size, for NumPy latents."""
        phase = self.schedule.at(self.images_seen)
        styles = styles_of(self.G_ema, latents, phase.size, TRUNCATION_PSI)
        return paint(self.G_ema, styles, phase.size, phase.alpha, chunk=phase.batch)

    # What is saved, and read again.

    def header(self):
        return {"kind": "generator", "images_seen": self.images_seen, "name": self.s["name"],
                "size": self.schedule.at(max(0, self.images_seen - 1)).size,
                "alpha": self.schedule.at(max(0, self.images_seen - 1)).alpha,
                "model": dataclasses.asdict(self.config), "settings": flags.to_save(self.s),
                "pictures": self.pictures, "kernels": self.kernels()}

    def kernels(self):
        """What decides the last digits: the device and the kind of its convolutions."""
        if self.jt.flags.use_cuda:
            return "CUDA"
        return "a CPU with Winograd kernels" if backend.has_winograd else "a CPU, direct kernels"

    def networks(self):
        return ("generator", self.G), ("discriminator", self.D), ("ema", self.G_ema)

    def state_of_networks(self):
        """{"generator/…", "discriminator/…", "ema/…": NumPy array}."""
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
        return self.header() | {"kind": "training", "optimizer_epoch": self.optimizer_epoch}, arrays

    def start_from(self, header, arrays, path):
        """Take the weights of a file, up to the size that it was trained to; the rest is new."""
        there = {name.split("/")[0] for name in arrays}
        largest = min(header["size"], self.config.size)
        for prefix, network in self.networks():
            source = "ema" if prefix == "generator" and prefix not in there else prefix
            if source in there:
                snapshot.load_network(network, arrays, source, path, largest)
        new = [s for s in self.schedule.sizes if s > header["size"]]
        print(f"Starting from {path} ({snapshot.source(header)}, size {header['size']}) at size "
              f"{self.schedule.init_size}" + (f"; new layers from {new[0]} on" if new else "") +
              ("" if "discriminator" in there else "; the discriminator is fresh"),
              file=sys.stderr)

    def restore(self, header, arrays, path):
        """Take over what `state` gave, so that the next step is the one that would have come."""
        for prefix, network in self.networks():
            snapshot.load_network(network, arrays, prefix, path)
        if "skipped" not in arrays:
            raise UserError(f"{path}: saved by an earlier version, whose optimizer was another: "
                            f"type --init {path} --name OTHER to train on from its weights")
        self.images_seen = header["images_seen"]
        self.skipped.assign(arrays["skipped"])
        self.skipped_in_a_row.assign(arrays["skipped_in_a_row"])
        phase = self.schedule.at(self.images_seen)
        if header["optimizer_epoch"] != list(phase.optimizer_epoch):
            return                                          # a new epoch begins, Adam afresh
        self.make_optimizers(phase)
        self.adam_G.restore(arrays, "adam_generator")
        self.adam_D.restore(arrays, "adam_discriminator")


def copy_weights(source, target):
    for (_, p), (_, q) in zip(source.named_parameters(), target.named_parameters()):
        q.assign(p.numpy())


# The loop ----------------------------------------------------------------------------------------


def loop(training, started):
    s, schedule = training.s, training.schedule
    columns, rows = grid_shape(schedule.max_size)
    latents = np.random.default_rng([s["seed"], 3]).standard_normal(
        (columns * rows, training.config.latent), "float32")
    samples = os.path.join(SAMPLES, s["name"])
    stop = StopSignals(started, s["max_minutes"])
    with ProgressBar(training) as bar, Loader(s["data"], training.config.channels, s["seed"],
                                              s["mirror"], s["workers"], bar.write) as loader:
        saver = runs.Saver(CHECKPOINTS, s["name"], s["keep"], bar.write)

        def write_samples():
            path = os.path.join(samples, f"{training.images_seen:09d}.png")
            with saver.trying("training goes on"):
                os.makedirs(samples, exist_ok=True)
                save_grid(training.sample(latents), columns, path, cell=schedule.max_size)
            return path

        if training.images_seen == 0:
            folder = PictureFolder(s["data"], schedule.max_size)
            count = columns * rows
            real, _ = load_batch(folder.files(0, count, s["seed"]), [False] * count,
                                 schedule.max_size, training.config.channels)
            with saver.trying("training goes on"):
                save_grid(to_float(real), columns, os.path.join(samples, "real.png"))
        size = None
        while training.images_seen < schedule.total_images and not stop.asked():
            phase = schedule.at(training.images_seen)
            if phase.size != size:
                if size:
                    saver.save(training)                # the larger one may not fit into memory
                say_growth(training, phase, bar)
                size = phase.size
                batches = loader.batches(size, phase.batch, training.images_seen)
            before = training.images_seen
            try:
                _, images = next(batches)
            except UserError:                           # the pictures are gone
                saver.save(training)
                raise
            losses = training.step(images)
            bar.step(phase, losses)
            if too_many_skipped(training, phase):
                return give_up(training, phase, before)
            if crossed(before, training.images_seen, s["sample_kimg"]):
                write_samples()
            if crossed(before, training.images_seen, s["save_kimg"]):
                saver.save(training)
        saver.save_at_the_end(training)
        grid = write_samples()
    model = runs.model_path(CHECKPOINTS, s["name"], training.images_seen)
    print(f"Saved {model} and the grid {grid}")
    if training.skipped.item():
        print(f"{training.skipped.item():.0f} steps were skipped, whose numbers were not finite")
    if training.images_seen < schedule.total_images:
        print(f"Stopped at {training.images_seen:,} images. To go on, type: {resume_command(s)}")
    else:
        print(f"Finished. To see more, type: python generate.py {model}")
    return 0


def too_many_skipped(training, phase):
    """Ten steps in a row were not finite. A GPU is asked every tenth step only: asking waits."""
    if training.jt.flags.use_cuda and training.images_seen // phase.batch % MOST_SKIPPED:
        return False
    return training.skipped_in_a_row.item() >= MOST_SKIPPED


def give_up(training, phase, first):
    """Nothing is written; the pictures of the last step are named."""
    s = training.s
    files = PictureFolder(s["data"], phase.size).files(first, phase.batch, s["seed"])
    print(f"error: the numbers of {MOST_SKIPPED} steps in a row were not finite, up to "
          f"{training.images_seen:,} images; the last file saved is "
          f"{runs.newest(CHECKPOINTS, s['name']) or 'none'}. The pictures of the last step:\n  "
          + "\n  ".join(files) + f"\nTo go on from that file, type: {resume_command(s)}",
          file=sys.stderr)
    return 3


def resume_command(s):
    name = "" if s["name"] == os.path.basename(os.path.abspath(s["data"])) else \
        f" --name {shlex.quote(s['name'])}"
    return f"python train.py {shlex.quote(s['data'])}{name} --resume"


def crossed(before, after, kimg):
    """Whether a multiple of `kimg` thousand images lies in (before, after]."""
    step = max(1, round(1000 * kimg))
    return before // step != after // step


def grid_shape(max_size):
    """(columns, rows) of the sample grid: about a thousand pixels wide."""
    columns = min(16, max(4, 1024 // max_size))
    return columns, max(2, columns // 2)


if __name__ == "__main__":
    run(main)
