"""adam.py against the formula in float64."""
import numpy as np

from adam import Adam
from backend import jt


def test_updates_are_those_of_the_paper():
    rng = np.random.RandomState(0)
    start, target = rng.randn(3, 4), rng.randn(3, 4)
    p = jt.array(start.astype("float32"))
    adam = Adam({"p": p}, lr=0.1, betas=(0.5, 0.9))
    x, m, v = start.copy(), 0, 0
    for t in range(1, 8):
        adam.step(((p - jt.array(target.astype("float32"))) ** 2).sum())
        g = 2 * (x - target)
        m, v = 0.5 * m + 0.5 * g, 0.9 * v + 0.1 * g * g
        x = x - 0.1 * (m / (1 - 0.5 ** t)) / (np.sqrt(v / (1 - 0.9 ** t)) + 1e-8)
        assert np.abs(p.numpy() - x).max() < 1e-5


def test_with_beta1_zero_the_first_step_is_the_learning_rate():
    p = jt.array(np.array([[5.0, -3.0]], "float32"))
    Adam({"p": p}, lr=0.25).step((p * jt.array(np.array([[1e-3, 40]], "float32"))).sum())
    assert np.allclose(p.numpy(), [[4.75, -3.25]], atol=1e-4)


def test_state_goes_on_where_it_stopped():
    def run(adam, p, count):
        for _ in range(count):
            adam.step((p * p * p).sum())

    start = np.random.RandomState(1).rand(5).astype("float32")
    p = jt.array(start)
    run(Adam({"p": p}, 0.01), p, 6)
    q = jt.array(start)
    first = Adam({"p": q}, 0.01)
    run(first, q, 3)
    second = Adam({"p": q}, 0.01)
    second.restore(first.steps, first.state("a"), "a")
    run(second, q, 3)
    assert (p.numpy() == q.numpy()).all()
