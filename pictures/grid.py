"""Pictures side by side in one PNG."""
import io

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from backend.files import replacing
from pictures import origin


def to_pixels(images):
    """float [N, C, H, W] in [-1, 1] → uint8 [N, H, W, 3]; grey becomes RGB."""
    images = np.asarray(images)
    if images.shape[1] == 1:
        images = images.repeat(3, axis=1)
    return np.clip(np.rint((images + 1) * 127.5), 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)


def make_grid(images, columns, cell=None, gap=2):
    """float [N, C, H, W] in [-1, 1] → a PIL picture, row by row, white between and where N ends.

    `cell`: height and width of each picture in the grid, a multiple of its own (default its own).
    """
    pixels = to_pixels(images)
    zoom = max(1, (cell or pixels.shape[1]) // pixels.shape[1])
    pixels = pixels.repeat(zoom, 1).repeat(zoom, 2)
    count, height, width = pixels.shape[:3]
    rows = -(-count // columns)
    canvas = np.full((rows * (height + gap) - gap, columns * (width + gap) - gap, 3), 255, np.uint8)
    for i, picture in enumerate(pixels):
        top, left = i // columns * (height + gap), i % columns * (width + gap)
        canvas[top:top + height, left:left + width] = picture
    return Image.fromarray(canvas)


def png(picture, made=None):
    """The bytes of a PNG. made: how it was, to be written into it (see origin.py)."""
    data, info = io.BytesIO(), PngInfo()
    if made:
        info.add_text("Comment", origin.text(made))
    picture.save(data, "PNG", pnginfo=info)
    return data.getvalue()


def save_png(picture, path, through=None, made=None):
    """Write a PIL picture to `path`; it is never there half-written (see backend/files.py)."""
    with replacing(path, through) as file:
        file.write(png(picture, made))


def save_grid(images, columns, path, cell=None):
    save_png(make_grid(images, columns, cell), path)
