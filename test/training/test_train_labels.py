"""Training with labels: who is shown what, what is saved, going on. The steps of StyleGAN1 are
compared with float64 in test_replay.py, the labelled networks with the official ones in
networks/test_stylegan2.py."""
import dataclasses
import json
import os
import shutil
import zipfile

import numpy as np
import pytest
from conftest import command
from small_runs import GROWING, TINY
from stylegan2_steps import made

from backend import jt
from dataset import Loader, PictureFolder, read_labels
from networks.config import ModelConfig
from pictures.painter import latents_of
from training.samples import grid_shape, real_files, row_classes
from weights import snapshot

CLASSES = ["digit", "letter", "sign"]


@pytest.fixture(scope="module")
def labelled(symbols, tmp_path_factory):
    """(folder, archive) of the symbols, with labels of three classes, of which one is more often
    than the others."""
    root = tmp_path_factory.mktemp("labelled") / "data"
    shutil.copytree(symbols, root)
    names = sorted(name for name in os.listdir(root / "8") if name.endswith(".png"))
    kinds = [[name, (0, 1, 2, 1, 1)[i % 5]] for i, name in enumerate(names)]
    text = json.dumps({"labels": kinds, "classes": CLASSES})
    (root / "dataset.json").write_text(text)
    packed = root.parent / "packed.zip"
    with zipfile.ZipFile(packed, "w") as archive:
        archive.writestr("dataset.json", text)
        for size in 8, 16, 32:
            for name in names:
                archive.write(root / str(size) / name, f"{size}/{name}")
    return str(root), str(packed)


def test_stylegan2_shows_each_picture_with_its_own_label(labelled):
    """In all four steps; fakes are drawn as often as the pictures have a class."""
    shares = np.array([0.5, 0.5, 0.0])
    training = made(labelled[0], grad_accum=2, labels=True, shares=shares)
    painted, asked = [], []
    mapping, D = training.G.mapping.execute, training.D.execute

    def mapping_watched(latent, labels):
        painted.append(labels.numpy())
        return mapping(latent, labels)

    def D_watched(images, alpha=1.0, labels=None):
        asked.append(labels.numpy())
        return D(images, alpha, labels)

    training.G.mapping.execute, training.D.execute = mapping_watched, D_watched
    phase = training.schedule.at(0)
    with Loader(labelled[0], workers=0, known=read_labels(labelled[0])) as loader:
        _, images, classes = next(loader.batches(16, phase.batch, 0,
                                                 training.my_parts(phase.batch).ravel()))
    assert len({*classes}) == 3
    training.step(images, classes)
    real = np.split(np.eye(3)[classes], 2)
    for one, other in zip(painted[::2], painted[1::2]):     # mixed within a class
        assert (one == other).all()
    fakes = painted[::2]
    assert all((fake.sum(1) == 1).all() and not fake[:, 2].any() for fake in fakes)
    # G's parts; the path lengths' twice, of half the pictures, for one is kept; D's; R1's.
    main, paths, of_D = fakes[:2], fakes[2:-2], fakes[-2:]
    assert [len(labels) for labels in paths] == [4, 4, 4] and len(main[0]) == 8
    wanted = [*main, real[0], of_D[0], real[1], of_D[1], *real]
    assert len(asked) == len(wanted) and all((a == w).all() for a, w in zip(asked, wanted))


@pytest.mark.parametrize("arch", ["stylegan1", "stylegan2"])
def test_a_labelled_run_goes_on_bit_for_bit_from_folder_to_archive(labelled, tmp_path, arch):
    flags = GROWING if arch == "stylegan1" else [*TINY, "--arch", arch, "--max_size", 16]
    flags = [*flags, "--labels", "--kimg", 0.08, "--holdout", 0.2]
    for name, first, second in ("a", 0, 0), ("b", 0, 1):
        command("train.py", labelled[first], "--name", name, *flags, cwd=tmp_path)
        command("train.py", labelled[second], "--name", name, "--resume", "--kimg", 0.16,
                cwd=tmp_path)
    (header, one), (_, other) = (snapshot.load_any(
        str(tmp_path / f"checkpoint/{name}_000000160.model")) for name in "ab")
    assert all((other[name] == one[name]).all() for name in one)
    assert header["classes"] == CLASSES and header["model"]["labels"] == 3
    assert os.path.getsize(tmp_path / "sample/a/000000160.png")
    # Pictures by the name of a class, and numbers of each.
    model = "checkpoint/a_000000160.model"
    for label in "letter", "1":
        command("generate.py", model, "--label", label, "--seeds", 5, "--out", label, cwd=tmp_path)
    assert (tmp_path / "letter/seed000005.png").exists()
    code, _, error = command("generate.py", model, "--label", CLASSES[2], "--seeds", 5, "--out",
                             "letter", cwd=tmp_path, check=False)
    assert code == 2 and "made with --label letter (number " in error
    project = ["project.py", model, "letter/seed000005.png", "--steps", 2, "--out", "found"]
    command(*project, "--label", "letter", cwd=tmp_path)
    code, _, error = command(*project, "--label", "nothing", cwd=tmp_path, check=False)
    assert code == 2 and "--label nothing: wanted a number from 0 to 2" in error
    _, said, error = command("metrics.py", model, labelled[0], "--metrics", "swd", "--by_class",
                             cwd=tmp_path)
    assert [line for line in said.splitlines() if line.startswith("class ")] == [
        f"class {name}:" for name in CLASSES]
    counts = np.bincount(PictureFolder(labelled[0], 16, known=read_labels(labelled[0])).labels)
    assert all(f"   {count} pictures, seed 0" in said for count in (40, *counts))


def test_other_classes_than_at_the_beginning_are_refused(labelled, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(labelled[0], data)
    command("train.py", "data", *GROWING, "--labels", "--kimg", 0.016, cwd=tmp_path)
    text = (data / "dataset.json").read_text()
    for old, new in (('"digit"', '"number"'), (', "sign"]', ', "sign", "new"]')):
        (data / "dataset.json").write_text(text.replace(old, new))
        code, _, error = command("train.py", "data", "--resume", cwd=tmp_path, check=False)
        assert code == 2 and "other classes" in error and error.count("\n") == 1
    (data / "dataset.json").write_text(text.replace(', 2]', ', 0]'))
    _, _, error = command("train.py", "data", "--resume", "--kimg", 0.032, cwd=tmp_path)
    assert "has other labels than when" in error
    # A run with labels begins with weights that have as many; others refuse them.
    text = (data / "dataset.json").read_text()
    (data / "dataset.json").write_text(text.replace('"digit", "letter"', '"letter", "digit"'))
    code, _, error = command("train.py", "data", "--labels", "--init",
                             "checkpoint/data_resume.model", "--name", "y", cwd=tmp_path,
                             check=False)
    assert code == 2 and "in another order" in error and error.count("\n") == 1
    (data / "dataset.json").write_text(text)
    begin = "train.py", "data", "--init", "checkpoint/data_resume.model", "--max_size", 16
    for more, said in (([], "has labels: type --labels too"),
                       (["--labels", "--name", "x", "--kimg", 0.016], "")):
        code, _, error = command(*begin, "--name", "x", *more, cwd=tmp_path, check=False)
        assert (code, said in error) == (2 * bool(said), True)


def test_without_labels_in_the_data_there_is_one_line(symbols, tmp_path):
    code, _, error = command("train.py", symbols, "--labels", cwd=tmp_path, check=False)
    assert code == 2 and "dataset.json, which says of which class" in error
    assert error.count("\n") == 1


def test_the_grid_has_a_row_for_each_class(labelled):
    assert grid_shape(64, 3) == (16, 3) and grid_shape(64, 40) == grid_shape(64) == (16, 8)
    assert row_classes(3, 3).tolist() == [0, 1, 2] and not len(row_classes(0, 8))
    assert row_classes(40, 8).tolist() == [0, 5, 10, 15, 20, 25, 30, 35]
    folder = PictureFolder(labelled[0], 8, known=read_labels(labelled[0]))
    files = real_files(folder, 0, 48, row_classes(3, 3).repeat(16))
    numbers = dict(zip(folder.names, folder.labels))
    assert [numbers[os.path.basename(file)] for file in files] == [0] * 16 + [1] * 16 + [2] * 16
    assert len({*files[:16]}) == min(16, (folder.labels == 0).sum())


def test_latents_of_given_classes(symbols):
    config = dataclasses.replace(ModelConfig(size=8, latent=4), labels=3)
    found = latents_of(range(3), config, [2, 0, 1])
    assert (found[:, 4:] == np.eye(3)[[2, 0, 1]]).all()
    assert (found[:, :4] == latents_of(range(3), config)[:, :4]).all()
    assert jt.array(found).dtype == "float32"
