"""swd.py against the definitions of the paper, written out in float64."""
import re

import numpy as np
import pytest
from conftest import command

from measures import swd

KERNEL = np.outer([1, 4, 6, 4, 1], [1, 4, 6, 4, 1]) / 256


def mirrored(i, length):
    """Index i of a row that goes on as its own mirror picture, the border pixel not repeated."""
    i = abs(i)
    return i if i < length else 2 * (length - 1) - i


def filtered(plane):
    height, width = plane.shape
    result = np.zeros((height, width))
    for y, x, dy, dx in np.ndindex(height, width, 5, 5):
        result[y, x] += KERNEL[dy, dx] * plane[mirrored(y + dy - 2, height),
                                               mirrored(x + dx - 2, width)]
    return result


def reference_pyramid(plane):
    """{size: level} of one float64 plane."""
    smaller = filtered(plane)[::2, ::2]
    sparse = np.zeros_like(plane)
    sparse[::2, ::2] = smaller
    return plane - 4 * filtered(sparse), smaller


def pictures(seed, count=3, size=32, channels=3):
    return np.random.RandomState(seed).randn(count, channels, size, size).astype("float32")


def test_the_pyramid_is_that_of_burt_and_adelson():
    images = pictures(0, count=2)
    found = swd.laplacian_pyramid(images)
    assert list(found) == [32, 16]
    for n, c in np.ndindex(2, 3):
        detail, smaller = reference_pyramid(images[n, c].astype("float64"))
        assert np.abs(found[32][n, c] - detail).max() < 1e-5
        assert np.abs(found[16][n, c] - smaller).max() < 1e-5


def test_the_pyramid_ends_at_16():
    assert swd.levels(1024) == [1024, 512, 256, 128, 64, 32, 16]
    assert swd.levels(16) == [16] and swd.levels(8) == [8]


def test_patches_are_pieces_of_their_picture_from_border_to_border():
    # Every pixel says where it is.
    y, x = np.mgrid[:16, :16]
    images = np.stack([np.stack([y, x, 0 * y + n]) for n in range(3)]).astype("float32")
    found = swd.patches(images, [np.random.default_rng(n) for n in range(3)])
    assert found.shape == (3 * 128, 3, 7, 7)
    assert (found[:, 2] == np.repeat(np.arange(3), 128)[:, None, None]).all()
    top, left = found[:, 0, 0, 0], found[:, 1, 0, 0]
    assert (found[:, 0] == top[:, None, None] + np.arange(7)[:, None]).all()
    assert (found[:, 1] == left[:, None, None] + np.arange(7)).all()
    assert {top.min(), left.min()} == {0} and {top.max(), left.max()} == {9}


def test_descriptors_do_not_depend_on_how_pictures_are_divided_and_are_normalised():
    images = pictures(1, count=6) * np.array([1, 5, 9], "float32")[:, None, None] + 3
    whole, divided = swd.Descriptors(), swd.Descriptors()
    whole.add(images)
    for part in (images[:1], images[1:4], images[4:]):
        divided.add(part)
    assert whole.count == divided.count == 6
    for size in (32, 16):
        level = whole.level(size)
        assert (level == divided.level(size)).all() and level.shape == (6 * 128, 3 * 49)
        each = level.reshape(-1, 3, 49)
        assert np.abs(each.mean((0, 2))).max() < 1e-5 and np.abs(each.std((0, 2)) - 1).max() < 1e-5


def reference_distance(a, b, directions):
    total = 0.0
    for direction in directions.T.astype("float64"):
        one, other = sorted(a @ direction), sorted(b @ direction)
        total += sum(abs(p - q) for p, q in zip(one, other)) / len(a)
    return total / directions.shape[1]


def test_the_distance_is_that_of_sorted_projections():
    rng = np.random.RandomState(2)
    a, b = rng.randn(40, 9).astype("float32"), 0.5 * rng.randn(40, 9).astype("float32")
    directions = np.random.default_rng(7).standard_normal((9, 48)).astype("float32")
    directions /= np.linalg.norm(directions, axis=0)
    found = swd.sliced_wasserstein(a, b, np.random.default_rng(7), projections=48)
    assert found == pytest.approx(reference_distance(a, b, directions), rel=1e-5)


def test_a_shift_by_one_has_the_distance_of_its_projections():
    """Moving all points by a vector moves every projection by its part of it."""
    points = np.random.RandomState(3).randn(200, 2).astype("float32")
    found = swd.sliced_wasserstein(points, points + np.array([1, 0], "float32"),
                                   np.random.default_rng(0), projections=4096)
    assert found == pytest.approx(2 / np.pi, rel=0.02)          # the mean of |cos|


def test_equal_sets_are_near_and_others_far():
    def gathered(seed, change=lambda x: x):
        descriptors = swd.Descriptors(seed)
        descriptors.add(change(smooth_pictures(seed)))
        return descriptors

    def smooth_pictures(seed):
        return swd.smooth(swd.smooth(pictures(seed, count=64)))

    def noisy(x):
        return x + 0.3 * pictures(9, count=64)

    real = gathered(0)
    assert swd.distance(real, gathered(0))["mean"] == 0
    near, far = swd.distance(real, gathered(1)), swd.distance(real, gathered(1, noisy))
    # The noise is in the details: the level of 32 shows it, that of 16 much less.
    assert far[32] > 3 * near[32] and far[16] < 1.2 * near[16]
    assert near["mean"] == pytest.approx((near[32] + near[16]) / 2)
    with pytest.raises(ValueError, match="64 pictures beside 3"):
        few = swd.Descriptors()
        few.add(pictures(4))
        swd.distance(real, few)


def test_sets_that_are_compared_are_cut_at_other_places():
    y, x = np.mgrid[:16, :16]
    where = np.stack([np.stack([y, x])] * 3).astype("float32")      # every pixel says where it is
    one, same, other = (swd.Descriptors(0, which) for which in (0, 0, 1))
    for descriptors in one, same, other:
        descriptors.add(where)
    corners = [descriptors.parts[16][0][:, :, 0, 0] for descriptors in (one, same, other)]
    assert (corners[0] == corners[1]).all() and (corners[0] != corners[2]).any(1).mean() > 0.9


def test_some_of_a_set_are_as_if_they_had_come_alone():
    images = pictures(5, count=6)
    whole, alone = swd.Descriptors(), swd.Descriptors()
    whole.add(images[:2])
    whole.add(images[2:])
    alone.add(images[:2])
    found = whole.some(0, 2)
    assert found.count == 2 and list(found.parts) == [32, 16]
    for size in found.parts:
        assert (found.level(size) == alone.level(size)).all()
    assert (np.concatenate(whole.some(2, 6).parts[16]) == whole.parts[16][1]).all()


def test_metrics_tells_a_trained_generator_from_a_fresh_one(symbols, tmp_path):
    """On the command line, with real pictures; the same numbers for the same seed."""
    flags = ["--batch", 8, "--latent", 16, "--fmap_max", 16, "--device", "cpu", "--workers", 1,
             "--init_size", 16, "--max_size", 16, "--sample_kimg", 9, "--lr", 0.006, "--gamma", 1,
             "--ema_kimg", 0.2]
    for name, kimg in (("fresh", 0.008), ("trained", 6)):
        command("train.py", symbols, *flags, "--name", name, "--kimg", kimg, cwd=tmp_path)
    means = {}
    for name, images in (("fresh", 8), ("trained", 6000)):
        path = f"checkpoint/{name}_{images:09d}.model"
        code, output, _ = command("metrics.py", path, symbols, "--images", 40, cwd=tmp_path)
        assert code == 0 and "40 pictures, seed 0" in output
        means[name] = float(re.search(r"mean +(\S+)", output).group(1))
    assert means["trained"] < 0.7 * means["fresh"]
    assert command("metrics.py", path, symbols, "--images", 40, cwd=tmp_path)[1] == output
