"""One picture of any kind → square PNGs of each size, as resize.py's helpers make them."""
import io
from typing import NamedTuple, Optional

from PIL import Image, UnidentifiedImageError

from backend import archive
from backend.files import replacing
from backend.pixels import flat, is_transparent, upright
from pictures import oddities
from pictures.grid import png
from pictures.reading import make_square, open_picture

NOTHING = (0, 0, 0, 0)          # a colour that is not seen


class Job(NamedTuple):
    """paths: files to be written, or names in an archive where `scratch` is None."""

    file: object                # a path, or a Member of an archive
    sizes: list
    paths: list
    missing: list
    fit: str
    background: Optional[tuple]     # None: what is transparent stays so
    scratch: Optional[str]


class Outcome(NamedTuple):
    """kind: "written", "present", "unreadable" or "unwritten"."""

    kind: str
    reason: Optional[str] = None
    traits: Optional[tuple] = None  # see pictures/oddities.py
    pngs: tuple = ()            # for an archive


def resize_picture(job):
    """A Job's Outcome."""
    try:
        if isinstance(job.file, archive.Member):
            data = job.file.read()
        else:
            with open(job.file, "rb") as file:
                data = file.read()
        with open_picture(io.BytesIO(data)) as picture:
            extent, picture = picture.size, upright(picture)
        transparent = is_transparent(picture)
        picture = flat(picture, job.background) if job.background else picture.convert("RGBA")
        square = make_square(picture, job.fit, job.background or NOTHING)
        transparent = transparent or is_transparent(square)     # where it was padded
    except UnidentifiedImageError:
        return Outcome("unreadable", "not a picture, or a damaged one" if data else "empty")
    except Image.DecompressionBombError:
        return Outcome("unreadable", f"more than {2 * Image.MAX_IMAGE_PIXELS:,} pixels: make it "
                       "smaller first")
    except OSError as error:
        return Outcome("unreadable", error.strerror or str(error))
    except Exception as error:          # Pillow raises many kinds for broken files
        return Outcome("unreadable", f"{type(error).__name__}: {error}")
    traits, pngs = oddities.traits(data, extent, picture, square, transparent), []
    for size, target, needed in zip(job.sizes, job.paths, job.missing):
        # Each size from the one above it: the same filter at a fraction of the cost. Pillow gives
        # what is transparent no say.
        square = square.resize((size, size), Image.LANCZOS)
        if not needed:
            continue
        pngs.append(png(square))
        if job.scratch:
            try:
                with replacing(target, job.scratch) as file:
                    file.write(pngs.pop())
            except OSError as error:
                return Outcome("unwritten", f"{target}: {error.strerror}", traits)
    return Outcome("written" if any(job.missing) else "present", None, traits, tuple(pngs))
