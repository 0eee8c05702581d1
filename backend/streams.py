"""Random numbers: every purpose has a stream of its own, which depends on nothing but the seed, the
purpose and the place in it. So what is drawn for one thing never moves what is drawn for another,
and a resumed run needs no generator's state.
"""
import numpy as np

# A number says which; it is never given to another purpose.
PURPOSES = {"order": 1, "mirror": 2, "step": 3, "grid": 4, "weights": 5, "noise": 6, "path": 7,
            "projection": 8, "patches": 9, "projections": 10, "subsets": 11, "parts": 12,
            "attributes": 13, "augment": 14, "label": 15}
VERSION = 2                     # stored with a run; 1 was [seed, purpose, place], which could meet


def rng(purpose, seed, *place):
    """The np.random.Generator of a purpose at a place: whole numbers from 0 to below 2³².

    NumPy's own way of parting one seed: unlike those of a list, streams of (2) and (2, 0) differ.
    """
    return np.random.default_rng(
        np.random.SeedSequence(seed, spawn_key=(PURPOSES[purpose], *map(int, place))))
