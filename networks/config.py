"""The shape of the networks, without Jittor: what every .model file carries."""
import dataclasses
import math
import re

import numpy as np

ARCHITECTURES = ("stylegan1", "stylegan2")
LARGEST_SIZE, MOST_MAPPING_LAYERS = 4096, 1000


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Everything that decides what the two networks compute; stored in every .model file.

    Karras et al. 2018; names as in the official code. The fields under "ports" are what
    checkpoints of the PyTorch and Jittor ports need differently, see PORT.
    """

    arch: str = "stylegan1"         # or "stylegan2", Karras et al. 2019
    size: int = 1024
    channels: int = 3
    labels: int = 0                 # length of the label; 0: none
    latent: int = 512               # length of z
    dlatent: int = 0                # length of the style w; 0: as latent
    mapping_fmaps: int = 0          # width of the mapping layers between; 0: as latent
    mapping_layers: int = 8
    mapping_lrmul: float = 0.01
    fmap_base: int = 8192
    fmap_decay: float = 1.0
    fmap_max: int = 512
    d_fmap_base: int = 0            # of the discriminator; 0: as the generator's
    d_fmap_max: int = 0
    stddev_group: int = 4           # pictures per minibatch stddev; 0: whole batch, 1: none
    norm_eps: float = 1e-8          # of the instance norm

    # Ports
    bias_before_blur: bool = False  # upsampling adds it before blur and noise; const has none
    noise_per_block: bool = False   # the two layers of a size share one noise map
    equalize_all: bool = False      # √2 also in toRGB, style, last dense; noise times √(2 / C)
    scale_from_zero: bool = False   # the style's scale is used as it is, not as 1 + scale
    from_rgb_activate: bool = True  # leaky ReLU after fromRGB
    widen_first: bool = False       # discriminator blocks change their width in the first conv

    # StyleGAN2
    clamp: float = 0.0              # activations stay within ± this; 0: they may be any number
    d_residual: bool = True         # discriminator blocks have a path around their convolutions
    d_mapping_layers: int = 8       # of labels, in the discriminator
    d_mapping_lrmul: float = 0.01

    def __post_init__(self):
        if self.arch not in ARCHITECTURES:
            raise ValueError(f"arch is {ascii(self.arch)[:40]}, wanted "
                             f"{' or '.join(ARCHITECTURES)}")
        for field in dataclasses.fields(self):
            if field.name == "arch":
                continue
            value, kind = getattr(self, field.name), type(field.default)
            if not isinstance(value, (int, float)) or not 0 <= value <= 1e6 or value != kind(value):
                raise ValueError(f"{field.name} is {ascii(value)[:40]}, wanted a number of kind "
                                 f"{kind.__name__} from 0 to a million")
            object.__setattr__(self, field.name, kind(value))
        for name in ("dlatent", "mapping_fmaps"):
            object.__setattr__(self, name, getattr(self, name) or self.latent)
        if self.size < 4 or self.size > LARGEST_SIZE or self.size & (self.size - 1):
            raise ValueError(f"size is {self.size}, wanted a power of two from 4 to {LARGEST_SIZE}")
        for name in ("mapping_layers", "d_mapping_layers"):
            if getattr(self, name) > MOST_MAPPING_LAYERS:
                raise ValueError(f"{name} is {getattr(self, name)}, wanted up to "
                                 f"{MOST_MAPPING_LAYERS}")
        for name in ("channels", "latent", "mapping_layers", "fmap_base", "fmap_max"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}, wanted 1 or more")

    def width(self, size):
        """Number of feature maps at `size`: 512 at 32 and below, 256 at 64, … 16 at 1024."""
        return self._width(size, self.fmap_base, self.fmap_max)

    def d_width(self, size):
        """The same of the discriminator."""
        return self._width(size, self.d_fmap_base or self.fmap_base,
                           self.d_fmap_max or self.fmap_max)

    def _width(self, size, base, largest):
        return max(1, min(int(base / (size / 2) ** self.fmap_decay), largest))

    @property
    def sizes(self):
        return sizes_to(self.size)

    @property
    def layers(self):
        return num_layers(self.size)

    @property
    def embedded(self):
        """How many numbers the mapping network makes of a label."""
        return self.latent if self.arch == "stylegan1" else self.dlatent

    @property
    def mapping_widths(self):
        """[latent, mapping_fmaps, … dlatent]: inputs of the mapping layers, and the last output."""
        first = self.latent + (self.embedded if self.labels else 0)
        return [first] + [self.mapping_fmaps] * (self.mapping_layers - 1) + [self.dlatent]

    @property
    def noise_sides(self):
        """Side of the noise map of each convolution of the generator: 4, 4, 8, 8 … StyleGAN2 has
        one convolution at 4."""
        return noise_sides(self.size, self.arch)


# What the PyTorch port and the Jittor port made from it compute differently. That port's
# from_rgb_activate is an option.
PORT = dict(mapping_lrmul=1.0, stddev_group=0, norm_eps=1e-5, bias_before_blur=True,
            noise_per_block=True, equalize_all=True, scale_from_zero=True, widen_first=True)


def power_of_two(text):
    """8, 16, … as an int, or None where `text` is not such a number."""
    if not (text.isascii() and text.isdecimal() and len(text) < 10) or text[0] == "0":
        return None
    return int(text) if int(text) >= 4 and bin(int(text)).count("1") == 1 else None


def sizes_to(size):
    """[4, 8, … size]."""
    return [2 ** k for k in range(2, int(math.log2(size)) + 1)]


def size_of(name):
    """Size of the block, toRGB or fromRGB that the parameter `name` is in; None: in use at all."""
    found = re.search(r"(?:block|to_rgb|from_rgb)(\d+)", name)
    return int(found.group(1)) if found else None


def in_use(name, size, fading):
    """Whether the parameter `name` takes part when training at `size`."""
    own = size_of(name)
    if own is None or "block" in name:
        return own is None or own <= size
    return own == size or (fading and own == size // 2)


def num_layers(size):
    """Number of styles that the generator uses at `size`: two per resolution."""
    return 2 * len(sizes_to(size))


def truncated_layers(arch, size):
    """How many layers truncation applies to: StyleGAN1's first 8 (Karras et al. 2018, section B),
    all of StyleGAN2's."""
    return 8 if arch == "stylegan1" else num_layers(size)


def noise_sides(size, arch="stylegan1"):
    """See ModelConfig.noise_sides, of a network of this size."""
    return [s for s in sizes_to(size) for _ in range(2)][arch == "stylegan2":]


def fixed_noise(size, arch="stylegan1", seed=0):
    """One N(0, 1) map [1, 1, h, h] per convolution, NumPy float32, for all pictures alike."""
    rng = np.random.RandomState(seed)
    return [rng.randn(1, 1, s, s).astype("float32") for s in noise_sides(size, arch)]
