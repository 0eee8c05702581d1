"""A page to see and steer a trained generator: python explore.py checkpoint/FFHQ_80000.model

    python explore.py MODEL
    python explore.py MODEL --directions sample/FFHQ_80000/directions.npz
    python explore.py MODEL --host 0.0.0.0 --token new

Opens a page on this machine: a wall of pictures by seed; one dragged onto another lends it its
coarse, middle or fine styles; sliders for truncation and for the directions that directions.py
found (without --directions, it looks for some first); walks between pictures, saved as films;
pictures of your own, projected while you watch; downloads as PNG and as .npz for generate.py --w.
The address in the browser says what is seen, and shows it again to whoever opens it here. Nothing
is asked of any other machine, and nothing is kept: download what you want to keep. Ctrl-C ends it.

    python explore.py MODEL --export page --runtime onnxruntime-web-1.30.0.tgz

writes the same page into a folder for any web server: visitors' own browsers paint there (but for
projecting). It needs the package onnx, and npm's onnxruntime-web, which is copied along.
"""
import importlib
import os
import re
import secrets
import shlex
import socket
import subprocess
import sys
import threading

from backend import signals
from backend.errors import UserError
from cli import Parser, add_device_arguments, bring_up, run, size_argument
from page.export import export, runtime_files
from page.server import Server
from page.studio import Studio
from pictures import origin
from pictures.directions import load_all
from pictures.painter import Painter, levels
from pictures.projection import STEPS
from pictures.search import Search
from weights import snapshot

HERE, PORT = "127.0.0.1", 8765
EACH, LATENTS = 4, 2000         # directions of a kind, and latents to find them with


def main(argv=None):
    args = parse_arguments(argv)
    header, arrays = snapshot.load_any(args.checkpoint, args.size)
    snapshot.say_guess(header, args.checkpoint)
    snapshot.check_channels(header, args.checkpoint)
    directions = load_all(args.directions, header) if args.directions else None
    # Before it takes time to find out that it cannot.
    exports = args.export is not None
    onnx = prepared(args) if exports else None
    server = None if exports else listen(args)
    bring_up(args.device, args.cuda_home)
    painter = Painter(header, arrays, args.checkpoint, truncation_psi=0.7)
    if directions is None:
        print("Looking for directions … (the first time here, compiling takes a minute or two)",
              file=sys.stderr, flush=True)
        search = Search(painter, EACH, 0, LATENTS)
        directions = {one.name: one for one, _ in search.pca() + search.sefa()}
    known = about(args, header, painter, directions)
    if exports:
        config = painter.generator.config
        export(args.export, header, arrays, config, args.checkpoint, known, directions,
               args.runtime, onnx)
        print(f"Wrote {args.export}. To see it, type: python -m http.server --directory "
              f"{shlex.quote(args.export)} --bind 127.0.0.1 8000, and open http://localhost:8000/")
        return 0
    studio = Studio(painter, directions, args.steps,
                    {"checkpoint": origin.weights(args.checkpoint, arrays)})
    server.open(studio, known)
    where = address(args.host, server.server_port, args.token)
    print(f"{where}\nCtrl-C ends it.", flush=True)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    if not args.no_browser:
        # A process of its own, without what this one does with signals.
        subprocess.Popen([sys.executable, "-m", "webbrowser", where], start_new_session=True,
                         stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                         stderr=subprocess.DEVNULL, preexec_fn=signals.usual)
    studio.work()


def address(host, port, token):
    """Where the page is, as a browser on this machine, or where it is told so another, finds it."""
    if host == HERE:
        host = "localhost"
    elif host in ("0.0.0.0", "::"):
        host = socket.gethostname()
    return f"http://{f'[{host}]' if ':' in host else host}:{port}/" + \
        (f"?token={token}" if token else "")


def prepared(args):
    """The module onnx, where all is there that an export needs. Raises UserError."""
    runtime_files(args.runtime)
    if os.path.lexists(args.export) and not os.path.isdir(args.export):
        raise UserError(f"--export {args.export}: is a file, wanted a folder or a new name")
    if os.path.isdir(args.export) and os.listdir(args.export) and not args.overwrite:
        raise UserError(f"--export {args.export}: there are files in it: type another folder, or "
                        "--overwrite")
    try:
        return importlib.import_module("onnx")
    except ImportError:
        raise UserError("--export needs one more package: type pip install onnx") from None


def listen(args):
    try:
        return Server(args.host, args.port, args.token)
    except OSError as error:
        raise UserError(f"--host {args.host} --port {args.port}: {error.strerror or error}; type "
                        "another, --port 0 for any that is free") from None


def about(args, header, painter, directions):
    """What the page has to know of the network."""
    return {"name": os.path.basename(args.checkpoint), "size": painter.size,
            "channels": painter.generator.config.channels, "projects": True,
            "classes": header.get("classes", []), "labels": painter.generator.config.labels,
            "levels": {name: [int(layers[0]), int(layers[-1])]
                       for name, layers in levels(painter.size).items() if len(layers)},
            "directions": [{"name": one.name, "layers": [int(i) for i in one.layers.nonzero()[0]]}
                           for one in directions.values()]}


def parse_arguments(argv):
    parser = Parser(description=__doc__)
    parser.add_argument("checkpoint", help="a .model file that train.py wrote, or other weights")
    parser.add_argument("--directions", metavar="FILE.npz", help="that directions.py wrote for "
                        "this network (default: looks for some)")
    parser.add_argument("--steps", type=int, default=STEPS, metavar="N", help="of projecting a "
                        f"picture: more are better and take longer (default {STEPS})")
    parser.add_argument("--port", type=int, default=PORT, metavar="N",
                        help=f"of the page, 0 for any that is free (default {PORT})")
    parser.add_argument("--host", default=HERE, metavar="ADDRESS", help="another address of this "
                        "machine, so that others can open the page; wants --token (default "
                        f"{HERE}, this machine alone)")
    parser.add_argument("--token", metavar="SECRET", help="16 letters or more that the address has "
                        "to bring; new: one is made")
    parser.add_argument("--no_browser", action="store_true", help="only print the address")
    parser.add_argument("--export", metavar="FOLDER", help="write the page there instead")
    parser.add_argument("--runtime", metavar="PACKAGE", help="for --export: npm's onnxruntime-web, "
                        "its .tgz or unpacked")
    parser.add_argument("--overwrite", action="store_true", help="--export into a folder that has "
                        "files")
    parser.add_argument("--size", type=size_argument, help="of other projects' weights: size in "
                        "pixels to which they were trained")
    add_device_arguments(parser)
    args = parser.parse_args(argv)
    if not 0 <= args.port < 65536:
        parser.error(f"--port: found {args.port}, wanted 0 to 65535")
    if args.export == "":
        parser.error("--export: found nothing, wanted a folder")
    if args.export is None and (args.runtime is not None or args.overwrite):
        parser.error("--runtime, --overwrite: are for --export FOLDER")
    if args.steps < 1:
        parser.error(f"--steps: found {args.steps}, wanted 1 or more")
    if args.token == "new":
        args.token = secrets.token_urlsafe(24)
    if args.token is not None and not re.fullmatch("[A-Za-z0-9_-]{16,}", args.token):
        parser.error("--token: wanted 16 or more letters, digits, - and _; new makes one")
    if args.host not in (HERE, "localhost", "::1") and args.token is None:
        parser.error(f"--host {args.host}: others can open the page then: type --token new too")
    return args


if __name__ == "__main__":
    run(main)
