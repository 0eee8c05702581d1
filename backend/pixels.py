"""Pictures as numbers. Of four channels, the last is how opaque a pixel is (alpha), and the colours
are premultiplied: times alpha, so that what cannot be seen is 0, and filters need not know of it.
"""
import contextlib
import functools
import io

import numpy as np
from PIL import Image, ImageCms, ImageOps

WHITE = (255, 255, 255)
READING = 2                     # 1 took no notice of EXIF, 16 bits and profiles of colours


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


def upright(picture):
    """A PIL picture of any mode → RGBA where it can have transparent parts, else RGB: turned as its
    EXIF says, of 8 bits, in the colours of sRGB."""
    scale = key_scale(picture)
    picture.load()              # raises, where it is damaged
    if scale and "transparency" in picture.info:
        key = picture.info["transparency"]
        picture.info["transparency"] = scale(key) if isinstance(key, int) else \
            tuple(map(scale, key))
    with contextlib.suppress(Exception):        # only its EXIF is, for which Pillow has many kinds
        picture = ImageOps.exif_transpose(picture)
    picture = in_srgb(of_8_bits(picture))
    return picture.convert("RGBA" if has_alpha(picture) else "RGB")


def key_scale(picture):
    """What brings the colour that is transparent in a PNG to the 8 bits of its pixels, where Pillow
    leaves it as it is in the file; else None. Known only before the picture is loaded."""
    raw = picture.tile[0][3] if picture.format == "PNG" and picture.tile else None
    return {"L;2": lambda key: key * 85, "L;4": lambda key: key * 17,
            "RGB;16B": lambda key: key >> 8}.get(raw)


def of_8_bits(picture):
    """Of pictures with larger numbers or fractions, which are always grey, the same in 8 bits.

    Whole numbers are up to 65,535, or where one is larger up to the largest; fractions are up to 1,
    or where one is larger up to 255.
    """
    if picture.mode != "F" and not picture.mode.startswith("I"):
        return picture
    values = np.nan_to_num(np.asarray(picture).astype("float32"), posinf=0, neginf=0)
    most = (1 if values.max() <= 1 else 255) if picture.mode == "F" else max(65535, values.max())
    found = Image.fromarray(np.rint(values.clip(0, most) * (255 / most)).astype("uint8"))
    found.info = dict(picture.info)
    if "transparency" in found.info:
        found.info["transparency"] = round(found.info["transparency"] * 255 / most)
    return found


def in_srgb(picture):
    """The same where it has no profile of its colours, or one that cannot be followed."""
    profile = picture.info.get("icc_profile")
    if not profile:
        return picture
    if picture.mode in ("P", "PA"):
        picture = picture.convert("RGBA" if has_alpha(picture) else "RGB")
    opaque = picture.convert({"RGBA": "RGB", "LA": "L"}.get(picture.mode, picture.mode))
    change = to_srgb(profile, opaque.mode)
    if change is None:
        return picture
    try:
        found = ImageCms.applyTransform(opaque, change)
    except ImageCms.PyCMSError:
        return picture
    if has_alpha(picture):
        found.putalpha(picture.convert("RGBA").getchannel("A"))
    return found


@functools.lru_cache(maxsize=64)
def to_srgb(profile, mode):
    """What brings pictures of a mode from a profile, as bytes, to sRGB; None where nothing does, or
    next to nothing changes."""
    try:
        there = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        change = ImageCms.buildTransform(there, ImageCms.createProfile("sRGB"), mode, "RGB")
        if mode == "CMYK":
            return change
        steps = np.arange(256, dtype="uint8")
        ramp = steps[None] if mode == "L" else np.stack(
            np.meshgrid(*[steps[::51]] * 3), -1).reshape(1, -1, 3)
        plain = Image.fromarray(ramp)
        changed = np.asarray(ImageCms.applyTransform(plain, change)).astype(int)
        return None if abs(changed - np.asarray(plain.convert("RGB"))).max() <= 2 else change
    except (ImageCms.PyCMSError, ImportError, OSError, TypeError, ValueError):
        return None


def of_picture(picture, channels):
    """A PIL picture → uint8 [channels, H, W]: 1 for grey, 3, or 4. Of fewer than four, what is
    transparent is over white. Like `upright`, so that pictures that resize.py did not make teach
    the same."""
    picture = upright(picture)
    if channels == 4:
        picture = picture.convert("RGBA").convert("RGBa")
    elif has_alpha(picture):
        picture = flat(picture)
    pixels = np.asarray(picture.convert({1: "L", 3: "RGB", 4: "RGBa"}[channels]))
    return pixels[None] if channels == 1 else pixels.transpose(2, 0, 1)
