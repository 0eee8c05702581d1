"""The same steps of training in one process and in several."""
import itertools
import json
import os
import shutil
import subprocess
import sys

import numpy as np
import pytest
from conftest import ROOT

needs_mpirun = pytest.mark.skipif(
    not shutil.which("mpirun") or not shutil.which("mpicc"),
    reason="no Open MPI here: apt-get install openmpi-bin libopenmpi-dev")
MPIRUN = ["mpirun", "--allow-run-as-root", "--oversubscribe"]
TINY = ["--batch", 16, "--latent", 16, "--fmap_max", 8, "--device", "cpu", "--workers", 0]

PHASES = {"size 8": [0, 16, 32, 48], "fading to 16": [64, 80, 96, 112], "size 16": [128, 144, 160],
          "fading to 32": [192, 208, 224, 240], "size 32": [256, 272, 288]}


def take_steps(symbols, out, changes, permute=0, launcher=(), timeout=300, **environment):
    """What test/steps.py finds at every phase, with changes of settings, in another order."""
    result = subprocess.run(
        [*launcher, sys.executable, os.path.join(ROOT, "test/steps.py"), symbols, f"{out}.npz",
         json.dumps(changes), str(permute), *(str(i) for i in itertools.chain(*PHASES.values()))],
        capture_output=True, text=True, timeout=timeout,
        env=os.environ | {"PYTHONPATH": f"{ROOT}:{ROOT}/test"} | environment)
    assert result.returncode == 0, result.stderr
    return dict(np.load(f"{out}.npz"))


def gradient_errors(found, wanted):
    """{phase and network: [largest difference ÷ largest value, of each iteration]}."""
    result = {}
    for phase, positions in PHASES.items():
        for network in "DG":
            for images_seen in positions:
                names = [n for n in wanted if n.startswith(f"{images_seen}/{network}/")]
                result.setdefault(f"{phase} {network}", []).append(
                    max(np.abs(found[n] - wanted[n]).max() for n in names)
                    / max(np.abs(wanted[n]).max() for n in names))
    for phase, errors in result.items():
        print(phase, *(f"{error:.1e}" for error in errors))
    return result
