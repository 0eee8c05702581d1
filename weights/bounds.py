"""What reading a file may cost: as much memory and time as its length justifies, and no more.

A small file can claim arrays of any size, compress zeros a thousandfold, and refer to one thing
ten thousand times. So each reader has a Budget, in bytes: it pays for everything before it is made,
and for what is shared as often as it is referred to.
"""
import io

# An honest file costs up to three times its length: as bytes, as arrays, as float32. For what
# compresses well, a network that is all zeros for instance, there is the room of every file.
ROOM, RATIO = 24 << 20, 10
ITEM = 200              # of a Python object, or of a step that may make one
MEMBER = 5000           # of a file in an archive: no memory, but a tenth of a millisecond
LARGEST, DIMENSIONS = 1 << 40, 32       # of an array's shape; NumPy has no more dimensions
LONGEST_NAME = 200      # of a part of a network, which the name of each array in it begins with
WEIGHTS = "a .model file of train.py, or weights that convert.py --help names"


class Refused(ValueError):
    """What a file holds that is not taken, and why: the end of a line that names the file."""


class Budget:
    """The bytes that reading a file of `length` bytes may still cost."""

    def __init__(self, length):
        self.length, self.left = length, ROOM + RATIO * length

    def spend(self, count):
        self.left -= count
        if self.left < 0:
            raise Refused("refused: it claims, repeats or unpacks far more than its "
                          f"{self.length:,} bytes can hold")


class File(io.BufferedReader):
    """A file that is not read beyond its end: room would be made for a claim of 8 GB."""

    def __init__(self, path):
        super().__init__(open(path, "rb", buffering=0))
        self.length = self.seek(0, io.SEEK_END)
        self.seek(0)

    def read(self, count=-1):
        if count is not None and count > io.DEFAULT_BUFFER_SIZE and \
                count > self.length - self.tell():
            raise Refused("damaged: it ends before what it announces")
        return super().read(count)


def sizes(shape):
    """The shape of an array as a tuple, whatever a stranger wrote. Raises Refused."""
    if not isinstance(shape, (tuple, list)) or len(shape) > DIMENSIONS or \
            not all(isinstance(n, int) and 0 <= n < LARGEST for n in shape):
        raise Refused("damaged: an array of impossible shape")
    return tuple(shape)


def short(value, most=100):
    """What a stranger wrote, or an error about it, for a message: one line, bounded.

    Of a list and its like only the type is said: to write out what is nested could take forever.
    """
    if isinstance(value, Exception):
        return ascii(str(value) or type(value).__name__)[1:-1][:most]
    if isinstance(value, (str, bytes)):
        return ascii(value[:most])[:most]
    return ascii(value) if value is None or isinstance(value, (bool, float)) else \
        f"a {type(value).__name__}"
