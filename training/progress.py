"""What train.py says on the terminal: the bar, a line per size, how long all of it will take."""
import collections
import contextlib
import math
import os
import sys
import time

from tqdm import tqdm

import backend
from backend import cuda, mpi, pixels, streams
from backend.errors import counted
from networks.shapes import discriminator_shapes, generator_shapes
from training import estimate, settings

KERNELS_OF_A_RUN = 100          # one of three sizes has Jittor compile some 110


class ProgressBar(contextlib.AbstractContextManager):
    """tqdm in kimg: size, alpha, losses, images/s and the time left for the whole run."""

    def __init__(self, training):
        self.training, self.shown = training, 0.0
        # Seconds that steps took, and the cost that was guessed for them; older ones fade.
        self.images, self.seconds, self.guessed = 0, 0.0, 0.0
        self.took = collections.deque(maxlen=2)         # seconds of the last two
        self.bar = tqdm(total=training.schedule.total_images / 1000,
                        initial=round(training.images_seen / 1000, 1), unit="kimg",
                        bar_format="{n:.1f}/{total:g} kimg {bar:10} {postfix}",
                        mininterval=0.5 if sys.stderr.isatty() else 30, dynamic_ncols=True)
        self.last = time.time()

    def step(self, phase, measured):
        now = time.time()
        took, self.last = now - self.last, now
        # A step that compiles says nothing about the speed of the next.
        usual = len(self.took) == 2 and took < 1.5 * min(self.took)
        if self.images and (took < 20 or usual):
            self.seconds = 0.98 * self.seconds + took
            self.guessed = 0.98 * self.guessed + phase.batch * self.cost(phase.size)
        self.images += phase.batch
        self.took.append(took)
        if now - self.shown > 0.5 and self.guessed:
            d_loss, g_loss = (measured[name].item() for name in ("loss_D", "loss_G"))
            skipped = self.training.skipped.item()
            self.bar.set_postfix_str(
                (f"{counted(round(skipped), 'step')} skipped, " if skipped else "") +
                f"size {phase.size} alpha {phase.alpha:.2f} D {d_loss:.3f} G {g_loss:.3f} "
                f"{self.rate(phase):.1f} img/s, {estimate.duration(self.left())} left",
                refresh=False)
            self.shown = now
        self.bar.n = round(self.training.images_seen / 1000, 1)
        self.bar.update(0)

    def rate(self, phase):
        """Images per second at the size of a phase, from the speed of the last steps."""
        return self.guessed / self.seconds / self.cost(phase.size)

    def left(self):
        """Seconds to the end of the run."""
        return self.seconds / self.guessed * estimate.over_run(
            self.training.schedule, self.cost, self.training.images_seen)

    def cost(self, size):
        """Of an image, to compare sizes: seconds on a CPU, on a GPU GFLOP."""
        config = self.training.config
        if backend.jt.flags.use_cuda:
            return estimate.training_gflop(config, size)
        return estimate.image_seconds(config, size, self.training.schedule.batch[size],
                                      passes=estimate.passes(self.training.s))

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
    from networks.generator import parameters_in_use
    schedule, config = training.schedule, training.config
    count = [sum(p.numel() for p in parameters_in_use(net, phase.size, False).values())
             for net in (training.G, training.D)]
    how = "stable" if not phase.fading else \
        f"fading in over {1000 * (1 - phase.alpha) * schedule.fade_kimg:,.0f}"
    cost = ""
    if bar.guessed:                                     # known from the sizes before
        larger = [s for s in schedule.sizes if s > phase.size]
        if larger:
            here = min(schedule.border(larger[0]), schedule.total_images) - training.images_seen
            cost = f"; about {estimate.duration(here / bar.rate(phase))} at this size"
        times = estimate.training_gflop(config, phase.size) / \
            estimate.training_gflop(config, phase.size // 2)
        end = time.localtime(time.time() + bar.left())
        cost = (f"; {times:.1f} times the arithmetic of size {phase.size // 2} for an image, about "
                f"{bar.rate(phase):.3g} images/s{cost}; the run will end in about "
                f"{estimate.duration(bar.left())}, at {time.strftime('%H:%M on %d %B', end)}")
    bar.write(f"size {phase.size} from {training.images_seen:,} images, {how}: batch "
              f"{phase.batch}, learning rate {rates(phase)}, {count[0]:,} + {count[1]:,} "
              f"parameters{cost} (new shapes: compiling takes a moment)")


def rates(phase):
    """Learning rates: "0.006", or "0.006 / 0.003" where that of the discriminator is another."""
    return f"{phase.lr:g}" + (f" / {phase.dlr:g}" if phase.dlr != phase.lr else "")


def say_how_long(jt, training):
    """One line: the time of the whole run here, and of what has to be compiled for it."""
    s, schedule, config = training.s, training.schedule, training.config
    if jt.flags.use_cuda:
        from backend.speed import conv_gflops
        width = config.width(schedule.sizes[0])
        rate = conv_gflops(jt, batch=schedule.batch[16], channels=width, size=16)
        # 0.8: what bench/train_step.py shows of it on a CPU.
        flop = estimate.run_gflop(config, schedule, estimate.passes(s), training.images_seen)
        seconds = flop / (0.8 * rate)
        print(how_long(seconds, "GPU", training.images_seen) + ", after some minutes of compiling "
              "where that was not done yet (guessed from one convolution; the bar knows better "
              "soon)", file=sys.stderr)
        return
    say_cpu_time(config, schedule, s, training.images_seen,
                 backend.kernels_compiled() < KERNELS_OF_A_RUN)


def say_cpu_time(config, schedule, s, images_seen=0, compiling=True):
    seconds = estimate.run_seconds(config, schedule, estimate.passes(s), images_seen,
                                   estimate.matrix_speed())
    compiled = ", after two or three minutes of compiling where that was not done yet" \
        if compiling else ", and perhaps some minutes more of compiling at new sizes"
    print(how_long(seconds, "CPU", images_seen) + compiled +
          " (a guess; the bar knows better soon)", file=sys.stderr)
    if seconds / mpi.SIZE > 2 * 86400 and s["preset"] != "small":
        print("That is long for a CPU: --preset small is made for it", file=sys.stderr)


def how_long(seconds, device, images_seen):
    """`seconds`: of one process alone."""
    what = "rest of the run" if images_seen else "whole run"
    where = f"on this {device}" if mpi.SIZE == 1 else f"in {mpi.SIZE} processes like this one"
    return f"The {what} will take about {estimate.duration(seconds / mpi.SIZE)} {where}"


def fade_end(schedule, size):
    """Images seen at which a size has faded in."""
    start = schedule.border(size)
    return start + round(1000 * schedule.fade_kimg * (1 - schedule.at(start).alpha))


def say_what_is_not_reached(schedule):
    """Before the first step, where the run is too short for all that was asked for."""
    last = schedule.trained(schedule.total_images)
    largest = schedule.max_size
    if last.size == largest and not last.fading:
        return
    begin, end = schedule.border(largest), fade_end(schedule, largest)
    found = f"size {last.size}; size {largest} begins at {begin:,} images" \
        if last.size < largest else f"size {largest} as it fades in, which takes until {end:,.0f}"
    print(f"warning: --kimg {schedule.kimg:g} ends at {found}: type --kimg "
          f"{math.ceil(end / 1000 + schedule.phase_kimg):g}" +
          (f", or --max_size {last.size}" if last.size < largest else ""), file=sys.stderr)


def say_what_changed(s, config, pictures, header):
    """Between stop and resume: other pictures, another version. Told, and gone on with."""
    for size, now in pictures.items():
        then = header.get("pictures", {}).get(size, now)
        if then.get("labels") != now.get("labels") and then["names"] == now["names"]:
            print(f"warning: {os.path.join(s['data'], size)} has other labels than when "
                  "the run was saved", file=sys.stderr)
        elif then != now:
            print(f"warning: {os.path.join(s['data'], size)} has other pictures than when "
                  f"the run was saved ({now['count']:,} now, {then['count']:,} then): it goes on "
                  "with these, in a new order (--name OTHER without --resume begins a run of their "
                  "own)", file=sys.stderr)
    then, now = map(settings.augmentation, (header["settings"], s))
    if then != now:
        then, now = (" ".join(settings.as_typed(*one) for one in some.items())
                     for some in (then, now))
        print(f"note: from here on with {now}, until here with {then}", file=sys.stderr)
    if header.get("streams") != streams.VERSION:
        print("note: the run was saved by an earlier version, which drew its random numbers "
              "otherwise: the order of pictures and all latents are others from here on",
              file=sys.stderr)
    if header.get("reading", 1) != pixels.READING:
        print("note: the run was saved by an earlier version, which took no notice of EXIF, 16 "
              "bits and profiles of colours in the pictures of DATA: where there are some, they "
              "look different from here on", file=sys.stderr)
        if config.arch == "stylegan2" and 1 in (s["r1_interval"], s["pl_interval"]):
            print("note: it had learned at the whole rate where a penalty comes at every step; "
                  "from here on that is half of it, as in the official code", file=sys.stderr)


def say_other_kernels(training, header):
    """What a run was saved on, where that is not what it goes on on."""
    then, now = header.get("kernels"), training.kernels()
    if then not in (None, now):
        print(f"note: the run was saved on {then} and goes on on {now}: the numbers will differ in "
              "the last digits from a run that did not stop", file=sys.stderr)


def rules(config, s):
    """What a run learns by, in words."""
    def often(steps):
        return "every step" if steps == 1 else f"every {steps} steps"

    found = [f"loss {s['loss']}"]
    if s["gamma"]:
        found.append(f"gamma {s['gamma']:g} {often(s['r1_interval'])}")
    if config.arch == "stylegan2" and s["pl_weight"]:
        found.append(f"path length {s['pl_weight']:g} {often(s['pl_interval'])}")
    if s["freeze_d"]:
        found.append(f"{counted(s['freeze_d'], 'layer')} of D left as they are")
    augment = f"augment {s['augment']}"
    if s["augment_p"] is not None:
        augment += f" at p {s['augment_p']:g}"
    return [*found, f"style mixing {s['mixing']:g}", augment]


def dry_run(config, schedule, s, images_seen=0):
    """Print what a run would do, from `images_seen` on. Nothing is written or compiled."""
    passes = estimate.passes(s)
    grows = config.arch == "stylegan1"
    print(f"size  from images{'  fade until' * grows}     batch  learning rate  GFLOP/image")
    for size in schedule.sizes:
        start = schedule.border(size)
        phase = schedule.at(start)
        fades = f"  {fade_end(schedule, size):11,}" if grows else ""
        print(f"{size:4}  {start:11,}{fades}  {schedule.batch[size]:8}  {rates(phase):>13}"
              f"  {estimate.training_gflop(config, size, passes):11.1f}")
    print(f"end   {schedule.total_images:11,}")
    print(f"learns with: {', '.join(rules(config, s))}")
    for kind, shapes in ("StyledGenerator", generator_shapes), ("Discriminator",
                                                                discriminator_shapes):
        count = sum(math.prod(shape) for name, shape in shapes(config).items() if name != "w_avg")
        print(f"{kind}: {count:,} parameters")
    memory = estimate.memory_gib(config, schedule, s["grad_accum"] * mpi.SIZE)
    print(f"memory: about {memory:.1f} GiB (a guess)")
    tflop = estimate.run_gflop(config, schedule, passes) / 1000
    print(f"arithmetic: {tflop:,.{0 if tflop >= 10 else 2}f} TFLOP")
    sys.stdout.flush()
    if s["device"] != "cpu" and cuda.driver()[1]:
        print("time: on a GPU, known when the run begins", file=sys.stderr)
    else:
        say_cpu_time(config, schedule, s, images_seen)
    return 0
