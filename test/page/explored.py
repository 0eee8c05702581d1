"""explore.py in a process of its own, and what asks it."""
import contextlib
import http.client
import os
import re
import signal
import subprocess
import sys
import threading

import numpy as np
from conftest import ROOT

DEMO = os.path.join(ROOT, "test/golden/demo.model")


@contextlib.contextmanager
def explored(folder, *flags, model=DEMO, path=None):
    """The port of a page, and its token or None. path: a folder with programs that stand before
    others."""
    known = ["--directions", two_directions(folder)] if model == DEMO else []
    process = subprocess.Popen(
        [sys.executable, os.path.join(ROOT, "explore.py"), model, *known, "--port", "0",
         "--no_browser", "--steps", "60", *flags], cwd=folder, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, text=True,
        env=os.environ | ({"PATH": f"{path}{os.pathsep}{os.environ['PATH']}"} if path else {}))
    try:
        said = ""
        for line in process.stdout:
            said += line
            found = re.match(r"http://[\w.:-]+:(\d+)/(?:\?token=(\S+))?", line)
            if found:
                break
        else:
            raise AssertionError(said)
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield int(found[1]), found[2]
    finally:
        process.send_signal(signal.SIGINT)
        try:
            process.wait(120)
        except subprocess.TimeoutExpired:
            process.kill()
            raise


def two_directions(folder):
    """A file of two, of the demo's network."""
    path, rng, arrays = os.path.join(folder, "directions.npz"), np.random.RandomState(0), {}
    for name, layers in ("warm", range(8)), ("round", range(3)):
        vector = rng.randn(64).astype("float32")
        arrays |= {f"{name}.vector": vector / np.linalg.norm(vector),
                   f"{name}.sigma": np.float32(1.5), f"{name}.layers": np.isin(range(8), layers)}
    np.savez(path, **arrays)
    return path


def ask(port, address, method="GET", body=None, headers=None):
    """(status, headers, bytes)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=300)
    try:
        connection.request(method, address, body, {"Host": f"localhost:{port}"} | (headers or {}))
        answer = connection.getresponse()
        return answer.status, dict(answer.getheaders()), answer.read()
    finally:
        connection.close()
