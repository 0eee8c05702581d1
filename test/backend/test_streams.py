"""streams.py: what is drawn at random, and that no two purposes draw the same."""
import itertools

import numpy as np
from small_runs import in_process

from backend import streams
from training.iteration import Training


def test_no_two_purposes_or_places_share_their_numbers():
    places = [(), (0,), (0, 0), (1,), (1, 0), (0, 1), (2,), (2, 0), (2 ** 32 - 1,)]
    first = [streams.rng(purpose, seed, *place).random()
             for purpose, seed, place in itertools.product(streams.PURPOSES, (0, 1, 2), places)]
    assert len(set(first)) == len(first)
    assert streams.rng("step", 7, 3).random() == streams.rng("step", 7, 3).random()
    assert len(set(streams.PURPOSES.values())) == len(streams.PURPOSES)


def test_every_seed_begins_with_weights_of_its_own(symbols):
    found = [Training(*in_process(symbols, seed=seed)).state_of_networks() for seed in (0, 1, 2, 0)]
    weights = [name for name in found[0] if name.endswith("weight") and "noise" not in name]
    for name in weights:
        if not name.startswith("ema"):
            assert all((one[name] != other[name]).all()
                       for one, other in itertools.combinations(found[:3], 2))
        assert (found[0][name] == found[3][name]).all()
    # N(0, 1), and N(0, 100²) where the layers' own multiplier is 0.01.
    mapping = np.concatenate([found[0][n].ravel() for n in weights if "r/mapping" in n])
    others = np.concatenate([found[0][n].ravel() for n in weights if "mapping" not in n])
    assert abs(mapping.std() / 100 - 1) < 0.05 and abs(others.std() - 1) < 0.05
    G, D = (np.concatenate([a.ravel()[:50] for n, a in found[0].items() if n in weights
                            and n.startswith(network) and "mapping" not in n])
            for network in ("generator", "discriminator"))
    count = min(len(G), len(D))
    assert abs(np.corrcoef(G[:count], D[:count])[0, 1]) < 0.2
