"""adam.py against the formula in float64, and steps that are taken back."""
import numpy as np
import pytest

from backend import jt
from training.adam import Adam


def step(adam, loss):
    sound, _ = adam.propose(*adam.gradients([loss]))
    adam.commit(sound)
    return sound.item()


def test_updates_are_those_of_the_paper():
    rng = np.random.RandomState(0)
    start, target = rng.randn(3, 4), rng.randn(3, 4)
    p = jt.array(start.astype("float32"))
    adam = Adam({"p": p}, lr=0.1)
    x, v = start.copy(), 0
    for t in range(1, 8):
        step(adam, ((p - jt.array(target.astype("float32"))) ** 2).sum())
        g = 2 * (x - target)                            # with β₁ = 0 the first moment
        v = 0.99 * v + 0.01 * g * g
        x = x - 0.1 * g / (np.sqrt(v / (1 - 0.99 ** t)) + 1e-8)
        assert np.abs(p.numpy() - x).max() < 1e-5


def test_the_first_step_is_the_learning_rate():
    p = jt.array(np.array([[5.0, -3.0]], "float32"))
    step(Adam({"p": p}, lr=0.25), (p * jt.array(np.array([[1e-3, 40]], "float32"))).sum())
    assert np.allclose(p.numpy(), [[4.75, -3.25]], atol=1e-4)


def test_state_goes_on_where_it_stopped():
    def run(adam, p, count):
        for _ in range(count):
            step(adam, (p * p * p).sum())

    start = np.random.RandomState(1).rand(5).astype("float32")
    p = jt.array(start)
    run(Adam({"p": p}, 0.01), p, 6)
    q = jt.array(start)
    first = Adam({"p": q}, 0.01)
    run(first, q, 3)
    second = Adam({"p": q}, 0.01)
    second.restore(first.state("a"), "a")
    run(second, q, 3)
    assert (p.numpy() == q.numpy()).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("where", ["loss", "one gradient"])
def test_a_step_that_is_not_finite_leaves_everything_as_it_was(bad, where):
    p, q = (jt.array(np.random.RandomState(i).rand(4).astype("float32")) for i in (0, 1))
    adam = Adam({"p": p, "q": q}, 0.01)
    assert step(adam, (p * p).sum() + (q * q).sum()) == 1
    before = adam.state("a") | {"p": p.numpy(), "q": q.numpy()}
    poison = jt.array(np.array([bad, 1, 1, 1], "float32"))
    loss = (p * p).sum() + (q * poison if where == "one gradient" else q * q).sum()
    if where == "loss":
        loss = loss + poison[:1].sum()
    assert step(adam, loss) == 0
    after = adam.state("a") | {"p": p.numpy(), "q": q.numpy()}
    assert all((before[name] == after[name]).all() for name in before)
    assert step(adam, (p * p).sum() + (q * q).sum()) == 1
    assert adam.steps.item() == 2 and np.isfinite(p.numpy()).all()
    assert (p.numpy() != before["p"]).all() and (q.numpy() != before["q"]).all()


@pytest.mark.parametrize("count", [1, 5, 70_000])
@pytest.mark.parametrize("value, finite", [(0, 1), (3e38, 1), (-1e-45, 1), (np.nan, 0),
                                           (-np.nan, 0), (np.inf, 0), (-np.inf, 0)])
def test_numbers_that_are_none_are_found_anywhere(count, value, finite):
    x = np.random.RandomState(2).randn(count).astype("float32")
    x[count // 2] = value
    p, q = jt.ones(3, 4), jt.ones(count)
    adam = Adam({"p": p, "q": q}, 0.1)
    sound, _ = adam.propose(*adam.gradients([p.sum(), (q * jt.array(x)).sum()]))
    assert sound.item() == finite
