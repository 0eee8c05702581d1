"""Transparency on its way: pictures → resize.py --alpha → a run of four channels → PNGs."""
import glob
import itertools
import os
import shutil

import numpy as np
import pytest
from conftest import command
from PIL import Image, ImageDraw
from random_model import save_random
from small_runs import GROWING

from backend import pixels
from backend.errors import UserError
from dataset import Loader, PictureFolder
from networks.config import ModelConfig
from pictures import figures, grid
from pictures.painter import Painter
from pictures.projection import read_picture
from weights import snapshot

SIZE = 32


def icon(shade=0, hidden=(0, 255, 0)):
    """RGBA: a red disc, half of it half transparent, and green where nothing is seen."""
    picture = Image.new("RGBA", (SIZE, SIZE), (*hidden, 0))
    draw = ImageDraw.Draw(picture)
    draw.ellipse((4, 4, SIZE - 5, SIZE - 5), (250 - shade, 20, 30, 255))
    draw.rectangle((12, 12, 20, 20), (250 - shade, 20, 30, 128))
    return picture


@pytest.fixture(scope="module")
def icons(tmp_path_factory):
    """Folder with 8/, 16/ and 32/ of twenty transparent pictures, and the same in icons.zip."""
    root = tmp_path_factory.mktemp("icons")
    os.makedirs(root / "32")
    for i in range(20):
        icon(9 * i).save(root / f"32/{i:02}.png")
    command("resize.py", "32", "--alpha", cwd=root)
    command("resize.py", "32", "--alpha", "--zip", "icons.zip", cwd=root)
    return root


def premultiplied(picture):
    """float64 [H, W, 4], from 0 to 255."""
    found = np.asarray(picture).astype("float64")
    found[..., :3] *= found[..., 3:] / 255
    return found


def test_what_is_not_seen_has_no_say_in_the_smaller_sizes(icons):
    for size in 16, 8:
        found = Image.open(icons / f"{size}/00.png")
        assert found.mode == "RGBA"
        planes = np.rint(premultiplied(Image.open(icons / f"{2 * size}/00.png"))).astype("uint8")
        wanted = np.stack([np.asarray(Image.fromarray(plane).resize((size, size), Image.LANCZOS))
                           for plane in planes.transpose(2, 0, 1)], 2)
        wanted[..., :3] = np.minimum(wanted[..., :3], wanted[..., 3:])
        assert np.abs(premultiplied(found) - wanted).max() < 2
        seen = np.asarray(found)[np.asarray(found)[..., 3] > 60]
        assert seen[:, 1].max() < 40                            # no green at the borders


@pytest.mark.parametrize("workers", [0, 1])
def test_a_loader_gives_premultiplied_colours_and_alpha(icons, workers):
    with Loader(str(icons), channels=4, workers=workers) as loader:
        _, images, _ = next(loader.batches(32, 20, 0))
        files = loader.folder(32).files(range(20), 0)
    wanted = np.stack([premultiplied(Image.open(file)) for file in files]).transpose(0, 3, 1, 2)
    assert images.dtype == np.float32 and np.abs((images + 1) * 127.5 - wanted).max() <= 0.51
    assert (images[:, :3, 0, 0] == -1).all()                    # the green that is not seen


def test_folder_and_archive_are_the_same_and_of_fewer_channels_all_is_over_white(icons):
    for channels in 4, 3, 1:
        found = []
        for root in str(icons), str(icons / "icons.zip"):
            with Loader(root, channels=channels, workers=0) as loader:
                found += [x for _, x, _ in itertools.islice(loader.batches(16, 8, 0), 2)]
        assert (found[0] == found[2]).all() and (found[1] == found[3]).all()
        assert (found[0][:, :, 0, 0] == (-1 if channels == 4 else 1)).all()


def test_pictures_without_transparency_are_refused_with_what_to_type(symbols, icons, tmp_path):
    PictureFolder(str(icons), 8).check(4)
    with pytest.raises(UserError, match="no picture with transparent parts .of 40.*--alpha"):
        PictureFolder(symbols, 8).check(4)
    code, _, said = command("train.py", symbols, "--channels", 4, "--dry_run", cwd=tmp_path,
                            check=False)
    assert code == 2 and said.count("\n") == 1 and "resize.py FOLDER --alpha --force" in said


def test_flat_pictures_and_transparent_ones_are_never_mixed(tmp_path):
    os.makedirs(tmp_path / "photos")
    icon().save(tmp_path / "photos/a.png")
    for first, second, said in (([], ["--alpha"], "made without --alpha"),
                                (["--alpha", "--force"], [], "made with --alpha")):
        command("resize.py", "photos", "--max_size", 16, *first, cwd=tmp_path)
        icon(9).save(tmp_path / "photos/b.png")
        code, _, error = command("resize.py", "photos", "--max_size", 16, *second, cwd=tmp_path,
                                 check=False)
        assert code == 2 and f"photos/16: holds pictures {said}: type --force" in error
        assert not (tmp_path / "photos/16/b.png").exists() or "--force" in first


def test_one_damaged_picture_does_not_stop_a_run_of_four_channels(icons, tmp_path):
    shutil.copytree(icons / "16", tmp_path / "16")
    (tmp_path / "16/00.png").write_bytes((tmp_path / "16/00.png").read_bytes()[:80])
    PictureFolder(str(tmp_path), 16).check(4)


def test_resize_says_what_is_lost_and_pads_with_nothing(tmp_path):
    os.makedirs(tmp_path / "photos")
    icon().crop((0, 8, SIZE, 24)).save(tmp_path / "photos/wide.png")
    Image.new("RGB", (SIZE, SIZE), (9, 90, 9)).save(tmp_path / "photos/opaque.png")
    _, said, _ = command("resize.py", "photos", "--fit", "pad", "--max_size", 16, cwd=tmp_path)
    assert "1 transparent (over the background; --alpha keeps that), such as wide.png" in said
    assert Image.open(tmp_path / "photos/16/wide.png").mode == "RGB"
    _, said, _ = command("resize.py", "photos", "--fit", "pad", "--max_size", 16, "--alpha",
                         "--force", cwd=tmp_path)
    assert "--alpha keeps" not in said and "none of" not in said
    with Image.open(tmp_path / "photos/16/wide.png") as wide:
        assert wide.getpixel((8, 0))[3] == 0 and wide.getpixel((8, 8))[3] > 100
    with Image.open(tmp_path / "photos/16/opaque.png") as opaque:
        assert opaque.getchannel("A").getextrema() == (255, 255)
    (tmp_path / "photos/wide.png").unlink()
    _, said, _ = command("resize.py", "photos", "--max_size", 16, "--alpha", "--force",
                         cwd=tmp_path)
    assert "none of 1 picture has anything transparent in it" in said
    code, _, said = command("resize.py", "photos", "--alpha", "--background", "red", cwd=tmp_path,
                            check=False)
    assert code == 2 and "--background: nothing is behind" in said


def test_a_picture_by_itself_keeps_its_transparency_and_a_grid_shows_it():
    values = pixels.of_picture(icon(), 4).astype("float32")
    image = values / 127.5 - 1
    single = grid.single(image, 64)
    assert single.mode == "RGBA" and single.size == (64, 64)
    assert np.abs(premultiplied(single)[::2, ::2] - values.transpose(1, 2, 0)).max() <= 1
    shown = np.asarray(grid.make_grid(image[None], 1, gap=0)).astype(int)
    light, dark = (values[:3] + (255 - values[3]) * ground / 255.0 for ground in grid.SQUARES)
    near = [np.abs(shown.transpose(2, 0, 1) - one).max(0) <= 1 for one in (light, dark)]
    assert (near[0] | near[1]).all() and near[0][0, 0] and near[1][0, 4] and not near[0][0, 4]
    too_bright = np.full((1, 4, 2, 2), 0.5, "float32")          # colours above alpha
    too_bright[:, 3] = -0.5
    assert (grid.to_pixels(too_bright) == 64).all()


def test_the_figure_of_noise_is_opaque_where_it_shows_how_much_there_is(tmp_path):
    path = str(tmp_path / "x.model")
    save_random(path, ModelConfig(size=8, latent=8, fmap_max=4, channels=4))
    painter = Painter(*snapshot.load_any(path), path, 0.7)
    images = figures.noise_effect(painter, [1, 2]).reshape(2, -1, 4, 8, 8)
    assert (images[:, -1, 3] == 1).all() and (images[:, :-1, 3] < 1).any()
    assert images[:, -1, :3].max() == pytest.approx(1)


def test_a_run_of_four_channels_goes_on_exactly_and_paints_transparent_pictures(icons, tmp_path):
    run = ["train.py", icons, "--channels", 4, *GROWING, "--augment", "ada", "--augment_p", 0.3,
           "--keep", 0, "--save_kimg", 0.1]
    command(*run, "--name", "a", "--kimg", 0.24, "--metrics", "swd", "--metric_kimg", 0.2,
            "--metric_images", 16, cwd=tmp_path)
    command(*run, "--name", "b", "--kimg", 0.12, cwd=tmp_path)
    command("train.py", icons, "--name", "b", "--resume", "--kimg", 0.24, cwd=tmp_path)
    one, other = (sorted(glob.glob(str(tmp_path / f"checkpoint/{name}_0*.model")))
                  for name in "ab")
    there, again = (snapshot.load(files[-1])[1] for files in (one, other))
    assert there.keys() == again.keys() and len(there) > 20
    assert all((array == again[name]).all() for name, array in there.items())
    with Image.open(tmp_path / "sample/a/real.png") as picture:
        assert picture.mode == "RGB"                            # grids are over a checkerboard
    command("generate.py", one[-1], "--seeds", 0, "--out", "out", cwd=tmp_path)
    command("generate.py", one[-1], "--film", "gif", "--seeds", "0,1", "--frames", 2, "--out",
            "out", cwd=tmp_path)
    with Image.open(tmp_path / "out/seed000000.png") as picture:
        assert picture.mode == "RGBA" and picture.size == (16, 16)
    _, said, _ = command("metrics.py", one[-1], icons, "--metrics", "swd,ms_ssim", cwd=tmp_path)
    assert "SWD" in said and "MS-SSIM" in said
    command("project.py", one[-1], icons / "32/03.png", "--steps", 3, "--out", "out", cwd=tmp_path)
    wanted = premultiplied(Image.open(icons / "16/03.png")).transpose(2, 0, 1)
    target = read_picture(str(icons / "32/03.png"), 16, 4)
    assert np.abs((target + 1) * 127.5 - wanted).max() <= 2
    command("train.py", icons, "--channels", 4, *GROWING[:-4], "--arch", "stylegan2", "--kimg",
            0.016, "--name", "two", cwd=tmp_path)
    command("generate.py", "checkpoint/two_000000016.model", "--seeds", 0, "--out", "two",
            cwd=tmp_path)
    with Image.open(tmp_path / "two/seed000000.png") as picture:
        assert picture.mode == "RGBA"
