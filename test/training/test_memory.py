"""What training holds in memory."""
import re

import numpy as np
import pytest
from conftest import without_gpu
from small_runs import train_on

from backend import jt
from train import make_training
from training import recipes, settings


def held():
    """{address: bytes} of all Vars' memory."""
    found = {}
    for node in jt.dump_all_graphs().nodes_info:
        var = re.match(r"Var\(.*,([0-9a-f]+)\)\[([\d,]*)\]$", node)
        if var and var[1] != "0":
            sides = [int(side) for side in var[2].split(",") if side]
            found[var[1]] = max(4 * int(np.prod(sides)), found.get(var[1], 0))
    return found


@without_gpu
@pytest.mark.parametrize("arch, changes", [
    ("stylegan1", {"augment": "ada"}), ("stylegan1", {"loss": "relativistic", "share_fakes": True}),
    ("stylegan2", {"augment": "ada"}), ("stylegan2", {"loss": "relativistic", "pl_weight": 0.0})])
def test_between_iterations_nothing_is_held_but_the_state(symbols, arch, changes):
    """No gradients, no weights of before, nothing that only a graph needs."""
    before = held()
    s = recipes.recipe(arch, "official", 16) | dict(
        data=symbols, name="x", batch="8", latent=16, fmap_max=8, init_size=16, max_size=16)
    s |= changes
    settings.check(s)
    training = make_training(s, settings.make_schedule(s), settings.model_config(s), None, None)
    step, measured = training.step, []                  # which a run has until it writes them
    training.step = lambda *batch: measured.append(step(*batch)) or measured[-1]
    train_on(training, 3)
    now = sum(size for address, size in held().items() if address not in before)
    assert now < 1.1 * sum(array.nbytes for array in training.state()[1].values())
