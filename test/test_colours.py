"""Pictures mean the same whatever their file says of colours, bits and which way is up: in
resize.py, and where training reads them as they lie."""
import io
import os
import struct
import zlib

import numpy as np
import pytest
from conftest import command
from PIL import Image

from backend.labels import target_name
from backend.pixels import of_picture, upright
from dataset import PictureFolder, load_batch

# Adobe RGB (1998), as colours of the D50 white that profiles are in (Bradford), and sRGB.
ADOBE = np.array([[0.60974, 0.20528, 0.14919], [0.31111, 0.62567, 0.06322],
                  [0.01947, 0.06087, 0.74457]])
SRGB = np.array([[0.43607, 0.38515, 0.14307], [0.22249, 0.71690, 0.06061],
                 [0.01392, 0.09708, 0.71410]])
GAMMA = 563 / 256


def profile(matrix=ADOBE, gamma=GAMMA):
    """The bytes of an ICC profile, version 2, of three primaries [XYZ, RGB] and a gamma."""
    def xyz(values):
        return b"XYZ \0\0\0\0" + b"".join(struct.pack(">i", round(v * 65536)) for v in values)

    curve = b"curv\0\0\0\0" + struct.pack(">IH", 1, round(gamma * 256)) + b"\0\0"
    name = b"desc\0\0\0\0" + struct.pack(">I", 5) + b"wide\0" + bytes(79)
    parts = {b"desc": name, b"cprt": b"text\0\0\0\0none\0\0\0\0", b"wtpt": xyz([.9642, 1, .8249])}
    parts |= {tag: xyz(column) for tag, column in zip((b"rXYZ", b"gXYZ", b"bXYZ"), matrix.T)}
    parts |= {tag: curve for tag in (b"rTRC", b"gTRC", b"bTRC")}
    at, table, data = 132 + 12 * len(parts), b"", b""
    for tag, part in parts.items():
        part += bytes(-len(part) % 4)
        table += tag + struct.pack(">II", at + len(data), len(part))
        data += part
    head = struct.pack(">I4sI4s4s4s12s4s28s", at + len(data), b"\0\0\0\0", 0x02400000, b"mntr",
                       b"RGB ", b"XYZ ", bytes(12), b"acsp", bytes(28))
    head += b"".join(struct.pack(">i", round(v * 65536)) for v in (.9642, 1, .8249))
    return head.ljust(128, b"\0") + struct.pack(">I", len(parts)) + table + data


def in_srgb(colours):
    """Of Adobe RGB, uint8 [N, 3], the same in sRGB, by the book in float64."""
    linear = np.linalg.solve(SRGB, ADOBE @ (colours / 255.0).T ** GAMMA).T.clip(0, 1)
    return 255 * np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)


COLOURS = np.random.RandomState(0).randint(0, 256, (64, 3)).astype("uint8")


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "P"])
def test_colours_are_those_that_the_profile_says(mode):
    picture = Image.fromarray(COLOURS.reshape(8, 8, 3)).convert(mode, palette=Image.ADAPTIVE)
    before = np.asarray(picture.convert("RGB")).reshape(-1, 3)
    if mode == "RGBA":
        picture.putalpha(128)
    file = io.BytesIO()
    picture.save(file, "PNG", icc_profile=profile())
    found = upright(Image.open(file))
    assert found.mode == ("RGBA" if mode == "RGBA" else "RGB")
    assert mode != "RGBA" or (np.asarray(found)[..., 3] == 128).all()
    values = np.asarray(found.convert("RGB")).reshape(-1, 3)
    assert np.abs(values - in_srgb(before)).max() < 2 < np.abs(values - before.astype(int)).max()
    assert (np.asarray(upright(found)) == np.asarray(found)).all()      # once is enough


def test_a_profile_of_srgb_or_none_that_can_be_followed_changes_nothing(tmp_path):
    picture = Image.fromarray(COLOURS.reshape(8, 8, 3))
    for data in b"no profile", profile()[:200], os.urandom(3000), profile(SRGB)[:-1]:
        file = io.BytesIO()
        picture.save(file, "PNG", icc_profile=data)
        assert (np.asarray(upright(Image.open(file))) == np.asarray(picture)).all()
    from PIL import ImageCms
    picture.info["icc_profile"] = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    assert (np.asarray(upright(picture)) == np.asarray(picture)).all()


def test_pngs_of_a_picture_with_a_large_profile_are_small_and_can_be_read(tmp_path):
    os.makedirs(tmp_path / "photos")
    Image.new("CMYK", (40, 40), (0, 255, 255, 0)).save(
        tmp_path / "photos/a.jpg", icc_profile=os.urandom(1_800_000))
    command("resize.py", "photos", cwd=tmp_path)
    made = tmp_path / "photos/32" / target_name("a.jpg")
    assert made.stat().st_size < 2000 and "icc_profile" not in Image.open(made).info
    PictureFolder(str(tmp_path / "photos"), 32).check()


def test_grey_of_16_bits_and_fractions_are_as_bright_as_they_say():
    for values, most in ((np.arange(0, 65536, 257, "uint16").reshape(16, 16), 65535),
                         (np.linspace(0, 1, 256, dtype="float32").reshape(16, 16), 1),
                         (np.linspace(0, 255, 256, dtype="float32").reshape(16, 16), 255),
                         (np.arange(0, 16 * 65536, 4096, "int32").reshape(16, 16), 15 * 65536 +
                          15 * 4096)):
        found = np.asarray(upright(Image.fromarray(values)))
        assert found.shape == (16, 16, 3)
        assert np.abs(found[..., 0] - 255 * (values.astype("float64") / most)).max() <= 0.51


@pytest.mark.parametrize("depth, kind, colours, key", [
    (1, 0, [0, 1], 1), (2, 0, [0, 1, 2, 3], 2), (4, 0, [3, 7, 8, 15], 7), (8, 0, [9, 99], 99),
    (16, 0, [300, 60_000], 300), (16, 2, [(1, 2, 60_000), (5000, 6, 7)], (5000, 6, 7))])
def test_the_one_colour_of_a_png_that_is_transparent_is_so_at_any_depth(depth, kind, colours, key):
    """kind: 0 for grey, 2 for RGB; a pixel of each colour, in a row."""
    bits = "".join(f"{value:0{depth}b}" for value in np.ravel(colours))
    row = int(bits.ljust(-len(bits) % 8 + len(bits), "0"), 2).to_bytes(-(-len(bits) // 8), "big")

    def chunk(name, data):
        crc = zlib.crc32(name + data)
        return struct.pack(">I", len(data)) + name + data + struct.pack(">I", crc)

    file = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(
        ">IIBBBBB", len(colours), 1, depth, kind, 0, 0, 0)) + chunk(
        b"tRNS", struct.pack(f">{np.size(key)}H", *np.ravel(key))) + chunk(
        b"IDAT", zlib.compress(b"\0" + row)) + chunk(b"IEND", b"")
    found = upright(Image.open(io.BytesIO(file)))
    assert found.mode == "RGBA"
    assert np.ravel(found.getchannel("A")).tolist() == [255 * (colour != key) for colour in colours]


@pytest.mark.parametrize("channels", [1, 3])
def test_training_reads_a_size_folder_as_resize_makes_the_smaller_ones(tmp_path, channels):
    os.makedirs(tmp_path / "data/32")
    ramp = np.repeat(np.arange(32, dtype="uint8")[:, None] * 8, 32, 1)
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(ramp).convert("RGB").save(tmp_path / "data/32/turned.png", exif=exif)
    Image.fromarray(ramp.astype("uint16") * 257).save(tmp_path / "data/32/deep.png")
    Image.fromarray(ramp).convert("RGB").save(tmp_path / "data/32/wide.png", icc_profile=profile())
    command("resize.py", "data/32", cwd=tmp_path)
    for name in "turned", "deep", "wide":
        large, small = (load_batch([str(tmp_path / f"data/{size}/{name}.png")], [False], size,
                                   channels)[0][0].astype(int) for size in (32, 16))
        assert np.abs(large.reshape(channels, 16, 2, 16, 2).mean((2, 4)) - small).max() <= 4, name
    turned = load_batch([str(tmp_path / "data/32/turned.png")], [False], 32, channels)[0][0]
    assert (turned[:, 5, :20] > turned[:, 5, 12:]).all()       # bright at the left now


def test_of_four_channels_colours_are_still_premultiplied():
    picture = Image.new("RGBA", (8, 8), (200, 100, 0, 128))
    assert (of_picture(picture, 4)[:, 0, 0] == [100, 50, 0, 128]).all()


@pytest.mark.filterwarnings("ignore:Corrupt EXIF")
@pytest.mark.parametrize("exif", [b"Exif\0\0II*\0\x08\0\0\0\xff\xff\x12\x01", b"Exif\0\0MM\0",
                                  b"Exif\0\0", b"Exif\0\0II*\0\xff\xff\xff\xff", b"\xff" * 40])
def test_a_damaged_exif_costs_its_turn_and_not_the_picture(tmp_path, exif):
    picture = Image.fromarray(COLOURS.reshape(8, 8, 3))
    for name, options in (("a.png", {}), ("a.webp", {"lossless": True})):
        picture.save(tmp_path / name, exif=exif, **options)
        (found,), bad = load_batch([str(tmp_path / name)], [False], 8, 3)
        assert not bad and (found.transpose(1, 2, 0) == np.asarray(picture)).all()
