"""The page as a folder that any web server can serve: its painter is the visitor's own browser."""
import json
import os
import tarfile

import numpy as np

from backend.errors import UserError
from backend.files import make_folder, naming, replacing
from networks.config import noise_sides, num_layers, truncated_layers
from page.server import STATIC
from weights import onnx_graph

PACKAGE, RUNTIME = "onnxruntime-web", ("ort.wasm.bundle.min.mjs", "ort-wasm-simd-threaded.wasm")
LARGEST = 100 << 20             # bytes of a file of the runtime
UNSERVED = b"This page wants a web server: python -m http.server --bind 127.0.0.1"
POLICY = ('<meta http-equiv="Content-Security-Policy" content="default-src \'self\' blob: data:; '
          "script-src 'self' 'wasm-unsafe-eval'; object-src 'none'; base-uri 'none'\">")


def export(out, header, arrays, config, path, about, directions, runtime, onnx):
    """Write the folder. about: what explore.py's page is told; runtime: see runtime_files; onnx:
    the module. Raises UserError."""
    files = {f"runtime/{name}": data for name, data in runtime_files(runtime).items()}
    for name in os.listdir(STATIC):
        with open(os.path.join(STATIC, name), "rb") as file:
            files[name] = file.read()
    with open(os.path.join(os.path.dirname(STATIC), "browser", "painter.js"), "rb") as file:
        files["painter.js"] = file.read()
    files["index.html"] = files["index.html"].replace(b"<head>", b"<head>\n" + POLICY.encode()) \
        .replace(b'aria-live="polite">', b'aria-live="polite">' + UNSERVED)
    synthesis, mapping = onnx_graph.of_file(onnx, header, arrays, config, path, noise_inputs=True)
    files |= {"synthesis.onnx": synthesis.SerializeToString(),
              "mapping.onnx": mapping.SerializeToString()}
    size = header["size"]
    maps = onnx_graph.maps_of(header, arrays, config)
    numbers = [np.asarray(one, "<f4").ravel()
               for one in [*maps, *(one.vector for one in directions.values())]]
    about = about | {
        "projects": False, "latent": config.latent, "dlatent": config.dlatent,
        "layers": num_layers(size), "truncated": truncated_layers(config.arch, size),
        "noise": noise_sides(size, config.arch),
        "directions": [one | {"sigma": directions[one["name"]].sigma}
                       for one in about["directions"]]}
    files |= {"numbers.bin": np.concatenate(numbers).tobytes(),
              "about.json": json.dumps(about).encode()}
    make_folder(os.path.join(out, "runtime"), "--export")
    for name, data in files.items():
        with naming(os.path.join(out, name)), replacing(os.path.join(out, name)) as file:
            file.write(data)


def runtime_files(place):
    """{name: bytes} of ONNX Runtime for browsers, from the npm package: its .tgz, or a folder."""
    advice = f"type npm pack {PACKAGE}@1.30.0, and --runtime {PACKAGE}-1.30.0.tgz"
    if not place:
        raise UserError(f"--export: the page needs {PACKAGE}: {advice}")
    try:
        if os.path.isdir(place):
            folder = os.path.join(place, "dist") if os.path.isdir(os.path.join(place, "dist")) \
                else place
            found = {}
            for name in RUNTIME:
                with open(os.path.join(folder, name), "rb") as file:
                    found[name] = file.read(LARGEST)
            return found
        with tarfile.open(place) as archive:
            members = {name: archive.getmember(f"package/dist/{name}") for name in RUNTIME}
            if any(not one.isfile() or one.size > LARGEST for one in members.values()):
                raise KeyError
            return {name: archive.extractfile(one).read() for name, one in members.items()}
    except (OSError, tarfile.TarError, KeyError, EOFError) as error:
        why = getattr(error, "strerror", None) or f"no {' and '.join(RUNTIME)} in it"
        raise UserError(f"--runtime {place}: {why}; {advice}") from None
