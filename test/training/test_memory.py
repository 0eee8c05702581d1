"""What training holds in memory."""
import re

import numpy as np
import pytest
from conftest import without_gpu
from small_runs import train_on

from backend import jt
from backend.parameters import move
from train import make_training
from training import recipes, settings


def held():
    """{id: (address, bytes)} of all Vars that have memory, four bytes a number here."""
    found = {}
    for node in jt.dump_all_graphs().nodes_info:
        var = re.match(r"Var\((\d+):.*,([0-9a-f]+)\)\[([\d,]*)\]$", node)
        if var and var[2] != "0":
            sides = [int(side) for side in var[3].split(",") if side]
            found[var[1]] = var[2], 4 * int(np.prod(sides))
    return found


@without_gpu
@pytest.mark.parametrize("arch", ["stylegan1", "stylegan2"])
@pytest.mark.parametrize("waits", [True, False])
@pytest.mark.parametrize("changes", [
    {"augment": "ada"}, {"loss": "relativistic", "share_fakes": True, "pl_weight": 0.0},
    {"grad_accum": 2}])
def test_between_iterations_nothing_is_held_but_the_state(
        symbols, monkeypatch, arch, waits, changes):
    """No gradients, no weights of before, nothing that only a graph needs. Without `waits` a step
    is kept or taken back by an operator, as on a GPU."""
    if not waits:
        monkeypatch.setattr("training.adam.keep", lambda new, old, sound: move(
            old, [v.detach() for v in new], sound))
    before = held()
    s = recipes.recipe(arch, "official", 16) | dict(
        data=symbols, name="x", batch="8", latent=16, fmap_max=8, init_size=16, max_size=16)
    s |= changes
    settings.check(s)
    training = make_training(s, settings.make_schedule(s), settings.model_config(s), None, None)
    step, measured = training.step, []                  # which a run has until it writes them
    training.step = lambda *batch: measured.append(step(*batch)) or measured[-1]
    train_on(training, 3)
    now = sum(dict(own for var, own in held().items() if var not in before).values())
    state = sum(array.nbytes for array in training.state()[1].values())
    assert 0.9 * state < now < 1.1 * state
