"""attributes.py and --features: a network that sees parts, and what it says of damaged pictures."""
import csv
import json
import os
import re
from types import SimpleNamespace

import numpy as np
import pytest
from conftest import ROOT, command
from PIL import Image
from random_model import save_random

from backend.errors import UserError
from backend.labels import Labels
from bench.damage import damaged
from dataset import PictureFolder, read_labels
from measures import attributes, evaluate, feature_metrics
from networks.config import ModelConfig
from training import attributes as lessons
from training import settings

pytest.importorskip("robohash")


@pytest.fixture(scope="module")
def cats(tmp_path_factory):
    """(folder, output): 1,200 cats of 32×32, and a network that has seen 1,080 of them."""
    root = tmp_path_factory.mktemp("cats")
    command("avatars.py", root / "32", "--count", 1200, cwd=root)
    _, output, _ = command("attributes.py", "32", "--epochs", 10, "--device", "cpu", cwd=root)
    return root, output


@pytest.fixture(scope="module")
def seen(cats):
    """(the network, the pictures [1200, 3, 32, 32])."""
    pictures = np.stack([np.asarray(Image.open(cats[0] / "32" / f"{i:06d}.png")).transpose(2, 0, 1)
                         for i in range(1200)])
    return attributes.Attributes(str(cats[0] / "attributes32.npz")), pictures


def test_it_sees_the_parts_of_pictures_that_it_was_not_shown(cats, seen):
    shares = {name: float(share) for name, share in re.findall(r"(\w+) ([\d.]+)% of", cats[1])}
    assert shares["body"] > 90 and shares["accessory"] > 60
    network, pictures = seen
    with open(cats[0] / "32/attributes.csv") as file:
        rows = list(csv.DictReader(file))[::10]                 # those that were held out
    values = network.look(pictures[::10])[1]
    for i, (name, names) in enumerate(network.attributes.items()):
        right = np.mean([names[v] == row[name] for v, row in zip(values[:, i], rows)])
        assert abs(100 * right - shares[name]) < 0.06


def test_the_same_seed_gives_the_same_network(cats, tmp_path):
    out = tmp_path / "again.npz"
    command("attributes.py", cats[0] / "32", "--epochs", 10, "--device", "cpu", "--out", out,
            cwd=tmp_path)
    first, second = (attributes.load(str(path)) for path in (cats[0] / "attributes32.npz", out))
    assert first[0] == second[0]
    assert all((first[1][name] == second[1][name]).all() for name in first[1])


def distances_and_whole(network, pictures, real, way):
    """Of pictures more and more of which are damaged: two lists."""
    found = [network.look(damaged(pictures, way, share)) for share in (0, 0.2, 0.5, 1)]
    return ([feature_metrics.frechet_distance(real, one[0]) for one in found],
            [one[2].mean() for one in found])


@pytest.fixture(scope="module")
def unseen(tmp_path_factory):
    """800 cats of 64×64 that the network of docs/runs/recipe has not seen, and what it says of the
    first half."""
    root = tmp_path_factory.mktemp("unseen")
    command("avatars.py", root / "64", "--count", 800, "--seed", 1, cwd=root)
    network = attributes.Attributes(os.path.join(ROOT, "docs/runs/recipe/attributes64.npz"))
    pictures = np.stack([np.asarray(Image.open(root / "64" / f"{i:06d}.png")).transpose(2, 0, 1)
                         for i in range(800)])
    return network, pictures[400:], network.look(pictures[:400])[0]


@pytest.mark.parametrize("way", lessons.DAMAGES, ids=lambda way: way.__name__)
def test_more_damage_is_a_larger_distance_and_fewer_whole_pictures(unseen, way):
    distances, whole = distances_and_whole(*unseen, way)
    assert distances == sorted(distances)
    assert distances[1] > 1.1 * distances[0] and distances[-1] > 2 * distances[0]
    assert whole == sorted(whole, reverse=True) and whole[1] < whole[0] - 0.03 > 0.9


@pytest.mark.parametrize("way", lessons.DAMAGES, ids=lambda way: way.__name__)
def test_a_network_that_was_just_trained_sees_damage_too(seen, way):
    network, pictures = seen
    distances, whole = distances_and_whole(network, pictures[600:],
                                           network.look(pictures[:600])[0], way)
    # Processors round otherwise and so train other networks: one finds a little noise 0.5 % nearer.
    assert distances[1] > 0.99 * distances[0] and distances[1:] == sorted(distances[1:])
    assert distances[2] > 1.1 * distances[0] and distances[-1] > 1.5 * distances[0]
    assert whole == sorted(whole, reverse=True) and whole[-1] < whole[0] - 0.03 > 0.9


def test_missing_parts_and_repeated_pictures_are_seen(seen):
    network, pictures = seen
    real, _, _ = network.look(pictures[:600])
    looked = network.look(pictures)
    features, values = looked[0][600:], looked[1][600:]
    half = values[:, 0] < np.median(values[:, 0])               # some bodies only
    few = np.arange(600) % 20
    all_there, dropped, repeated = (
        attributes.coverage(looked[1][:600], some, network.attributes)
        for some in (values, values[half], values[few]))
    assert all_there[0] > 0.95 and dropped[0] < all_there[0] and dropped[1] > all_there[1]
    assert repeated[0] < all_there[0] and repeated[1] > all_there[1]
    distances = [feature_metrics.frechet_distance(real, some)
                 for some in (features, features[half], features[few])]
    assert distances[0] == min(distances)
    recall = [feature_metrics.precision_recall(real, some)[1] for some in (features, features[few])]
    assert recall[1] < 0.7 * recall[0]


def test_pictures_of_other_sizes_are_brought_to_its_own(seen):
    network, pictures = seen
    large = pictures[:8].repeat(2, 2).repeat(2, 3)
    a, b = network.look(pictures[:8]), network.look(large)
    assert np.allclose(a[0], b[0], atol=1e-4) and (a[1] == b[1]).all()
    small = pictures[:8].reshape(8, 3, 16, 2, 16, 2).mean((3, 5)).astype("uint8")
    assert network.look(small)[0].shape == a[0].shape
    with pytest.raises(UserError, match="3 channels, found 4"):
        network.look(pictures[:8, [0, 1, 2, 0]])


@pytest.mark.parametrize("content, wanted", [
    (b"", "not a file that python attributes.py"), (b"PK\3\4 and more", "not a file"),
    (None, "No such file")])
def test_other_files_are_one_line(tmp_path, content, wanted):
    path = tmp_path / "x.npz"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=wanted):
        attributes.load(str(path))


@pytest.mark.parametrize("text, wanted", [
    (None, "no attributes.csv"), ("name,a\n", "file,ATTRIBUTE"), ("file,a\n000000.png,1\n", "1 p"),
    ("file,a\n" + "".join(f"{i:06d}.png,1\n" for i in range(300)), "two values")])
def test_a_table_that_cannot_be_learned_from_is_one_line(tmp_path, text, wanted):
    os.makedirs(tmp_path / "16")
    for i in range(300):
        Image.new("RGB", (16, 16), (i % 256, 0, 0)).save(tmp_path / f"16/{i:06d}.png")
    if text is not None:
        (tmp_path / "attributes.csv").write_text("not this one")
        (tmp_path / "16/attributes.csv").write_text(text)
    code, _, error = command("attributes.py", tmp_path / "16", "--device", "cpu", cwd=tmp_path,
                             check=False)
    assert code == 2 and error.count("\n") == 1 and wanted in error


def test_nothing_is_written_over_and_labels_come_from_sizes_alone(cats, tmp_path):
    before = (cats[0] / "attributes32.npz").read_bytes()
    for flags, wanted in (([], "exists"), (["--out", "thesis.txt"], "ends in .npz")):
        code, _, error = command("attributes.py", cats[0] / "32", *flags, "--device", "cpu",
                                 cwd=tmp_path, check=False)
        assert code == 2 and error.count("\n") == 1 and wanted in error
    assert (cats[0] / "attributes32.npz").read_bytes() == before
    os.makedirs(tmp_path / "old/16")
    Image.new("RGB", (16, 16)).save(tmp_path / "old/16/000000.png")
    os.makedirs(tmp_path / "old/robots")
    (tmp_path / "old/robots/attributes.csv").write_text("file,a\n000000.png,1\n")
    code, _, error = command("attributes.py", tmp_path / "old/16", cwd=tmp_path, check=False)
    assert code == 2 and "no attributes.csv" in error


def test_features_that_are_not_asked_for_are_told(cats, tmp_path):
    for line in (["train.py", cats[0], "--dry_run"], ["metrics.py", "x.model", cats[0],
                                                      "--metrics", "swd"]):
        code, _, error = command(*line, "--features", "x.npz", cwd=tmp_path, check=False)
        assert code == 2 and error.count("\n") == 1 and "parts is not among" in error


def test_a_run_with_features_goes_on_with_other_metrics():
    saved = settings.OFFICIAL | dict(data="d", name="d", max_size=8, metrics="parts",
                                     features="x.npz", batch="8")
    assert settings.resumed_run({"name": "d", "metrics": "swd"}, saved)["metrics"] == "swd"
    with pytest.raises(UserError, match="parts is not among"):
        settings.resumed_run({"name": "d", "metrics": "swd", "features": "y.npz"}, saved)


def test_a_network_that_learned_little_is_doubted_wherever_it_is_used(cats, tmp_path, capsys):
    header, arrays = attributes.load(os.path.join(cats[0], "attributes32.npz"))
    little = {way: 0.1 for way in header["damaged found"]}
    attributes.save(str(tmp_path / "little.npz"), header | {"damaged found": little}, arrays)
    for path, doubted in ((os.path.join(cats[0], "attributes32.npz"), False),
                          (str(tmp_path / "little.npz"), True)):
        evaluate.load_networks({"parts"}, None, None, path)
        assert ("finds 10% of damaged pictures" in capsys.readouterr().err) == doubted


def test_a_table_above_the_sizes_serves_them_all(cats, tmp_path):
    os.makedirs(tmp_path / "32")
    os.symlink(cats[0] / "32" / "attributes.csv", tmp_path / "attributes.csv")
    for number in range(400):
        os.symlink(cats[0] / "32" / f"{number:06d}.png", tmp_path / "32" / f"{number:06d}.png")
    table, source = attributes.read_table(PictureFolder(str(tmp_path), 32))
    assert len(table[0]) == 400
    assert source == f"{tmp_path}/attributes.csv, 1,200 lines for 400 of 400 pictures"


def test_the_labels_of_sub_folders_are_learned_from_a_folder_and_an_archive(tmp_path):
    rng = np.random.default_rng(0)
    for kind, colour in ("red", (250, 0, 0)), ("blue", (0, 0, 250)):
        os.makedirs(tmp_path / "photos" / kind)
        for i in range(150):
            noise = rng.integers(0, 6, (16, 16, 3))
            Image.fromarray((noise + abs(np.array(colour) - 5)).astype("uint8")).save(
                tmp_path / f"photos/{kind}/{i:03}.png")
    save_random(tmp_path / "x.model", ModelConfig(size=16, latent=8, fmap_max=8, labels=2),
                classes=["blue", "red"])
    found = []
    for data, flags, made in ("photos", [], "photos/attributes16.npz"), \
            ("packed.zip", ["--zip", "packed.zip"], "packed_attributes16.npz"):
        command("resize.py", "photos", "--min_size", 8, *flags, cwd=tmp_path)
        _, output, _ = command("attributes.py", f"{data}/16", "--epochs", 2, "--device", "cpu",
                               cwd=tmp_path)
        assert f"{data}/dataset.json, 2 classes of 300 pictures" in output
        assert "label 100.0% of 2" in output
        header, arrays = attributes.load(str(tmp_path / made))
        assert header["attributes"] == {"label": ["blue", "red"]}
        found.append(arrays)
        # A table that tells of none of these pictures does not stand in the way.
        (tmp_path / "photos/attributes.csv").write_text("file,size\nelsewhere.png,7\n")
        _, output, _ = command("metrics.py", "x.model", data, "--metrics", "parts", "--images",
                               64, "--features", made, "--device", "cpu", cwd=tmp_path)
        assert re.search(r"show their label, label +[\d.]+ +.*the real ones: 1\.0000", output)
    assert all((found[0][name] == found[1][name]).all() for name in found[0])
    table, _ = attributes.read_table(PictureFolder(str(tmp_path / "photos"), 16))
    assert table[1] == {"label": ["blue", "red"]}
    header["attributes"] = {"label": ["blue", "green"]}
    attributes.save(str(tmp_path / "others.npz"), header, arrays)
    _, output, error = command("metrics.py", "x.model", "photos", "--metrics", "parts", "--images",
                               64, "--features", "others.npz", "--device", "cpu", cwd=tmp_path)
    assert "show their" not in output and "other things than the classes of photos" in error
    for line, wanted in ((["attributes.py", "packed.zip/64"], "FOLDER --max_size 64 --zip"),
                         (["attributes.py", "packed.zip"], "such as packed.zip/16"),
                         (["train.py", "packed.zip/16", "--dry_run"], "type packed.zip\n")):
        code, _, error = command(*line, cwd=tmp_path, check=False)
        assert code == 2 and error.count("\n") == 1 and wanted in error


def test_a_table_of_other_pictures_hides_none_that_tells_of_these_nor_classes_without_any(tmp_path):
    for i in range(200):
        os.makedirs(tmp_path / "16", exist_ok=True)
        (tmp_path / f"16/{i}.png").write_bytes(b"")
    folder = PictureFolder(str(tmp_path), 16)
    (tmp_path / "16/attributes.csv").write_text("file,hat\nelsewhere.png,7\n")
    with pytest.raises(UserError, match="tells of 0 pictures.*and no .*dataset.json, which says"):
        attributes.read_table(folder)
    labels = [[f"{i}.png", i % 2 * 2] for i in range(200)]
    (tmp_path / "dataset.json").write_text(json.dumps({"labels": labels}))
    (names, found, columns), source = attributes.read_table(folder)
    assert found == {"label": ["0", "1", "2"]} and source.endswith("3 classes of 200 pictures")
    assert [*zip(names, columns[:, 0])] == sorted(map(tuple, labels))
    assert evaluate.attribute_of(read_labels(str(tmp_path)), SimpleNamespace(attributes=found))
    (tmp_path / "attributes.csv").write_text("file,hat\n" + "".join(
        f"{i}.png,{i % 3}\n" for i in range(200)))
    assert attributes.read_table(folder)[0][1] == {"hat": ["0", "1", "2"]}


@pytest.mark.parametrize("labels, parts, wanted", [
    (Labels({}, ["cap", "none"], "a.csv:hat"), {"fur": ["x", "y"], "hat": ["none", "cap"]},
     ("hat", 1, [1, 0])),
    (Labels({}, ["cap", "none"], "a.csv:hat"), {"label": ["none", "cap"]}, ("label", 0, [1, 0])),
    (Labels({"a.png": 2}, []), {"label": ["2", "1", "0"]}, ("label", 0, [2, 1, 0])),
    (Labels({"a.png": 1}, []), {"label": ["0", "1", "2"]}, None),
    (Labels({}, ["cap", "bow"]), {"label": ["none", "cap"]}, None), (None, {"label": ["a"]}, None)])
def test_labels_are_recognized_by_their_column_or_as_labels(labels, parts, wanted):
    found = evaluate.attribute_of(labels, SimpleNamespace(attributes=parts))
    assert (found and (*found[:2], list(found[2]))) == wanted


def test_grey_pictures_are_seen_as_their_equals_of_three_channels(seen):
    network, pictures = seen
    grey = pictures[:8, 1:2]
    alone, equal = network.look(grey), network.look(np.repeat(grey, 3, 1))
    assert all((one == other).all() for one, other in zip(alone, equal))


def test_the_table_of_damages_wants_enough_pictures(cats):
    for line, wanted in ((["32", "x.npz", "--images", 601], "50 to half of the 1,200"),
                         (["cats", "x.npz"], "folder of one size"),
                         (["32", "x.npz", "--shares", "2"], "shares from 0 to 1")):
        code, _, error = command("bench/damage.py", *line, cwd=cats[0], check=False)
        assert code == 2 and error.count("\n") == 1 and wanted in error
