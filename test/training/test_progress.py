"""What train.py says while it runs."""
import types

import numpy as np
import pytest

from training import progress
from training.schedule import Schedule


@pytest.mark.parametrize("seconds", [0.5, 40])
def test_the_bar_knows_the_speed_of_slow_steps_too_and_leaves_out_those_that_compile(monkeypatch,
                                                                                    seconds):
    clock = [0.0]
    monkeypatch.setattr(progress.time, "time", lambda: clock[0])
    monkeypatch.setattr(progress.ProgressBar, "cost", lambda self, size: size ** 2)
    schedule = Schedule(8, 8, batch={8: 16}, lr={8: 1})
    training = types.SimpleNamespace(images_seen=0, schedule=schedule, skipped=np.float64(0))
    measured = dict(loss_D=np.float64(1), loss_G=np.float64(2))
    with progress.ProgressBar(training) as bar:
        for compiling in 200, 90, 0, 0, 150, 0:
            clock[0] += seconds + compiling
            training.images_seen += 16
            bar.step(schedule.at(0), measured)
        assert bar.rate(schedule.at(0)) == pytest.approx(16 / seconds)
        assert f"{16 / seconds:.1f} img/s" in bar.bar.postfix
