"""The shape of the networks, without Jittor: what every .model file carries."""
import dataclasses
import math


@dataclasses.dataclass(frozen=True)
class ModelConfig:
    """Everything that decides the shape of the two networks; stored in every .model file."""

    size: int = 1024
    channels: int = 3
    latent: int = 512
    mapping_layers: int = 8
    mapping_lrmul: float = 0.01
    fmap_base: int = 8192
    fmap_max: int = 512

    def __post_init__(self):
        if self.size < 8 or self.size > 1024 or self.size & (self.size - 1):
            raise ValueError(f"size is {self.size}, wanted a power of two from 8 to 1024")
        if self.channels not in (1, 3):
            raise ValueError(f"channels is {self.channels}, wanted 1 (grey) or 3 (colour)")

    def width(self, size):
        """Number of feature maps at `size`: 512 at 32 and below, 256 at 64, … 16 at 1024."""
        return max(1, min(2 * self.fmap_base // size, self.fmap_max))

    @property
    def sizes(self):
        return sizes_to(self.size)

    @property
    def layers(self):
        return num_layers(self.size)


def sizes_to(size):
    """[4, 8, … size]."""
    return [2 ** k for k in range(2, int(math.log2(size)) + 1)]


def num_layers(size):
    """Number of styles that the generator uses at `size`: two per resolution."""
    return 2 * len(sizes_to(size))
