"""generate.py on networks with labels, and ways from one latent to another."""
import os

import numpy as np
import pytest
from PIL import Image
from random_model import cells, save_random

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
