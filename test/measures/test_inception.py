"""inception.py: every block against PyTorch's (golden/inception.npz, random weights of a seed)."""
import os

import numpy as np
import pytest
from conftest import ROOT
from measure_weights import inception_pictures, inception_weights

from backend.errors import UserError
from measures import inception


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("inception") / "weights.npz"
    np.savez(path, **inception_weights())
    return str(path)


def test_every_block_is_pytorchs(weights):
    golden = np.load(os.path.join(ROOT, "test/golden/inception.npz"))
    found = {}
    features = inception.Inception(weights).features(
        inception_pictures(), lambda name, x: found.setdefault(name, x.numpy()))
    assert list(found) == [name for name in golden.files if name != "features"]
    for name, array in found.items():
        channels, height, mean, deviation = golden[name][:4]
        assert array.shape == (2, channels, height, height)
        some = array.reshape(-1)[np.random.RandomState(1).randint(0, array.size, 200)]
        assert np.abs(some - golden[name][4:]).max() < 2e-5 * np.abs(golden[name][4:]).max(), name
        assert array.mean() == pytest.approx(mean, rel=1e-5)
        assert array.std() == pytest.approx(deviation, rel=1e-5)
    assert features.shape == (2, 2048)
    assert np.abs(features[:, ::8] - golden["features"]).max() < 2e-5 * features.max()


def test_grey_pictures_are_taken_as_rgb(weights):
    grey = inception_pictures()[:, :1]
    network = inception.Inception(weights)
    assert (network.features(grey) == network.features(grey.repeat(3, 1))).all()


def test_another_file_is_one_line_that_says_what_is_wanted(tmp_path):
    path = tmp_path / "w.npz"
    np.savez(path, x=np.ones(3))
    with pytest.raises(UserError) as error:
        inception.Inception(str(path))
    assert "w.npz" in str(error.value) and "pytorch-fid" in str(error.value)
    assert "Conv2d_1a_3x3.conv.weight is missing" in str(error.value)
    path.write_bytes(b"hello")
    with pytest.raises(UserError, match="pytorch-fid"):
        inception.Inception(str(path))
