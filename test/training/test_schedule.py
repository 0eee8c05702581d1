"""schedule.py: the table at phase borders, and the derived rates."""
import pytest

from training import schedule
from training.schedule import Schedule, ema_beta, gradient_scale, lazy, parse_table

REFERENCE = Schedule(init_size=8, max_size=64)


@pytest.mark.parametrize("images, size, alpha, fading", [
    (0, 8, 1.0, False),
    (599_999, 8, 1.0, False),
    (600_000, 16, 0.0, True),               # a size begins with the first batch at its border
    (900_000, 16, 0.5, True),
    (1_199_999, 16, 599_999 / 600_000, True),
    (1_200_000, 16, 1.0, False),
    (1_799_999, 16, 1.0, False),
    (1_800_000, 32, 0.0, True),
    (2_400_000, 32, 1.0, False),
    (3_000_000, 64, 0.0, True),
    (3_600_000, 64, 1.0, False),
    (24_999_999, 64, 1.0, False),           # the last size goes on to the end
])
def test_size_and_alpha_at_the_borders(images, size, alpha, fading):
    phase = REFERENCE.at(images)
    assert (phase.size, phase.fading) == (size, fading)
    assert phase.alpha == pytest.approx(alpha)


def test_batch_and_learning_rate_follow_the_size():
    table = Schedule(init_size=8, max_size=1024)
    found = [(p.batch, p.lr) for p in (table.at(table.border(s)) for s in table.sizes)]
    assert found == [(128, 1e-3), (128, 1e-3), (64, 1e-3), (32, 1e-3), (16, 1.5e-3), (8, 2e-3),
                     (4, 3e-3), (4, 3e-3)]
    assert table.total_images == 25_000_000


def test_adam_restarts_at_a_new_size_and_at_the_end_of_its_fade():
    epochs = [REFERENCE.at(n).optimizer_epoch for n in range(0, 3_700_000, 50_000)]
    changes = [i * 50 for i in range(1, len(epochs)) if epochs[i] != epochs[i - 1]]
    assert changes == [600, 1200, 1800, 2400, 3000, 3600]


def test_without_a_fade_new_sizes_start_at_full_strength():
    assert Schedule(8, 16, fade_kimg=0).at(600_000).alpha == 1.0


def test_a_single_size_never_fades():
    assert Schedule(32, 32).at(10 ** 9).alpha == 1.0


@pytest.mark.parametrize("batch", [4, 32, 128])
def test_ema_half_life_is_in_images_whatever_the_batch(batch):
    weight = 1.0
    for _ in range(10_000 // batch):
        weight *= ema_beta(batch, ema_kimg=10)
    assert weight == pytest.approx(0.5, rel=0.01)
    assert ema_beta(batch, 0) == 0


def test_gradients_are_those_of_the_enlarged_image():
    assert gradient_scale(8, 128, "official") == 1 / 16
    assert gradient_scale(128, 128, "official") == 1
    assert gradient_scale(8, 128, "port") == 1


@pytest.mark.parametrize("table", [
    Schedule(8, 64), Schedule(8, 32, fade_kimg=0.03, phase_kimg=0.06, batch={8: 8, 16: 16, 32: 4}),
    Schedule(8, 32, fade_kimg=0.001, phase_kimg=0.001, batch={8: 8, 16: 16, 32: 4}),
    Schedule(16, 32, fade_kimg=0.05, phase_kimg=0.03, batch={16: 8, 32: 8}, init_alpha=0.3)])
def test_what_was_trained_last_is_what_the_last_batch_began_with(table):
    images, last = 0, table.at(0)
    assert table.trained(0) == last
    while images < (5_000_000 if table.phase_kimg > 1 else 400):
        last = table.at(images)
        for seen in {1, last.batch // 2, last.batch}:
            assert table.trained(images + seen) == last
        images += last.batch


def test_weights_in_mid_fade_end_their_fade_first():
    table = Schedule(16, 32, fade_kimg=100, phase_kimg=50, init_alpha=0.25)
    found = [(table.at(n).size, table.at(n).alpha) for n in (0, 50_000, 75_000, 124_999, 125_000)]
    assert found == [(16, 0.25), (16, 0.75), (16, 1.0), (16, 1.0), (32, 0.0)]
    assert table.border(32) == 125_000 and table.at(0).fading and not table.at(75_000).fading


def test_a_lazy_penalty_is_as_strong_on_average():
    # Sizes may begin at any number of images, and every step of theirs counts as one.
    for first in (0, 48, 1000):
        weights = [lazy(10, first + 16 * step, 16, 4) for step in range(8)]
        assert sum(weights) == 80 and sorted(weights) == [0] * 6 + [40] * 2
    assert lazy(10, 12345, 16, 1) == 10


def test_tables_on_the_command_line():
    assert parse_table("24", "--batch", schedule.BATCH)[512] == 24
    table = parse_table("8:64,16:32", "--batch", schedule.BATCH)
    assert (table[8], table[16], table[32]) == (64, 32, 64)
    for wrong in ("x", "8:", "9:16", "0", "8:16;16:8"):
        with pytest.raises(ValueError, match="--batch"):
            parse_table(wrong, "--batch", schedule.BATCH)
