"""Pictures side by side in one PNG."""
import io

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from backend.files import replacing
from pictures import origin

LONGEST = 40                    # letters of a name beside a row
SQUARES = 255, 221              # of the checkerboard behind what is transparent


def to_pixels(images):
    """float [N, C, H, W] in [-1, 1] → uint8 [N, H, W, 3 or 4]; grey becomes RGB. Premultiplied
    colours are at most alpha, as in a file."""
    images = np.asarray(images)
    if images.shape[1] == 1:
        images = images.repeat(3, axis=1)
    found = np.clip(np.rint((images + 1) * 127.5), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
    return np.minimum(found, found[..., 3:]) if found.shape[3] == 4 else found


def enlarged(images, cell):
    """The same, each as many times as large as fits into `cell` pixels (default its own size)."""
    found = to_pixels(images)
    zoom = max(1, (cell or found.shape[1]) // found.shape[1])
    return found.repeat(zoom, 1).repeat(zoom, 2)


def over_checkerboard(pixels):
    """uint8 [H, W, 4], premultiplied → [H, W, 3]."""
    rows, columns = (np.arange(side) // max(4, side // 8) for side in pixels.shape[:2])
    ground = np.array(SQUARES, "uint16")[np.add.outer(rows, columns) % 2]
    hidden = 255 - pixels[..., 3:].astype("uint16")
    return (pixels[..., :3] + (hidden * ground[..., None] + 127) // 255).astype("uint8")


def single(image, cell=None):
    """float [C, H, W] in [-1, 1] → a PIL picture by itself: RGB, of four channels RGBA."""
    pixels = enlarged(image[None], cell)[0]
    if pixels.shape[2] == 3:
        return Image.fromarray(pixels)
    return Image.frombytes("RGBa", pixels.shape[1::-1], pixels.tobytes()).convert("RGBA")


def make_grid(images, columns, cell=None, gap=2):
    """float [N, C, H, W] in [-1, 1] → a PIL picture, row by row, white between and where N ends.
    Transparent parts are over a checkerboard.

    `cell`: height and width of each picture in the grid, a multiple of its own (default its own).
    """
    pixels = enlarged(images, cell)
    count, height, width = pixels.shape[:3]
    rows = -(-count // columns)
    canvas = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for i, picture in enumerate(pixels):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        canvas[top:top + height, left:left + width] = \
            over_checkerboard(picture) if picture.shape[2] == 4 else picture
    return Image.fromarray(canvas)


def with_names(rows, names, gap=2):
    """PIL pictures of one size, one below the other, with a name left of each."""
    font, names = ImageFont.load_default(12), [name[:LONGEST] for name in names]
    margin = 8 + max(round(font.getlength(name)) for name in names)
    width, height = rows[0].size
    canvas = Image.new("RGB", (margin + width, len(rows) * (height + gap) - gap), "white")
    for i, (picture, name) in enumerate(zip(rows, names)):
        top = i * (height + gap)
        canvas.paste(picture, (margin, top))
        ImageDraw.Draw(canvas).text((4, top + height // 2), name, "black", font, "lm")
    return canvas


def png(picture, made=None):
    """The bytes of a PNG. made: how it was, to be written into it (see origin.py)."""
    data, info = io.BytesIO(), PngInfo()
    if made:
        info.add_text("Comment", origin.text(made))
    # Not the profile of the colours of the file that it was made from.
    picture.save(data, "PNG", pnginfo=info, icc_profile=None)
    return data.getvalue()


def save_png(picture, path, through=None, made=None):
    """Write a PIL picture to `path`; it is never there half-written (see backend/files.py)."""
    with replacing(path, through) as file:
        file.write(png(picture, made))


def save_grid(images, columns, path, cell=None):
    save_png(make_grid(images, columns, cell), path)
