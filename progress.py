"""What train.py says on the terminal: the bar, a line per size, how long all of it will take."""
import contextlib
import os
import sys
import time

from tqdm import tqdm

import estimate
import streams
from backend import mpi


class ProgressBar(contextlib.AbstractContextManager):
    """tqdm in kimg: size, alpha, losses, images/s and the time left for the whole run."""

    def __init__(self, training):
        self.training, self.shown = training, 0.0
        self.images, self.gflop, self.seconds = 0, 0.0, 0.0     # the latter two fade
        total = training.schedule.total_images / 1000
        self.bar = tqdm(total=round(total, 1), initial=round(training.images_seen / 1000, 1),
                        unit="kimg", bar_format="{n:.1f}/{total:.0f} kimg {bar:10} {postfix}",
                        mininterval=0.5 if sys.stderr.isatty() else 30, dynamic_ncols=True)
        self.last = time.time()

    def step(self, phase, measured):
        now = time.time()
        # A step that compiles says nothing about the speed of the next.
        if self.images and now - self.last < 20:
            self.seconds = 0.98 * self.seconds + now - self.last
            self.gflop = 0.98 * self.gflop + phase.batch * estimate.training_gflop(
                self.training.config, phase.size)
        self.images += phase.batch
        self.last = now
        if now - self.shown > 0.5 and self.gflop:
            left = estimate.run_gflop(self.training.config, self.training.schedule,
                                      self.training.images_seen) * self.seconds / self.gflop
            d_loss, g_loss = (measured[name].item() for name in ("loss_D", "loss_G"))
            rate = self.gflop / self.seconds / estimate.training_gflop(self.training.config,
                                                                      phase.size)
            skipped = self.training.skipped.item()
            self.bar.set_postfix_str(
                (f"{skipped:.0f} steps skipped, " if skipped else "") +
                f"size {phase.size} alpha {phase.alpha:.2f} D {d_loss:.3f} G {g_loss:.3f} "
                f"{rate:.1f} img/s, {estimate.duration(left)} left", refresh=False)
            self.shown = now
        self.bar.n = round(self.training.images_seen / 1000, 1)
        self.bar.update(0)

    @contextlib.contextmanager
    def paused(self):
        """For what is no training; yields a function that gives its seconds so far."""
        began = time.time()
        yield lambda: time.time() - began
        self.last += time.time() - began

    def write(self, text):
        self.bar.write(text, file=sys.stderr)

    def __exit__(self, *_):
        self.bar.refresh()
        self.bar.close()


def say_growth(training, phase, bar):
    """One line when a size begins: what changes, what it costs, when the run will end."""
    from model import parameters_in_use
    schedule, config = training.schedule, training.config
    count = [sum(p.numel() for p in parameters_in_use(net, phase.size, False).values())
             for net in (training.G, training.D)]
    how = "stable" if not phase.fading else \
        f"fading in over {1000 * (1 - phase.alpha) * schedule.fade_kimg:,.0f}"
    cost = ""
    if bar.gflop:                                       # known from the sizes before
        gflop = estimate.training_gflop(config, phase.size)
        rate = bar.gflop / bar.seconds
        left = estimate.run_gflop(config, schedule, training.images_seen) / rate
        larger = [s for s in schedule.sizes if s > phase.size]
        if larger:
            here = min(schedule.border(larger[0]), schedule.total_images) - training.images_seen
            cost = f"; about {estimate.duration(here * gflop / rate)} at this size"
        times = gflop / estimate.training_gflop(config, phase.size // 2)
        end = time.localtime(time.time() + left)
        cost = (f"; {times:.1f} times the arithmetic of size {phase.size // 2} for an image, about "
                f"{rate / gflop:.3g} images/s{cost}; the run will end in about "
                f"{estimate.duration(left)}, at {time.strftime('%H:%M on %d %B', end)}")
    bar.write(f"size {phase.size} from {training.images_seen:,} images, {how}: batch "
              f"{phase.batch}, learning rate {phase.lr:g}, {count[0]:,} + {count[1]:,} parameters"
              f"{cost} (new shapes: compiling takes a moment)")


def say_how_long(jt, training):
    """One line: the time of the whole run here, from one measured convolution."""
    from backend.speed import conv_gflops
    width = training.config.width(training.schedule.sizes[0])
    rate = conv_gflops(jt, batch=training.schedule.batch[16], channels=width, size=16)
    left = estimate.run_gflop(training.config, training.schedule, training.images_seen)
    seconds = left / (0.8 * rate * mpi.SIZE)    # 0.8: what bench/train_step.py shows of it
    device = "GPU" if jt.flags.use_cuda else "CPU"
    where = f"on this {device}" if mpi.SIZE == 1 else f"in {mpi.SIZE} processes like this one"
    print(f"The whole run will take about {estimate.duration(seconds)} {where} (guessed from one "
          f"convolution at {rate:.0f} GFLOP/s; the bar knows better soon)", file=sys.stderr)
    if not jt.flags.use_cuda and seconds > 2 * 86400 and training.s["preset"] != "small":
        print("That is long for a CPU: --preset small is made for it", file=sys.stderr)


def say_what_changed(training, header):
    """Between stop and resume: other pictures, other kernels. Told, and gone on with."""
    for size, now in training.pictures.items():
        then = header.get("pictures", {}).get(size, now)
        if then != now:
            print(f"warning: {os.path.join(training.s['data'], size)} has other pictures than when "
                  f"the run was saved ({now['count']:,} now, {then['count']:,} then): their order "
                  "is another from here on", file=sys.stderr)
    if header.get("streams") != streams.VERSION:
        print("note: the run was saved by an earlier version, which drew its random numbers "
              "otherwise: the order of pictures and all latents are others from here on",
              file=sys.stderr)
    then, now = header.get("kernels"), training.kernels()
    if then not in (None, now):
        print(f"note: the run was saved on {then} and goes on on {now}: the numbers will differ in "
              "the last digits from a run that did not stop", file=sys.stderr)


def dry_run(config, schedule, parts):
    """Print what a run would do. Nothing is written."""
    import model
    print("size  from images  fade until     batch  learning rate  GFLOP/image")
    for size in schedule.sizes:
        start = schedule.border(size)
        fade = start + round(1000 * schedule.fade_kimg) if size != schedule.init_size else start
        print(f"{size:4}  {start:11,}  {fade:11,}  {schedule.batch[size]:8}  "
              f"{schedule.lr[size]:13g}  {estimate.training_gflop(config, size):11.1f}")
    print(f"end   {schedule.total_images:11,}")
    for kind in (model.StyledGenerator, model.Discriminator):
        count = sum(p.numel() for _, p in kind(config).named_parameters())
        print(f"{kind.__name__}: {count:,} parameters")
    print(f"memory: about {estimate.memory_gib(config, schedule, parts):.1f} GiB (a guess)")
    print(f"arithmetic: {estimate.run_gflop(config, schedule) / 1000:,.0f} TFLOP")
    return 0
