"""generate.py on networks with labels, and ways from one latent to another."""
import os

import numpy as np
import pytest
from PIL import Image, ImageSequence
from random_model import cells, generating, save_random

import generate
from backend.errors import UserError
from networks.config import ModelConfig
from pictures.painter import Painter, between
from weights import snapshot


@pytest.mark.parametrize("config", [ModelConfig(size=16, labels=3, latent=16, fmap_max=16),
                                    ModelConfig(arch="stylegan2", size=16, labels=3, latent=16,
                                                fmap_max=16)], ids=lambda config: config.arch)
def test_a_label_chooses_what_is_painted(config, tmp_path, capsys):
    path, out = str(tmp_path / "l.model"), str(tmp_path / "out")
    save_random(path, config, classes=["cat", "dog", "1"])

    def paint(*flags):
        assert generate.main([path, "--out", out, "--overwrite", *flags]) == 0
        return {name: np.asarray(Image.open(os.path.join(out, name))) for name in os.listdir(out)}
    made = paint("--n_col", "4")
    rows = cells(made["classes.png"])
    assert rows.shape[:2] == (3, 4) and {"samples.png", "mixing_coarse.png"} < made.keys()
    for row, label in zip(rows, ("0", "dog", "2")):
        alone = paint("--seeds", "0-3", "--label", label)
        assert all((alone[f"seed00000{i}.png"] == row[i]).all() for i in range(4))
    assert (paint("--seeds", "0-3", "--label", "1")["seed000000.png"] == rows[2, 0]).all()  # a name
    assert len({row.tobytes() for row in rows}) == 3
    drawn = paint("--seeds", "0-3")                     # each seed has a class of its own
    classes = [next(k for k in range(3) if (drawn[f"seed00000{i}.png"] == rows[k, i]).all())
               for i in range(4)]
    assert len(set(classes)) > 1
    for space in "z", "w":                              # from one class to another
        assert generate.main([path, "--out", out, "--overwrite", "--seeds", "0-2", "--film", "gif",
                              "--frames", "2", "--space", space]) == 0
    for label, said in ("3", "a number from 0 to 2, or one of cat, dog, 1"), ("Cat", "wanted"):
        with pytest.raises(UserError, match=f"--label {label}: .*{said}"):
            generate.main([path, "--out", out, "--label", label])
    capsys.readouterr()


def test_of_several_labels_the_seeds_have_one_in_turn(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(generate, "at_once", lambda size: 3)
    config = ModelConfig(size=16, latent=16, fmap_max=16, labels=3)
    path = str(tmp_path / "l.model")
    save_random(path, config, classes=["cat", "dog", "cat,dog"])
    made, films = {}, {}

    def frames(made):
        with Image.open(*made.values()) as film:
            return [np.asarray(one.convert("RGB")) for one in ImageSequence.Iterator(film)]

    for label in "cat", "dog", "dog, cat", "cat,dog":
        make = generating(path, tmp_path / label, capsys)
        made[label] = make("--seeds", "2,4,6,8-10", "--label", label)
        made[label] |= make("--figures", "interpolation", "--n_row", 2, "--n_col", 3, "--seed", 3,
                            "--label", label)
        films[label] = [
            frames(make("--film", "gif", "--frames", 1, "--label", label, *flags))
            for flags in (["--n_row", 1, "--n_col", 2], ["--seeds", "2,4,6"])]
    for seed, label in ((2, "dog"), (4, "cat"), (6, "dog"), (8, "cat"), (9, "dog"), (10, "cat")):
        name = f"seed{seed:06d}.png"
        assert (made["dog, cat"][name] == made[label][name]).all()
        assert (made["cat,dog"][name] != made[label][name]).any()       # a class of that name
    way, cat, dog = (cells(made[label]["interpolation.png"])
                     for label in ("dog, cat", "cat", "dog"))
    assert (way[0, 0] == dog[0, 0]).all() and (way[0, 2] == cat[0, 2]).all()
    assert (way[1, 0] == cat[1, 0]).all() and (way[1, 2] == dog[1, 2]).all()
    for i in 0, 1:                          # of a film the stops, all cells of a grid at once
        assert [next(name for name in ("cat", "dog") if (films[name][i][k] == one).all())
                for k, one in enumerate(films["dog, cat"][i])] == ["dog", "cat", "dog"]
    with pytest.raises(UserError, match="--label bird: wanted"):
        make("--label", "cat,bird")
    make("--seeds", 3, "--label", "dog, cat")
    assert "note: --label: found 2 classes for 1 seed" in make.told


def test_a_seed_of_another_class_replaces_nothing_unasked(tmp_path):
    save_random(tmp_path / "l.model", ModelConfig(size=16, latent=16, fmap_max=16, labels=2))
    for flags in ["--out", str(tmp_path / "o")], ["--features", str(tmp_path / "f")]:
        flags = [str(tmp_path / "l.model"), "--label", "0,1", *flags]
        for _ in range(2):
            assert generate.main([*flags, "--seeds", "1,3"]) == 0
        with pytest.raises(UserError):
            generate.main([*flags, "--seeds", "3,5"])


def test_which_class_is_where_is_said(tmp_path, capsys):
    save_random(tmp_path / "l.model", ModelConfig(size=16, latent=16, fmap_max=16, labels=3),
                classes=["cat", "dog", "cow"])
    flags = [str(tmp_path / "l.model"), "--out", str(tmp_path), "--n_col", "2"]
    generate.main(flags)
    assert "rows of classes.png: cat (number 0), dog (number 1), cow (number 2)" in \
        capsys.readouterr().out
    rows = cells(np.asarray(Image.open(tmp_path / "classes.png")))
    generate.main([*flags, "--seeds", "0,1"])
    said = capsys.readouterr().out
    for seed in 0, 1:
        alone = np.asarray(Image.open(tmp_path / f"seed00000{seed}.png"))
        (number,) = (k for k in range(3) if (rows[k, seed] == alone).all())
        assert f"{seed} {['cat', 'dog', 'cow'][number]} (number {number})" in said


def test_a_label_for_a_network_without_any_is_refused(tmp_path):
    save_random(tmp_path / "x.model", ModelConfig(size=16, latent=16, fmap_max=16))
    for flags, said in (["--label", "0"], "network without labels"), \
            (["--figures", "classes"], "network without labels"):
        with pytest.raises(UserError, match=said):
            generate.main([str(tmp_path / "x.model"), *flags])


def test_where_classes_are_called_by_numbers_a_number_is_a_name():
    header = {"model": {"labels": 3}, "classes": ["1", "4", "12"]}
    assert snapshot.label_of("4", header, "x.model") == 1
    with pytest.raises(UserError, match="--label 2: wanted one of 1, 4, 12$"):
        snapshot.label_of("2", header, "x.model")
    header["classes"] = ["my cats", "\u732b", "\x1b[31m"]
    with pytest.raises(UserError, match=r"0 to 2, or one of 'my cats', '?\u732b'?, '\?"):
        snapshot.label_of("dog", header, "x.model")
    assert snapshot.class_name(0, header) == "'my cats' (number 0)"


@pytest.mark.parametrize("space", ["z", "w"])
@pytest.mark.parametrize("labels", [0, 3])
def test_a_way_begins_and_ends_at_the_styles_of_its_seeds(tmp_path, labels, space):
    config = ModelConfig(size=16, latent=16, fmap_max=16, labels=labels)
    save_random(tmp_path / "x.model", config)
    painter = Painter(*snapshot.load_any(str(tmp_path / "x.model")), "x.model", 1)
    ends = painter.latents([3, 7])
    ends[1, :16] *= 3           # of another length, which with a label beside it is another style
    styles = painter.styles_of(ends)
    way = between(painter, ends[:1], ends[1:], [0, 0.5, 1], space)
    assert np.allclose(way[[0, 2]], styles, atol=1e-4)
    middle = styles.mean(0)
    assert np.allclose(way[1], middle, atol=1e-4) == (space == "w")
