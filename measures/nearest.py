"""Are generated pictures copies? Each beside the training pictures that are nearest to it.

In pixels, and in the features of a network, which see the same thing a little moved or in another
shade. As far as real pictures are from their nearest others is what to compare with: a generator
that copies is much nearer.
"""
import numpy as np

from backend.errors import UserError
from dataset import load_batch
from measures.evaluate import generated
from measures.feature_metrics import squared_distances

COUNT, AT_ONCE = 32, 64
LARGEST = 128                   # larger pictures are averaged down to it where pixels are compared
COLUMNS = 4                     # of generated pictures in the figure


class Nearest:
    """The nearest of many others to each of some points [N, D]; the others come some at a time.

    own: the number of each point among the others, which is not looked at, or None.
    """

    def __init__(self, points, own=None):
        self.points, self.own = points, own
        self.squared, self.index = np.full(len(points), np.inf), np.full(len(points), -1)
        self.mirrored = np.zeros(len(points), bool)

    def add(self, others, numbers, mirrored=False):
        """others: [M, D], those of these numbers."""
        found = squared_distances(self.points, others)
        if self.own is not None:
            found[np.equal.outer(self.own, numbers)] = np.inf
        index = found.argmin(1)
        squared = found[np.arange(len(index)), index]
        nearer = squared < self.squared
        self.squared[nearer], self.index[nearer] = squared[nearer], numbers[index[nearer]]
        self.mirrored[nearer] = mirrored

    def distance(self):
        """The median over all points of the root mean square over D."""
        return float(np.median(np.sqrt(self.squared / self.points.shape[1])))


def flattened(pixels):
    """uint8 [N, C, H, W] → [N, D]: pixels as features."""
    n, c, size, _ = pixels.shape
    if size > LARGEST:
        many = size // LARGEST
        pixels = pixels.reshape(n, c, LARGEST, many, LARGEST, many).mean((3, 5), dtype="float32")
    return pixels.reshape(n, -1)


def find(generator, size, alpha, real, seed, looks, done):
    """(uint8 [n, C, size, size] generated pictures, [(uint8 the nearest to each, the median
    distance, that of as many real ones)], one for each of `looks`).

    real: a Real, of whose folder all pictures are looked at, mirrored too where that is asked for.
    looks: functions of pictures that give features [n, D]. done(n): called after n pictures. What
    cannot be read is left out.
    """
    folder = real.folder
    fakes = generated(generator, size, alpha, range(seed, seed + COUNT))
    reals, own = load(real, folder.indices(range(min(COUNT, len(folder))), seed))
    found = [(Nearest(look(fakes)), Nearest(look(reals), own)) for look in looks]
    for first in range(0, len(folder), AT_ONCE):
        last = min(first + AT_ONCE, len(folder))
        some, numbers = load(real, range(first, last))
        for mirrored in ((False, True) if real.mirror else (False,)) if len(some) else ():
            for look, both in zip(looks, found):
                features = look(np.ascontiguousarray(some[..., ::-1]) if mirrored else some)
                for one in both:
                    one.add(features, numbers, mirrored)
        done(last - first)
    return fakes, [(there(real, one), one.distance(), other.distance()) for one, other in found]


def load(real, numbers):
    """(uint8 [n, C, size, size], their numbers) of those that can be read."""
    files, numbers = [real.folder.file(int(i)) for i in numbers], np.array(numbers)
    try:
        pixels, bad = load_batch(files, [False] * len(files), real.folder.size, real.channels)
    except UserError:           # none of them
        return np.empty((0, 0)), numbers[:0]
    good = np.delete(np.arange(len(files)), [i for i, _, _ in bad])
    return pixels[good], numbers[good]


def there(real, nearest):
    """The pictures that a Nearest found, as it saw them."""
    pixels, _ = load(real, nearest.index)
    pixels[nearest.mirrored] = pixels[nearest.mirrored][..., ::-1]
    return pixels


def figure(fakes, kinds):
    """float [N, C, size, size] for make_grid, and its columns: each generated picture with its
    nearest ones on its right, in COLUMNS groups that an empty column parts."""
    pictures = np.stack([fakes, *kinds], 1)
    empty = np.full_like(pictures[:, :1], 255)
    each = np.concatenate([pictures, empty], 1)         # [N, columns of a group, C, size, size]
    rows = each.reshape(-1, COLUMNS * each.shape[1], *each.shape[2:])[:, :-1]
    return rows.reshape(-1, *each.shape[2:]) / 127.5 - 1, rows.shape[1]
