"""lpips.py: distances and their gradient against PyTorch's (golden/lpips.npz, random weights)."""
import os

import numpy as np
import pytest
from conftest import ROOT
from measure_weights import lpips_weights

from backend import jt
from backend.errors import UserError
from measures import lpips


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    path = tmp_path_factory.mktemp("lpips") / "weights.npz"
    np.savez(path, **lpips_weights())
    return lpips.LPIPS(str(path))


def test_distance_and_gradient_are_pytorchs(network):
    golden = np.load(os.path.join(ROOT, "test/golden/lpips.npz"))
    a, b = jt.array(golden["a"]), jt.array(golden["b"])
    features = network.features(a), network.features(b)
    for part in range(5):
        only = [[f * (i == part) for i, f in enumerate(side)] for side in features]
        assert network.distance(*only).numpy() == pytest.approx(golden["parts"][part], rel=1e-4)
    distance = network.distance(*features)
    assert distance.numpy() == pytest.approx(golden["distance"], rel=1e-4)
    gradient = jt.grad(distance.sum(), a).numpy()
    assert np.abs(gradient - golden["gradient"]).max() < 1e-4 * np.abs(golden["gradient"]).max()


def test_equal_pictures_have_no_distance_and_grey_ones_are_rgb(network):
    grey = jt.array(np.random.RandomState(0).uniform(-1, 1, (2, 1, 16, 16)).astype("float32"))
    rgb = jt.concat([grey, grey, grey], 1)
    assert (network.distance(network.features(grey), network.features(rgb)).numpy() == 0).all()


def test_another_file_is_one_line_that_says_where_to_get_it(tmp_path):
    (tmp_path / "x.pth").write_bytes(b"hello")
    with pytest.raises(UserError, match="x.pth.*lpips.LPIPS"):
        lpips.LPIPS(str(tmp_path / "x.pth"))
