"""directions.py and generate.py --direction: what is found, kept, and gone along."""
import os
import shlex

import numpy as np
import pytest
from conftest import ROOT, command
from PIL import Image

import generate
from backend import jt
from backend.errors import UserError
from directions import with_own_names
from model import StyledGenerator
from networks.config import ModelConfig
from pictures import directions, styles_file
from pictures.flags import is_way, parse_arguments
from pictures.painter import Painter
from pictures.search import Search
from weights import snapshot

DEMO = os.path.join(ROOT, "test/golden/demo.model")         # 32×32: eight layers


@pytest.fixture(scope="module")
def header():
    return snapshot.load_any(DEMO)[0]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """Folder with what directions.py wrote of the demo's generator, and what it printed."""
    folder = tmp_path_factory.mktemp("directions")
    _, said, _ = command("directions.py", DEMO, "--count", 2, "--with", "0-4", "--without", "5-9",
                         "--name", "mine", "--out", ".", cwd=folder)
    return folder, said


def test_principal_components_are_those_of_the_definition():
    w = np.random.RandomState(0).randn(500, 6) * [1, 5, 2, 0.1, 3, 1] + 7
    components = directions.principal_components(w)
    assert np.allclose(components @ components.T, np.eye(6))
    variances = ((w - w.mean(0)) @ components.T).var(0)
    wanted = np.linalg.svd(w - w.mean(0), compute_uv=False) ** 2 / len(w)
    assert np.allclose(variances, wanted) and (np.diff(variances) < 0).all()


def test_factorised_directions_change_what_layers_give_most_each_output_alike():
    rng = np.random.RandomState(0)
    weights = [rng.randn(8, 5) * [[100.0]] * 8, rng.randn(6, 5)]
    found = directions.factorised(weights)
    rows = np.concatenate([w / np.linalg.norm(w, axis=1, keepdims=True) for w in weights])
    strength = np.linalg.norm(rows @ found.T, axis=0)
    assert np.allclose(strength, np.linalg.svd(rows, compute_uv=False))
    others = rng.randn(5, 1000)
    assert (np.linalg.norm(rows @ (others / np.linalg.norm(others, axis=0)), axis=0)
            <= strength[0]).all()


def test_two_groups_are_told_apart_along_what_makes_them_different():
    rng = np.random.RandomState(0)
    w = rng.randn(4000, 16) * np.linspace(2, 0.5, 16)
    wanted = directions.unit(rng.randn(16))
    has = w @ wanted > 0.7
    vector = directions.between_groups(w[:2000], has[:2000], np.cov(w.T))
    plain = directions.unit(w[:2000][has[:2000]].mean(0) - w[:2000][~has[:2000]].mean(0))
    assert vector @ wanted > 0.95 > plain @ wanted
    assert directions.accuracy(w[2000:], has[2000:], vector) > 0.9
    by_chance = rng.rand(4000) < 0.3
    vector = directions.between_groups(w[:2000], by_chance[:2000], np.cov(w.T))
    assert abs(directions.accuracy(w[2000:], by_chance[2000:], vector) - 0.5) < 0.04


@pytest.mark.parametrize("arch", ["stylegan1", "stylegan2"])
def test_each_style_weight_is_that_of_its_layer(arch):
    """Without it, and toRGB's, the style of that layer changes nothing."""
    jt.set_global_seed(0)
    generator = StyledGenerator(ModelConfig(arch=arch, size=16, latent=8, fmap_max=8))
    parameters = dict(generator.named_parameters())
    if arch == "stylegan2":
        for name, p in parameters.items():
            if "to_rgb" in name and "style.weight" in name:
                p.assign(np.zeros(p.shape, "float32"))
    styles = np.random.RandomState(0).randn(1, 6, 8).astype("float32")

    def effect(layer):
        other = styles.copy()
        other[:, layer] += 1
        with jt.no_grad():
            one, two = (generator.synthesis(jt.array(s), None, 16).numpy() for s in (styles, other))
        return np.abs(one - two).max()

    weights = directions.style_weights(generator)
    assert sorted(weights) == ([0, 1, 2, 3, 4, 5] if arch == "stylegan1" else [0, 1, 2, 3, 4])
    for layer, weight in weights.items():
        name = next(name for name, p in parameters.items() if "style.weight" in name and
                    p.shape == list(weight.shape) and (p.numpy() == weight).all())
        before = parameters[name].numpy().copy()
        assert effect(layer) > 1e-4
        parameters[name].assign(np.zeros_like(before))
        assert effect(layer) == 0
        parameters[name].assign(before)


def test_an_attribute_that_pictures_have_is_told_and_made():
    """Of the demo's symbols: whether there is more red in them than green."""
    class Parts:
        attributes = {"more of": ["green", "red"]}

        def look(self, pixels):
            means = pixels.mean((2, 3))
            return None, (means[:, :1] > means[:, 1:2]).astype(int), None

    jt.set_global_seed(0)
    painter = Painter(*snapshot.load_any(DEMO), DEMO, 0.7)
    some = {one.name: (one, what) for one, what in
            Search(painter, 1, 0, samples=1000).attributes(Parts())}
    assert set(some) == {"more_of=green", "more_of=red"}
    one, what = some["more_of=red"]
    told, have, after = (int(text.rpartition(" ")[2]) for text in what.split("%")[:1] +
                         what.split("%)")[1].split("%")[:2])
    assert told > 80 and after > 90 > have
    assert np.allclose(one.vector, -some["more_of=green"][0].vector, atol=1e-4)


def test_directions_of_each_kind_are_written_and_shown(found, header):
    folder, said = found
    assert "8 directions of kind sefa" in said and "of 10 marked seeds right" in said
    typed = shlex.split(said.rpartition("type: python ")[2])        # as it stands there
    command(*typed, "--n_row", 1, "--out", "typed", cwd=folder)
    assert (folder / "typed/direction_mine.png").exists()
    names = ["pca1", "pca2", "mine"] + [f"sefa_{level}{i}" for i in (1, 2)
                                        for level in ("all", "coarse", "middle", "fine")]
    for name in names:
        one = directions.load(f"{folder}/directions.npz:{name}", header)
        assert abs(np.linalg.norm(one.vector) - 1) < 1e-5 and one.sigma > 0
        assert one.layers.sum() == (len(one.layers) if "_" not in name or "all" in name else
                                    {"coarse": 3, "middle": 3, "fine": 2}[name[5:-1]])
    changes = [float(line.split("by ")[1].split()[0]) for line in said.splitlines() if "pca" in
               line and "changes" in line]
    assert changes == sorted(changes)[::-1] and len(changes) == 2
    with Image.open(folder / "directions_sefa.png") as picture:
        assert picture.height == 8 * 66 - 2 and picture.width > 7 * 66


def test_a_direction_moves_what_is_painted_by_its_sigma(found, header, tmp_path):
    folder, _ = found
    one = f"{folder}/directions.npz:pca2"
    for name, flags in {"there": [], "moved": ["--direction", one, "--amount", 2]}.items():
        command("generate.py", DEMO, "--seeds", "0-3", "--w", f"{name}.npz", "--out", name, *flags,
                cwd=tmp_path)
    there, moved = (styles_file.load(str(tmp_path / f"{name}.npz"), header)["w"]
                    for name in ("there", "moved"))
    direction = directions.load(one, header)
    assert np.allclose(moved - there, 2 * direction.sigma * direction.vector, atol=1e-5)
    command("generate.py", DEMO, "--w", "there.npz", "--direction", one, "--amount", 2, "--out",
            "again", cwd=tmp_path)
    for i in range(4):
        a, b, still = (np.asarray(Image.open(tmp_path / path)).astype(int) for path in (
            f"moved/seed00000{i}.png", f"again/w00000{i}.png", f"there/seed00000{i}.png"))
        assert np.abs(a - b).max() <= 1 < np.abs(a - still).max()


def test_the_way_is_a_row_for_each_seed_and_a_film_there_and_back(found, tmp_path):
    folder, _ = found
    one = f"{folder}/directions.npz:sefa_fine1"
    way = ["generate.py", DEMO, "--direction", one, "--seeds", "3,5", "--out", "."]
    command(*way, "--n_col", 7, "--amount", "-3,3", cwd=tmp_path)
    command("generate.py", DEMO, "--seeds", "3,5", "--out", ".", cwd=tmp_path)
    figure = np.asarray(Image.open(tmp_path / "direction_sefa_fine1.png"))
    assert figure.shape == (2 * 66 - 2, 7 * 66 - 2, 3)
    for row, seed in enumerate((3, 5)):
        middle = figure[66 * row:66 * row + 64:2, 3 * 66:3 * 66 + 64:2].astype(int)
        assert np.abs(middle - np.asarray(Image.open(tmp_path / f"seed00000{seed}.png"))).max() <= 1
    code, _, said = command(*way, "--n_col", 5, cwd=tmp_path, check=False)
    assert code == 2 and "made with --n_col 7" in said
    command("generate.py", DEMO, "--direction", one, "--film", "gif", "--frames", 3, "--n_row", 1,
            "--n_col", 2, "--out", ".", cwd=tmp_path)
    with Image.open(tmp_path / "direction_sefa_fine1.gif") as film:
        assert film.n_frames == 6
        frames = []
        for i in range(6):
            film.seek(i)
            frames.append(np.asarray(film.convert("RGB")).astype(int))
    assert np.abs(frames[1] - frames[5]).mean() < 2 < np.abs(frames[0] - frames[3]).mean()


@pytest.mark.parametrize("flags, wanted", [
    (["--direction", "no.npz:a"], "no.npz: No such file"),
    (["--direction", "directions.npz"], "wanted FILE.npz:NAME"),
    (["--direction", "directions.npz:pca9"], "no direction pca9, wanted one of 11 such as"),
    (["--direction", "text.npz:pca1"], "text.npz: damaged, or not a .npz"),
    (["--direction", "object.npz:a"], "no array of plain numbers"),
    (["--direction", "other.npz:pca1"], "type directions.py with this checkpoint"),
    (["--amount", "2"], "--amount is how far to go along --direction"),
    (["--direction", "directions.npz:pca1", "--amount", "1,2,3"], "one or two numbers"),
    (["--direction", "directions.npz:pca1", "--amount", "nan"], "one or two numbers"),
    (["--direction", "directions.npz:pca1", "--figures", "noise"], "type one number"),
    (["--direction", "directions.npz:pca1", "--amount", "1", "--w", "w.npz", "--film", "gif"],
     "--film and --w: each writes something else"),
    (["--direction", "directions.npz:pca1", "--seeds", "0-99999"], "name fewer seeds or styles"),
])
def test_a_wrong_direction_is_one_line(found, tmp_path, flags, wanted):
    folder, _ = found
    os.symlink(folder / "directions.npz", tmp_path / "directions.npz")
    (tmp_path / "text.npz").write_text("hello")
    np.savez(tmp_path / "object.npz", **{"a.vector": np.array([{}]), "a.sigma": 1, "a.layers": 1})
    np.savez(tmp_path / "other.npz", **{"pca1.vector": np.ones(3), "pca1.sigma": np.float32(1),
                                        "pca1.layers": np.ones(4, bool)})
    code, _, said = command("generate.py", DEMO, *flags, cwd=tmp_path, check=False)
    assert code == 2 and said.count("\n") == 1 and wanted in said


def test_other_directions_never_take_the_place_of_these(found):
    folder, _ = found
    before = (folder / "directions.npz").read_bytes()
    code, _, said = command("directions.py", DEMO, "--count", 3, "--out", ".", cwd=folder,
                            check=False)
    assert code == 2 and "directions.npz exists, made with --count 2" in said
    assert (folder / "directions.npz").read_bytes() == before
    for flags, wanted in ((["--with", "0,1"], "belong together"),
                          (["--with", "0,1", "--without", "1,2"], "seed 1 is in both"),
                          (["--with", "0,0", "--without", "1,2"], "two or more of each"),
                          (["--with", "0-999", "--without", "1000,2000"], "up to 1,000 in all"),
                          (["--with", "0,1", "--without", "2,3", "--name", "pca1"],
                           "which others are called"),
                          (["--name", "hat"], "--name is of --with"),
                          (["--with", "0,1", "--without", "2,3", "--name", "a/b"], "--name: found"),
                          (["--count", "0"], "--count: found 0")):
        code, _, said = command("directions.py", DEMO, *flags, "--out", ".", cwd=folder,
                                check=False)
        assert code == 2 and said.count("\n") == 1 and wanted in said
    with pytest.raises(UserError, match="No such file"):
        directions.load("nowhere.npz:a", snapshot.load(DEMO)[0])


def test_one_amount_is_no_way_and_needs_no_more_room():
    """A thousand pictures of their own, and a film through them, are not one large file."""
    args = parse_arguments(["x.model", "--direction", "a.npz:b", "--amount", "-2",
                            "--seeds", "0-999"], "")
    args.figures = ()
    generate.check_extent(args, 1024, 0, None)
    args = parse_arguments(["x.model", "--direction", "a.npz:b", "--film", "gif",
                            "--seeds", "0-4"], "")
    args.figures = ()
    assert is_way(args)
    generate.check_extent(args, 1024, 0, None)
    with pytest.raises(UserError, match="5,000 pictures"):
        generate.check_extent(args, 1024, 0, {"w": np.zeros((5000, 1, 1))})


def test_no_two_directions_are_of_one_name():
    one = directions.Direction("a=x_y", np.ones(2), 1.0, np.ones(4, bool))
    found = with_own_names({"marked": [(one, "")], "attributes": [(one, ""), (one, "")]})
    assert [[there.name for there, _ in some] for some in found.values()] == [
        ["a=x_y"], ["a=x_y_2", "a=x_y_3"]]
