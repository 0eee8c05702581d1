"""Films, written frame by frame so that a long one needs no more memory than a short one."""
import contextlib
import os
import re
import subprocess

import numpy as np
from PIL import GifImagePlugin, Image

from backend.errors import UserError
from backend.files import naming, replacing, scratch_folder, temporary_name
from pictures import origin

GIF_END = b";"
LONGEST_SIDE = {"gif": 65_535, "mp4": 16_384}       # pixels, of H.264 as ffmpeg's encoder has it


@contextlib.contextmanager
def gif(path, seconds_per_frame=0.08, made=None):
    """Yields write(PIL picture, seconds=seconds_per_frame). An endless loop, 256 colours a frame.

    All frames must be of one size. made: how they were, to be written into the file (origin.py).
    """
    with naming(path), replacing(path) as file:
        yield gif_writer(file, seconds_per_frame, made)
        file.write(GIF_END)


def gif_writer(file, seconds_per_frame=0.08, made=None):
    """write(PIL picture, seconds=seconds_per_frame), as gif() yields it, to an open file; GIF_END
    belongs behind the last frame."""
    info = {"loop": 0} | ({"comment": origin.text(made).encode()} if made else {})
    first = True

    def write(picture, seconds=seconds_per_frame):
        nonlocal first
        picture = picture.convert("RGB").quantize(256, dither=Image.Dither.NONE)
        duration = max(20, round(1000 * seconds))
        if first:
            for part in GifImagePlugin.getheader(picture, info=info)[0]:
                file.write(part)
            first = False
        for part in GifImagePlugin.getdata(picture, duration=duration, include_color_table=True):
            file.write(part)

    return write


def ffmpeg():
    """The package imageio_ffmpeg."""
    try:
        import imageio_ffmpeg
    except ImportError:
        raise UserError("--film mp4 needs one more package: type pip install imageio-ffmpeg, or "
                        "--film gif") from None
    return imageio_ffmpeg


@contextlib.contextmanager
def mp4(path, frames_per_second, made=None):
    """Yields write(PIL picture). H.264, as browsers play it; needs the package imageio-ffmpeg."""
    imageio_ffmpeg = ffmpeg()
    # ffmpeg writes by name, and goes back in the file at the end: a folder of its own, then over.
    folder, writer, count = temporary_name(path), None, 0
    temporary = os.path.join(folder, "film.mp4")

    def write(picture):
        nonlocal writer, count
        pixels = np.asarray(picture.convert("RGB"))
        height, width = pixels.shape[:2]                # H.264 wants even ones
        pixels = np.pad(pixels, ((0, height % 2), (0, width % 2), (0, 0)), "edge")
        if writer is None:
            writer = imageio_ffmpeg.write_frames(
                temporary, pixels.shape[1::-1], fps=frames_per_second, codec="libx264",
                quality=8, macro_block_size=1,
                output_params=["-metadata", f"comment={origin.text(made)}"] if made else [])
            writer.send(None)
        writer.send(np.ascontiguousarray(pixels))
        count += 1

    with naming(path), scratch_folder(folder):
        try:
            yield write
            if writer:
                writer.close()
                check_mp4(imageio_ffmpeg.get_ffmpeg_exe(), temporary, count)
                os.replace(temporary, path)
        finally:
            if writer:
                writer.close()


def check_mp4(program, path, count):
    """Raise OSError where it has not all frames: imageio_ffmpeg does not say that ffmpeg failed."""
    # It would read what is typed on the terminal, and stop in the background.
    looked = subprocess.run([program, "-nostdin", "-i", path, "-c", "copy", "-f", "null", "-"],
                            stdin=subprocess.DEVNULL, capture_output=True, text=True)
    found = [0, *map(int, re.findall(r"frame= *(\d+)", looked.stderr))][-1]
    if looked.returncode or found != count:
        raise OSError(f"ffmpeg wrote {found} of {count} frames: is the disk full?")
    with open(path, "rb+") as file:
        os.fsync(file.fileno())


WRITERS = {"gif": lambda path, fps, made: gif(path, 1 / fps, made), "mp4": mp4}
