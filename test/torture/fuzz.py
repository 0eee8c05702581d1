"""python fuzz.py KIND COUNT SEED: a reader on COUNT mutated files, see torture.py.

KIND: model, foreign, pictures, archives, labels or fonts; or bombs, which are as many as there are
(see bombs.py).

Prints a line per file that was not survived, then [tried, lost]. Survived: read, or refused with
one line (cli.UserError), within ten seconds and the memory that this process is given.
"""
import contextlib
import glob
import io
import json
import os
import pickle
import random
import resource
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path[:0] = [ROOT, os.path.dirname(HERE)]

import bombs  # noqa: E402

from backend.errors import UserError  # noqa: E402

GIB, SECONDS = 2 ** 30, 10


def main():
    kind, count, seed = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    if kind == "bombs":
        return bombs.main([])
    random.seed(seed)
    resource.setrlimit(resource.RLIMIT_AS, (6 * GIB, 6 * GIB))
    lost = tried = 0
    with tempfile.TemporaryDirectory(prefix="fuzz_") as folder:
        os.chdir(folder)
        read, originals = globals()[kind]()
        for name, content in originals:                 # else nothing would be tried
            with open(name, "wb") as file:
                file.write(content)
            with contextlib.suppress(UserError) if name == "attack.pkl" else \
                    contextlib.nullcontext():
                read(name)
        for i in range(count):
            name, content = originals[i % len(originals)]
            path = f"mutated_{i}{os.path.splitext(name)[1]}"
            with open(path, "wb") as file:
                file.write(mutate(content))
            tried += 1
            problem = survive(read, path)
            if problem:
                lost += 1
                print(f"{name}, file {i} of seed {seed}: {problem}")
            with contextlib.suppress(OSError):
                os.remove(path)
    print(json.dumps([tried, lost]))


def mutate(content):
    """Flipped, overwritten, removed, repeated or cut-off bytes; one to thirty times."""
    data = bytearray(content)
    for _ in range(random.choice([1, 2, 5, 30])):
        if not data:
            break
        # Headers and directories are at the ends.
        place = random.choice([random.randrange(len(data)), random.randrange(min(400, len(data))),
                               len(data) - 1 - random.randrange(min(400, len(data)))])
        length = random.choice([1, 1, 1, 4, 50])
        how = random.randrange(6)
        if how == 0:
            data[place] ^= 1 << random.randrange(8)
        elif how == 1:
            data[place:place + length] = random.choice(
                [b"\0", b"\xff", b"\x7f\xff\xff\xff", random.randbytes(length)])
        elif how == 2:
            data[place:place + length] = random.randbytes(length)[:len(data) - place]
        elif how == 3:
            del data[place:place + length]
        elif how == 4:
            data[place:place] = data[place:place + length]
        elif random.random() < 0.3:
            del data[place:]
    return bytes(data)


def survive(read, path):
    """What went wrong, or None."""
    start = time.monotonic()
    try:
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            read(path)
    except UserError as error:
        if "\n" in str(error):
            return f"more than one line: {error}"
    except SystemExit as error:
        if error.code not in (0, 2):
            return f"exit code {error.code}"
    except BaseException as error:
        return f"{type(error).__name__}: {error}"
    if os.path.exists("ran"):
        return "it ran code"
    if time.monotonic() - start > SECONDS:
        return f"took {time.monotonic() - start:.0f} s"
    return None


def read_file(path):
    with open(path, "rb") as file:
        return file.read()


class Attack:
    """Would make the file `ran`."""

    def __reduce__(self):
        return os.system, ("touch ran",)


# The readers: function from a path, and [(name, content)] of files that are right ----------------


def model():
    from weight_files import PORT16, random_arrays

    from weights import snapshot
    header = {"images_seen": 5, "size": 16, "alpha": 1.0, "model": vars(PORT16)}
    snapshot.save("right.model", header, random_arrays(PORT16))
    return snapshot.load_any, [("right.model", read_file("right.model"))]


def foreign():
    import stylegan2_files
    import weight_files

    from networks.config import ModelConfig
    from weights import foreign, port2
    config = ModelConfig(size=16, latent=8, mapping_layers=2, fmap_base=64, fmap_max=8)
    networks = weight_files.official_networks(config)
    files = [(f"official{protocol}.pkl", weight_files.official_pickle(networks, protocol))
             for protocol in (0, 2, 4, 5)]
    files += [(os.path.basename(path), read_file(path))
              for path in sorted(glob.glob(os.path.join(ROOT, "test", "golden", "port16*")))]
    port_state = weight_files.port_state()["g_running"]
    files.append(("port.tar", weight_files.torch_tar(port_state)))
    config = ModelConfig(arch="stylegan2", size=8, latent=8, mapping_layers=1, fmap_max=4)
    networks = stylegan2_files.random_networks(config)
    files += [(f"persistent{protocol}.pkl", stylegan2_files.torch_pickle(
        stylegan2_files.torch_networks(config, networks), protocol)) for protocol in (2, 3, 4)]
    files.append(("stylegan2.pkl", weight_files.official_pickle(
        stylegan2_files.tf_networks(config, networks))))
    state = port2.to_port(config, stylegan2_files.wanted(networks))["g_ema"]
    files.append(("port2.tar", weight_files.torch_tar(state)))
    files.append(("attack.pkl", pickle.dumps({"g_running": Attack()})))
    return foreign.read, files


def pictures():
    import numpy as np
    from PIL import Image

    import dataset
    from pictures import resizing
    pixels = np.random.RandomState(0).randint(0, 256, (64, 64, 3), np.uint8)
    files = []
    for mode, ending in (("RGB", "png"), ("P", "png"), ("RGBA", "png"), ("RGB", "jpg"),
                         ("CMYK", "jpg"), ("RGB", "webp"), ("RGB", "bmp"), ("L", "png")):
        data = io.BytesIO()
        Image.fromarray(pixels).convert(mode).save(data, {"jpg": "JPEG"}.get(ending, ending))
        files.append((f"{mode}.{ending}", data.getvalue()))

    def read(path):
        outcome = resizing.resize_picture(resizing.Job(
            path, [16, 8], ["16.png", "8.png"], [True, True], "crop", (255, 255, 255), "."))
        if outcome.kind != "written":
            raise UserError(outcome.reason)
        dataset.load_batch([path], [False], 64, 3)
    return read, files


def archives():
    import zipfile

    import numpy as np
    from PIL import Image

    import dataset
    from pictures import finding, resizing
    files = []
    for name, packing in ("stored.zip", zipfile.ZIP_STORED), ("packed.zip", zipfile.ZIP_DEFLATED):
        data = io.BytesIO()
        with zipfile.ZipFile(data, "w", packing) as archive:
            for folder in "8", "16", "photos":
                for i in range(3):
                    picture, size = io.BytesIO(), int(folder) if folder.isdigit() else 32
                    Image.fromarray(np.random.RandomState(i).randint(
                        0, 256, (size, size, 3), np.uint8)).save(picture, "PNG")
                    archive.writestr(f"{folder}/{i}.png", picture.getvalue())
        files.append((name, data.getvalue()))

    def read(path):
        for size in dataset.available_sizes(path):
            folder = dataset.PictureFolder(path, size)
            folder.check()
            dataset.load_batch(folder.files(range(4), 0), [False] * 4, size, 3)
        for file in finding.find_archived(path)[0].values():
            resizing.resize_picture(resizing.Job(file, [8], ["8.png"], [True], "crop",
                                                 (255, 255, 255), None))
    return read, files


def labels():
    """dataset.json, and tables of labels."""
    from backend import labels
    from pictures import labelling
    names = [f"{kind}/{i}.png" for kind in ("cats", "dogs") for i in range(20)]
    kinds = {name: name.partition("/")[0] for name in names}
    table = "file,kind\n" + "".join(f"{name},{kind}\n" for name, kind in kinds.items())

    def read(path):
        if path.endswith(".csv"):
            return labelling.of_column(f"{path}:kind", names)
        found = labels.of_file(path, time.monotonic_ns())
        if found:
            found.how_many()
            labels.of_pictures(found, [*map(labels.target_name, names)], "8")
    return read, [("dataset.json", labels.to_json(labels.of_names(kinds, "sub-folders"))),
                  ("table.csv", table.encode())]


def fonts():
    import symbols
    font = read_file(symbols.default_font())

    def read(path):
        font = symbols.Font(path, 32)
        for char in font.chars[:20]:
            font.render(char, (200, 0, 0))
    return read, [("font.ttf", font)]


if __name__ == "__main__":
    main()
