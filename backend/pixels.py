"""Pictures as numbers. Of four channels, the last is how opaque a pixel is (alpha), and the colours
are premultiplied: times alpha, so that what cannot be seen is 0, and filters need not know of it.
"""
import numpy as np
from PIL import Image

WHITE = (255, 255, 255)


def has_alpha(picture):
    """Whether a PIL picture can have transparent parts, of any mode."""
    return picture.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in picture.info


def is_transparent(picture):
    """Whether it has some."""
    return has_alpha(picture) and picture.convert("RGBA").getchannel("A").getextrema()[0] < 255


def flat(picture, background=WHITE):
    """A PIL picture as RGB, its transparent parts over a background."""
    if has_alpha(picture):
        picture = picture.convert("RGBA")
        ground = Image.new("RGBA", picture.size, (*background, 255))
        picture = Image.alpha_composite(ground, picture)
    return picture.convert("RGB")


def of_picture(picture, channels):
    """A PIL picture → uint8 [channels, H, W]: 1 for grey, 3, or 4. Of fewer than four, what is
    transparent is over white."""
    if channels == 4:
        picture = picture.convert("RGBA").convert("RGBa")
    elif has_alpha(picture):
        picture = flat(picture)
    pixels = np.asarray(picture.convert({1: "L", 3: "RGB", 4: "RGBa"}[channels]))
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
