"""How fast a convolution runs here."""
import time

import numpy as np


def conv_gflops(jt, batch=8, channels=256, size=32, repeats=10):
    """Speed of a 3×3 convolution in GFLOP/s, counted as a direct convolution (median)."""
    from backend.kernels import best_form, conv2d, winograd
    x, w = jt.randn(batch, channels, size, size), jt.randn(channels, channels, 3, 3)
    as_winograd = best_form("same", w) == "winograd"
    seconds = []
    for _ in range(repeats):
        jt.sync_all(True)
        start = time.perf_counter()
        (winograd(x, w, "same") if as_winograd else conv2d(x, w, padding=1)).sync()
        jt.sync_all(True)
        seconds.append(time.perf_counter() - start)
    return 2 * batch * channels ** 2 * 9 * size ** 2 / np.median(seconds) / 1e9
