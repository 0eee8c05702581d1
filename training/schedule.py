"""Images seen → size, alpha, batch and learning rate: pure functions, nothing counts iterations.

The reference recipe is the official one for a single GPU (Karras et al. 2018, appendix C;
Karras et al. 2017, appendix A). A size begins with the first batch at which images seen ≥ its
border. Every size after the first fades in for `fade_kimg`, then trains on for `phase_kimg`; the
last size goes on to the end. A run that begins with weights in mid-fade ends that fade first.
"""
import dataclasses
import math

import numpy as np

BATCH = {4: 128, 8: 128, 16: 128, 32: 64, 64: 32, 128: 16, 256: 8, 512: 4, 1024: 4}
LEARNING_RATE = {4: 1e-3, 8: 1e-3, 16: 1e-3, 32: 1e-3, 64: 1e-3, 128: 1.5e-3, 256: 2e-3,
                 512: 3e-3, 1024: 3e-3}


@dataclasses.dataclass(frozen=True)
class Schedule:
    """The recipe of a run; `batch`, `lr` and `dlr` are tables by size."""

    init_size: int = 8
    max_size: int = 128
    kimg: float = 25000
    fade_kimg: float = 600
    phase_kimg: float = 600
    batch: dict = dataclasses.field(default_factory=lambda: dict(BATCH))
    lr: dict = dataclasses.field(default_factory=lambda: dict(LEARNING_RATE))
    dlr: dict = None            # the discriminator's, where it is another
    init_alpha: float = 1.0     # how far the layers of init_size have faded in when it begins

    @property
    def sizes(self):
        """[init_size, … max_size]."""
        sizes = [self.init_size]
        while sizes[-1] < self.max_size:
            sizes.append(2 * sizes[-1])
        return sizes

    @property
    def total_images(self):
        return round(self.kimg * 1000)

    def border(self, size):
        """Images seen at which `size` begins; 0 for the first."""
        if size == self.init_size:
            return 0
        first = (1 - self.init_alpha) * self.fade_kimg + self.phase_kimg
        earlier = self.sizes.index(size) - 1
        return round(1000 * (first + earlier * (self.fade_kimg + self.phase_kimg)))

    def at(self, images_seen):
        """The Phase that the batch beginning at `images_seen` belongs to."""
        size = max(s for s in self.sizes if self.border(s) <= images_seen)
        alpha, begun = 1.0, self.init_alpha if size == self.init_size else 0.0
        if self.fade_kimg > 0:
            seen = images_seen - self.border(size)
            alpha = min(1.0, begun + seen / (1000 * self.fade_kimg))
        return Phase(size, alpha, self.batch[size], self.lr[size], (self.dlr or self.lr)[size])

    def trained(self, images_seen):
        """The Phase of the batch that the last of `images_seen` is in; of the first, where it is 0.

        Not at(images_seen − 1): a batch belongs to the size at which it begins, and goes on over
        the border of the next.
        """
        last, *larger = self.sizes
        begun = 0                                       # with the first batch of a size
        for size in larger:
            begins = begun + multiple(max(0, self.border(size) - begun), self.batch[last])
            if images_seen <= begins:
                break
            last, begun = size, begins
        batch = self.batch[last]
        return self.at(begun + max(0, images_seen - 1 - begun) // batch * batch)


@dataclasses.dataclass(frozen=True)
class Phase:
    """size in pixels, alpha in [0, 1], global batch, Adam's learning rates of G and of D."""

    size: int
    alpha: float
    batch: int
    lr: float
    dlr: float

    @property
    def fading(self):
        return self.alpha < 1

    @property
    def optimizer_epoch(self):
        """Adam starts afresh whenever this changes: at a new size, and where its fade ends."""
        return (self.size, self.fading)


def default_batch(processes=1):
    """The official table for 1 to 8 GPUs: larger at 8 for several; at least 4 for each."""
    return {size: multiple(max(batch, 256 if processes > 1 and size <= 8 else 0), 4 * processes)
            for size, batch in BATCH.items()}


def multiple(number, of):
    """The smallest multiple of `of` that is not below `number`."""
    return -(-number // of) * of


def parts(batch, count, group=4):
    """Which images of a batch are in each of `count` equal parts, int [count, batch ÷ count].

    Whole groups of the minibatch stddev, which are the images i, i + M, i + 2 M … of `group`, with
    M = batch ÷ group (Karras et al. 2017, section 3): a part alone has the groups that it has in
    the batch. One part is the batch in its order.
    """
    return np.arange(batch).reshape(group, count, -1).swapaxes(0, 1).reshape(count, -1)


def group_unit(stddev_group):
    """Batches are multiples of it: the groups of the minibatch stddev, but at least 4."""
    return max(4, stddev_group) if can_be_divided(stddev_group) else 4


def can_be_divided(stddev_group):
    """Whether batches can be, into parts that have whole groups: not where a group is the whole
    batch, 0, or no power of two."""
    return stddev_group > 0 and not stddev_group & (stddev_group - 1)


def ema_beta(batch, ema_kimg, images_seen=0, rampup=0):
    """Weight of the old average after `batch` images, for a half-life of `ema_kimg` thousand; or,
    where `rampup` is not 0, of that share of the images seen before, if that is less."""
    half_life = 1000 * ema_kimg
    if rampup:
        half_life = min(half_life, images_seen * rampup)
    return 0.5 ** (batch / half_life) if half_life > 0 else 0.0


def gradient_scale(size, max_size, gamma_scale):
    """How long the gradient is, of which a penalty is taken, beside that of the image of `size`.

    "official": the official code differentiates with respect to the image enlarged to the final
    size, whose gradient is shorter by size / max_size. "port": that of the image as it is.
    """
    return size / max_size if gamma_scale == "official" else 1.0


def lazy(gamma, images_seen, batch, interval):
    """γ of this step: `interval` times as much at one step of `interval`, 0 at the others.

    Lazy regularisation (Karras et al. 2019, "Analyzing and Improving the Image Quality of
    StyleGAN", section 2 and appendix B).
    """
    return gamma * interval if images_seen // batch % interval == 0 else 0


def crossed(before, after, kimg):
    """Whether a multiple of `kimg` thousand images lies in (before, after]; of inf, never."""
    if kimg == math.inf:
        return False
    step = max(1, round(1000 * kimg))
    return before // step != after // step


def parse_table(text, flag, default, number=int):
    """"16" → 16 at every size; "8:128,16:64" → those sizes changed. Raises ValueError."""
    table = dict(default)
    try:
        if ":" not in text:
            table = {size: number(text) for size in table}
        else:
            for part in text.split(","):
                size, value = part.split(":")
                if int(size) not in table:
                    raise ValueError
                table[int(size)] = number(value)
    except ValueError:
        raise ValueError(f"{flag}: found {text!r}, wanted one number or a table "
                         f"such as 8:{default[8]},16:{default[16]}") from None
    if not all(0 < value < math.inf for value in table.values()):
        raise ValueError(f"{flag}: found {text!r}, wanted numbers above 0")
    return table
