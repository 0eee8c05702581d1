"""Generators with random weights, what generate.py makes of them, and the pictures in its grids."""
import os

import numpy as np
from PIL import Image

import generate
from networks.shapes import generator_shapes
from weights import snapshot


def save_random(path, config, **header):
    """Random weights, so that every layer, noise, label and psi shows in the pictures."""
    rng = np.random.RandomState(0)
    arrays = {f"ema/{name}": rng.standard_normal(shape).astype("float32") *
              (100 if name.startswith("mapping.layers") and "weight" in name else 0.3)
              for name, shape in generator_shapes(config).items()}
    snapshot.save(str(path), {"images_seen": 0, "size": config.size, "alpha": 1.0,
                              "model": vars(config)} | header, arrays)


def cells(grid, cell=64):
    """[rows, columns, 16, 16, 3] of a grid whose pictures of 16 are painted four times as large."""
    rows, columns = (grid.shape[0] + 2) // (cell + 2), (grid.shape[1] + 2) // (cell + 2)
    assert grid.shape == (rows * (cell + 2) - 2, columns * (cell + 2) - 2, 3)
    return np.stack([[grid[r * (cell + 2):][:cell:cell // 16, c * (cell + 2):][:, :cell:cell // 16]
                      for c in range(columns)] for r in range(rows)])


def generating(weights, out, capsys):
    """make(flags…) → {file name: uint8 array or path} of what generate.py writes; make.told: what
    it said on the side."""
    def make(*flags):
        assert generate.main([str(weights), "--out", str(out), "--overwrite",
                              *map(str, flags)]) == 0
        printed = capsys.readouterr()
        make.told = printed.err
        names = [os.path.basename(line.strip()) for line in printed.out.splitlines()[1:]]
        return {name: np.asarray(Image.open(out / name)) if name.endswith("png") else out / name
                for name in names}
    return make


def singles(made):
    """[n, H, W, C]: the PNGs of what was made."""
    return np.stack([picture for name, picture in made.items() if name.endswith("png")])
