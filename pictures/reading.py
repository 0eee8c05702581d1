"""Pictures of any kind that Pillow reads, and how they become square."""
import contextlib
import functools

from PIL import Image

# What Pillow opens and cannot show by itself, and EPS, for which it would start a program.
NOT_PICTURES = ("BUFR", "EPS", "GRIB", "HDF5", "IPTC", "MPEG", "WMF")
LONGEST_SIDE = 8192             # pixels, of what is padded; sizes go up to 1024


@functools.cache
def readable():
    """(Pillow's formats, their endings) that are taken for pictures."""
    with contextlib.suppress(ImportError):
        import pillow_heif
        pillow_heif.register_heif_opener()
    Image.init()
    formats = [name for name in Image.OPEN if name not in NOT_PICTURES]
    return formats, tuple(ending for ending, name in Image.registered_extensions().items()
                          if name in formats)


def open_picture(path):
    return Image.open(path, formats=readable()[0])


def make_square(picture, fit, background):
    """Cropped to its middle, or padded with `background`, a colour of the picture's mode."""
    width, height = picture.size
    if fit == "pad":
        side = max(width, height)
        if side > LONGEST_SIDE:             # of a strip; the square would need gigabytes
            width, height = (max(1, round(n * LONGEST_SIDE / side)) for n in (width, height))
            picture, side = picture.resize((width, height), Image.LANCZOS), LONGEST_SIDE
        square = Image.new(picture.mode, (side, side), background)
        square.paste(picture, ((side - width) // 2, (side - height) // 2))
        return square
    side = min(width, height)
    left, top = (width - side) // 2, (height - side) // 2
    return picture.crop((left, top, left + side, top + side))
