"""Generators with random weights, and the pictures in their grids."""
import numpy as np

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
