"""The address of a picture: what it says is what is painted, and nothing else is believed."""
import numpy as np
import pytest
from explored import DEMO

from backend.errors import UserError
from page import view
from pictures.directions import Direction
from pictures.painter import Painter
from weights import snapshot


@pytest.fixture(scope="module")
def painter():
    header, arrays = snapshot.load_any(DEMO)
    return Painter(header, arrays, DEMO, truncation_psi=0.7)


def test_an_address_says_seed_mixes_truncation_noise_and_directions():
    found = view.parse("seed=7&mix=12:0-3,p2:5&psi=-0.5&noise=none&go=a.b:1.5,c:-2", layers=8)
    assert found == view.View(7, ((12, (0, 1, 2, 3)), ("p2", (5,))), -0.5, "none", None,
                              (("a.b", 1.5), ("c", -2.0)))
    assert view.parse("", layers=8) == view.View()
    assert view.parse("label=3", layers=8, labels=4).label == 3


@pytest.mark.parametrize("text", [
    "seed=x", "seed=-1", "seed=4294967296", "seed=p", "seed=p1234567890123", "mix=1:0-8",
    "mix=1:3-2",
    "mix=1", "mix=:1", "psi=nan", "psi=inf", "psi=9", "psi=", "noise=loud", "label=4", "label=-1",
    "go=a", "go=a:x", "go=a:1e9", "go=" + ",".join(["a:1"] * 65), "seed=" + "1" * 5000,
    "seed=\u0661"])
def test_what_an_address_cannot_mean_is_one_line(text):
    with pytest.raises(UserError) as error:
        view.parse(text, layers=8, labels=4)
    assert "wanted" in str(error.value) and len(str(error.value)) < 150


def test_styles_are_those_of_the_painter_mixed_and_moved(painter):
    rng = np.random.RandomState(1)
    go = Direction("a", rng.randn(64).astype("float32"), 2.0, np.arange(8) < 4)
    own = rng.randn(1, 8, 64).astype("float32")
    seven, twelve = painter.styles_of(painter.latents([7, 12]), 0.3)
    found = view.styles(view.parse("seed=7&mix=12:2-3,p1:6&psi=0.3&go=a:-1.5", 8), painter,
                        {"a": go}, {"p1": own}.get)
    expected = seven.copy()
    expected[2:4], expected[6] = twelve[2:4], own[0, 6]
    expected[:4] -= 3 * go.vector
    assert np.allclose(found[0], expected, atol=1e-5)
    for text in "seed=p9", "go=b:1":
        with pytest.raises(UserError):
            view.styles(view.parse(text, 8), painter, {"a": go}, {}.get)
