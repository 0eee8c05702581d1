"""convert.py and the ports' files, there and back; see also test_official.py, test_unpickle.py."""
import importlib.util
import os
import pickle
import re
import sys

import numpy as np
import pytest
import reference
import weight_files
from conftest import ROOT, command
from PIL import Image
from weight_files import PORT16, assert_equal, port_state, random_arrays, read_bytes

import convert
from backend.errors import UserError
from measures import attributes
from networks.config import PORT, ModelConfig
from networks.shapes import discriminator_shapes, generator_shapes
from weights import containers, foreign, port, snapshot

GOLDEN = os.path.join(ROOT, "test", "golden")
SMALL = ModelConfig(size=16, latent=8, mapping_layers=2, fmap_base=64, fmap_max=8)


# The PyTorch port and the Jittor port -------------------------------------------------------------


@pytest.mark.parametrize("name", ["port16_zip.pt", "port16_stream.pt", "port16_jittor.model"])
def test_files_that_pytorch_and_jittor_wrote_are_read(name):
    header, arrays = foreign.read(os.path.join(GOLDEN, name))
    config = ModelConfig(**header["model"])
    assert header["size_guessed"] and header["size"] == 16
    assert [config.width(s) for s in (4, 8, 16)] == [PORT16.width(s) for s in (4, 8, 16)]
    wanted = {n: a for n, a in random_arrays(PORT16).items() if n.split("/")[0] in
              {found.split("/")[0] for found in arrays}}
    assert_equal({n: a for n, a in arrays.items() if not n.endswith("w_avg")},
                 {n: a for n, a in wanted.items() if not n.endswith("w_avg")})
    assert ("discriminator/head.conv.weight" in arrays) == ("stream" not in name)


def test_the_tar_that_pytorch_wrote_first_is_read(tmp_path):
    state = port_state()["g_running"]
    header, arrays = read_bytes(tmp_path, weight_files.torch_tar(state))
    wanted = {n: a for n, a in random_arrays(PORT16).items() if n.startswith("ema/")}
    wanted["ema/w_avg"] = arrays["ema/w_avg"]
    assert "PyTorch tar" in header["source"]
    assert_equal(arrays, wanted)


def test_old_jittor_files_are_plain_dicts_without_a_checksum(tmp_path):
    state = port_state()
    assert "Jittor" in read_bytes(tmp_path, pickle.dumps(state))[0]["source"]
    _, bare = read_bytes(tmp_path, pickle.dumps(state["g_running"]))
    assert {name.split("/")[0] for name in bare} == {"ema"}


def test_derived_weights_beside_the_stored_ones_are_ignored(tmp_path):
    state = port_state()["g_running"]
    stale = {n[:-len("_orig")]: a * 9 for n, a in state.items() if n.endswith("weight_orig")}
    _, wanted = read_bytes(tmp_path, pickle.dumps(state))
    _, found = read_bytes(tmp_path, pickle.dumps(stale | state))
    assert len(stale) > 10
    assert_equal(found, wanted)


def test_a_jittor_file_with_a_flipped_byte_is_damaged(tmp_path):
    with open(os.path.join(GOLDEN, "port16_jittor.model"), "rb") as file:
        data = bytearray(file.read())
    data[5000] ^= 1
    with pytest.raises(UserError, match="checksum"):
        read_bytes(tmp_path, bytes(data))


def test_mean_style_is_that_of_ten_thousand_latents():
    _, arrays = foreign.read(os.path.join(GOLDEN, "port16_zip.pt"))
    x = np.random.RandomState(0).randn(10_000, 8)
    x = x / np.sqrt((x ** 2).mean(1, keepdims=True) + 1e-8)
    for i in range(2):
        weight = arrays[f"ema/mapping.layers.{i}.weight"].astype("f8")
        x = reference.lrelu(x @ weight.T * np.sqrt(2 / 8) + arrays[f"ema/mapping.layers.{i}.bias"])
    assert np.abs(arrays["ema/w_avg"] - x.mean(0)).max() < 1e-5 * np.abs(x.mean(0)).max()


def test_ports_whose_discriminator_counts_from_their_own_size_are_read(tmp_path):
    state = port_state()

    def renumber(name):
        return re.sub(r"^(progression|from_rgb)\.(\d)", lambda m: f"{m[1]}.{int(m[2]) - 6}", name)

    renamed = state | {"discriminator": {renumber(n): a for n, a in
                                         state["discriminator"].items()}}
    assert "linear.linear.bias" in renamed["discriminator"]
    assert_equal(read_bytes(tmp_path, pickle.dumps(renamed))[1],
                 read_bytes(tmp_path, pickle.dumps(state))[1])


@pytest.mark.parametrize("change, message", [
    (lambda s: s.pop("generator.to_rgb.1.conv.bias"), "to_rgb.1.conv.bias is missing"),
    (lambda s: s.update(extra=np.ones(1)), "extra is unknown"),
    (lambda s: s.update({"generator.to_rgb.1.conv.bias": np.ones(9)}), "has shape .9,."),
    (lambda s: s.pop("style.1.linear.weight_orig"), "layout"),
    (lambda s: s.update({"generator.progression.1.conv1.2.weight": np.ones((8, 1, 3, 3))}),
     "conv1.2.weight is unknown"),
])
def test_port_arrays_that_do_not_fit_are_named(tmp_path, change, message):
    state = port_state()["g_running"]
    change(state)
    with pytest.raises(UserError, match=message):
        read_bytes(tmp_path, pickle.dumps(state))


@pytest.mark.parametrize("content, message", [
    ({"discriminator": {"a": np.ones(1)}}, "wanted a generator"),
    ({"g_running": [1]}, "a network is a list, wanted a dict of arrays"),
    ({"g_running": {"a": np.ones(1)}, "args": [1]}, "unknown beside the networks: 'args'"),
    ({}, "no arrays"), ([], "wanted the three networks"), (7, "found a int"), ("text", "a str"),
])
def test_pickles_that_are_no_weights_say_so(tmp_path, content, message):
    with pytest.raises(UserError, match=message):
        read_bytes(tmp_path, pickle.dumps(content))


# Ours → the PyTorch port's names → ours -----------------------------------------------------------


def own_file(tmp_path, config, name="x.model", **more):
    path = tmp_path / name
    snapshot.save(str(path), {"images_seen": 5, "size": config.size, "alpha": 1.0,
                              "model": vars(config)}, random_arrays(config) | more)
    return path


@pytest.mark.parametrize("ending", ["npz", "pt", "safetensors"])
@pytest.mark.parametrize("config", [
    PORT16, ModelConfig(size=256, latent=8, mapping_layers=3, fmap_base=512, fmap_max=8,
                        from_rgb_activate=False, **PORT)], ids=["16", "256"])
def test_ours_to_the_ports_and_back_is_bit_equal(tmp_path, config, ending):
    library = {"pt": "torch", "safetensors": "safetensors"}.get(ending)
    if library and not importlib.util.find_spec(library):
        pytest.skip(f"{library} is not installed")
    path, there = own_file(tmp_path, config), tmp_path / f"x.{ending}"
    command("convert.py", path, there, cwd=tmp_path)
    command("convert.py", there, "back.model", cwd=tmp_path)
    header, arrays = snapshot.load(str(tmp_path / "back.model"))
    assert ModelConfig(**header["model"]) == config
    assert_equal(arrays, random_arrays(config))


def test_the_ports_names_and_shapes_are_those_of_its_own_class():
    """Against the names that the port's outputs were made with: the blur aside, which has none."""
    config = ModelConfig(**PORT)
    content = port.to_port(config, {f"{network}/{name}": np.zeros(shape, "float32") for
                                    network, shapes in (("ema", generator_shapes(config)),
                                                        ("discriminator",
                                                         discriminator_shapes(config)))
                                    for name, shape in shapes.items()})
    with np.load(os.path.join(GOLDEN, "port_goldens.npz")) as golden:
        for network, theirs in ("G", "g_running"), ("D", "discriminator"):
            names = golden[f"{network}_param_names"].tolist()
            assert sorted(n for n, a in content[theirs].items()
                          if not port.is_derived(n, a, content[theirs])) == names


def test_a_model_that_the_port_cannot_express_is_refused_in_words(tmp_path):
    path = own_file(tmp_path, SMALL)
    code, _, error = command("convert.py", path, "x.npz", cwd=tmp_path, check=False)
    assert code == 2 and error.count("\n") == 1 and "type --approximate" in error
    assert "bias before the blur" in error and "one noise map per size" in error
    assert convert.IN_WORDS.keys() == PORT.keys()
    assert not any(field in error for field in PORT) and not (tmp_path / "x.npz").exists()


def test_approximate_prints_the_error_that_it_measured(tmp_path):
    path = own_file(tmp_path, SMALL)
    _, output, _ = command("convert.py", path, "x.npz", "--approximate", cwd=tmp_path)
    assert re.search(r"largest difference is \d+\.\d% of the largest value", output)
    networks = containers.read(str(tmp_path / "x.npz"))[1]
    assert "g_running" in networks and "discriminator" not in networks


def test_what_can_be_folded_into_the_weights_is_exact(tmp_path):
    """Without biases before the blur, an approximated model differs by the norm's epsilon only."""
    arrays = {n: a * 0 if "epilogue0.bias" in n and "block4" not in n else a
              for n, a in random_arrays(SMALL, ["ema"]).items()}
    from pictures.painter import Painter
    pictures = []
    config, folded = convert.approximate(SMALL, arrays)
    for c, values in (SMALL, arrays), (config, folded):
        header = {"model": vars(c), "size": 16, "alpha": 1.0}
        painter = Painter(header, values, "x", truncation_psi=0.7, noise="none")
        pictures.append(painter.paint(painter.styles(range(4))))
    assert np.abs(pictures[1] - pictures[0]).max() < 1e-3 * np.abs(pictures[0]).max()


# Half the size ------------------------------------------------------------------------------------


def test_a_file_of_float16_paints_the_same_but_for_the_error_that_is_printed(tmp_path):
    trained = os.path.join(GOLDEN, "demo.model")
    _, output, _ = command("convert.py", trained, "half.model", "--half", cwd=tmp_path)
    printed = float(re.search(r"as float16: .*largest difference is (\d+\.\d)%", output)[1])
    header, arrays = snapshot.load(trained)
    kept = sum(a.nbytes if "mapping" in name else a.nbytes / 2 for name, a in arrays.items()
               if name.startswith("ema/"))
    assert (tmp_path / "half.model").stat().st_size < kept + 400 * len(arrays) + 4096
    assert "float16" in command("convert.py", "--check", "half.model", cwd=tmp_path)[1]
    command("convert.py", "half.model", "full.model", cwd=tmp_path)
    assert "float16" not in command("convert.py", "--check", "full.model", cwd=tmp_path)[1]
    from pictures.painter import Painter
    pictures = []
    for path in trained, str(tmp_path / "half.model"):
        painter = Painter(*snapshot.load_any(path), path, truncation_psi=1.0, noise="none")
        pictures.append(painter.paint(painter.styles(range(16))))
    measured = np.abs(pictures[1] - pictures[0]).max() / np.abs(pictures[0]).max()
    assert 0 < measured < 0.003 and abs(100 * measured - printed) < 0.051
    for path, out in (trained, "a"), ("half.model", "b"):
        command("generate.py", path, "--seeds", 3, "--out", out, cwd=tmp_path)
    pictures = [np.asarray(Image.open(next((tmp_path / out).glob("*.png")))).astype(int)
                for out in "ab"]
    assert np.abs(pictures[1] - pictures[0]).max() <= 3


def test_the_generator_in_the_repository_paints_cats_without_training(tmp_path):
    path = os.path.join(ROOT, "docs/models/cats64.model")
    assert os.path.getsize(path) < 5e6
    assert "float16" in command("convert.py", "--check", path, cwd=tmp_path)[1]
    command("generate.py", path, "--seeds", "0-7", "--out", "x", cwd=tmp_path)
    pictures = np.stack([np.asarray(Image.open(p)) for p in sorted((tmp_path / "x").glob("*.png"))])
    assert pictures.shape == (8, 64, 64, 3)
    # White ground on the right, a cat in the middle, and no two alike.
    assert pictures[:, 8:24, 60:].mean() > 230 and (pictures[:, 24:40, 24:40].mean((1, 2, 3))
                                                    < 235).all()
    assert all(np.abs(a.astype(int) - b).mean() > 4 for a, b in zip(pictures, pictures[1:]))


def test_weights_that_float16_cannot_hold_are_refused(tmp_path):
    arrays = random_arrays(SMALL, ["ema"])
    arrays["ema/w_avg"][0] = 70000
    path = own_file(tmp_path, SMALL, **arrays)
    code, _, error = command("convert.py", path, "y.model", "--half", cwd=tmp_path, check=False)
    assert code == 2 and error.count("\n") == 1
    assert "ema/w_avg has values that are not finite, or beyond float16's 65,504" in error
    assert not (tmp_path / "y.model").exists()


# The command --------------------------------------------------------------------------------------


def test_convert_writes_a_model_that_generate_reads_and_overwrites_nothing(tmp_path):
    pickle_path = os.path.join(GOLDEN, "sg1_r32.pkl")
    _, output, _ = command("convert.py", pickle_path, "a.model", cwd=tmp_path)
    assert "weights of official StyleGAN1; ema, generator, discriminator; size 32" in output
    before = (tmp_path / "a.model").read_bytes()
    code, _, error = command("convert.py", pickle_path, "a.model", cwd=tmp_path, check=False)
    assert code == 2 and "a.model exists" in error
    assert (tmp_path / "a.model").read_bytes() == before
    for source, out in ((pickle_path, "direct"), ("a.model", "converted")):
        _, output, _ = command("generate.py", source, "--n_row", 1, "--n_col", 2, "--out", out,
                               cwd=tmp_path)
        assert "weights of official StyleGAN1" in output
    pictures = [Image.open(tmp_path / out / "samples.png") for out in ("direct", "converted")]
    assert pictures[0].tobytes() == pictures[1].tobytes()


def test_sizes_that_a_file_does_not_say_are_asked_for(tmp_path):
    path = os.path.join(GOLDEN, "port16_jittor.model")
    _, _, error = command("generate.py", path, "--n_row", 1, "--n_col", 1, cwd=tmp_path)
    assert "painting 16, the largest" in error
    _, output, error = command("generate.py", path, "--n_row", 1, "--n_col", 1, "--size", 8,
                               "--out", "8", cwd=tmp_path)
    assert "size 8" in output and "painting" not in error
    command("convert.py", path, "a.model", "--size", 8, cwd=tmp_path)
    assert snapshot.load_any(str(tmp_path / "a.model"))[0]["size"] == 8
    for arguments, message in (((path, "--size", 64), "layers up to 16"),
                               ((own_file(tmp_path, SMALL), "--size", 8), "leave --size out")):
        code, _, error = command("generate.py", *arguments, cwd=tmp_path, check=False)
        assert code == 2 and message in error


def test_check_prints_the_table_of_layers(tmp_path):
    path = own_file(tmp_path, ModelConfig(size=8, latent=8, mapping_layers=2, fmap_max=4))
    _, output, _ = command("convert.py", "--check", path, cwd=tmp_path)
    rows = {line.split()[0]: line for line in output.splitlines() if line.strip()}
    assert rows["synthesis.block8.conv0"].split()[-1] == str(4 * 4 * 9 + 4 + 4 + 8 * 8 + 8)
    assert "(N, 4, 8, 8)" in rows["synthesis.block8.conv0"]
    assert "(N, 4, 4, 4)" in rows["block8.conv1"] and "(N, 1)" in rows["head.dense1"]
    totals = [int(line.split()[-1].replace(",", "")) for line in output.splitlines()
              if line.startswith("total")]
    config = ModelConfig(size=8, latent=8, mapping_layers=2, fmap_max=4)
    assert totals == [sum(np.prod(s) for n, s in shapes.items() if n != "w_avg") for shapes in
                      (generator_shapes(config), discriminator_shapes(config))]
    assert "found their place" in output and not (tmp_path / "x.npz").exists()


def test_own_files_whose_arrays_do_not_fit_are_named(tmp_path):
    path = own_file(tmp_path, SMALL, **{"ema/extra": np.ones(1)})
    code, _, error = command("convert.py", "--check", path, cwd=tmp_path, check=False)
    assert code == 2 and "extra is unknown" in error


@pytest.mark.parametrize("arguments, message", [
    (("nowhere.pkl",), "No such file"), (("x.model", "y.png"), "wanted an ending"),
    (("x.model", "y.npz", "--check"), "writes nothing"), (("x.model", "y.pt", "--half"), "y.pt"),
    (("--check", "--half", "x.model"), "leave --half out"), (("x.model",), "x.model exists"),
    (("my x.model", "my x.model"), "such as 'my x_converted.model'"),
    (("x.model", "x.npz/y.npz"), "x.npz: a file, wanted a folder"),
    (("x.model", "/proc/self/y.npz"), "/proc/self: cannot be written"),
    (("--check", "styles.npz"), "styles, not weights: to paint them, type python generate.py "
                                "CHECKPOINT --w styles.npz"),
    (("--check", "one.npz"), "layout ('generator.progression.0.conv2.conv.bias' is missing)"),
    (("--check", "parts.npz"), "it is for --features parts.npz"),
    (("--check", "notes.model"), "notes.model: a text file, wanted a .model file of train.py, or "
                                 "weights that convert.py --help names; it begins with 'Dear"),
    (("--check", "nothing.model"), "nothing.model: an empty file, wanted a .model file"),
    (("--check", "x.onnx"), "x.onnx: ONNX, which convert.py writes for other programs; wanted"),
    (("--check", "broken.model"), "not a file of this project: a zip archive without its end"),
])
def test_wrong_arguments_end_in_one_line(tmp_path, arguments, message):
    for name in "x.model", "my x.model":
        own_file(tmp_path, SMALL, name)
    np.savez(tmp_path / "styles.npz", w=np.ones(8))
    np.savez(tmp_path / "x.npz")
    np.savez(tmp_path / "one.npz", a=np.ones(3))
    attributes.save(tmp_path / "parts.npz", {"size": 16}, {"heads.weight": np.ones((2, 2))})
    (tmp_path / "nothing.model").touch()
    (tmp_path / "x.onnx").write_bytes(b"\x08\x09\x12\x0bstylegan.py")
    (tmp_path / "broken.model").write_bytes((tmp_path / "x.model").read_bytes()[:9000])
    (tmp_path / "notes.model").write_text("Dear diary.\nToday I trained.\n" * 99)
    code, _, error = command("convert.py", *arguments, cwd=tmp_path, check=False)
    assert code == 2 and message in error and error.count("\n") == 1


@pytest.mark.parametrize("ending, name", [("pt", "torch"), ("safetensors", "safetensors")])
def test_missing_libraries_are_named_before_anything_is_computed(tmp_path, monkeypatch, ending,
                                                                 name):
    for module in (name, f"{name}.numpy"):
        monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.setattr(convert.snapshot, "load_any", lambda *_: pytest.fail("IN was read"))
    with pytest.raises(UserError, match=f"needs {name}: type pip install {name}, or name y.npz"):
        convert.main([str(own_file(tmp_path, PORT16)), f"y.{ending}", "--approximate"])


def test_a_full_disk_is_one_line(tmp_path, monkeypatch):
    def full(_):
        raise OSError(28, "No space left on device")
    path = str(own_file(tmp_path, PORT16))
    monkeypatch.setattr(os, "fsync", full)
    for out in "y.model", "y.npz":
        with pytest.raises(UserError, match=f"{out}: No space left on device"):
            convert.main([path, str(tmp_path / out)])
        assert not (tmp_path / out).exists()


def test_readers_need_neither_jittor_nor_the_libraries_that_wrote_the_files():
    code = "import sys; from weights import foreign; [foreign.read(p) for p in sys.argv[1:]]; " \
           "print([m for m in ('jittor', 'torch', 'tensorflow') if m in sys.modules])"
    files = [os.path.join(GOLDEN, n) for n in ("sg1_r32.pkl", "port16_zip.pt",
                                               "port16_stream.pt", "port16_jittor.model")]
    _, output, _ = command("-c", code, *files, cwd=ROOT)
    assert output.strip() == "[]"
