"""FID, KID, precision and recall of two sets of features, [N, D] each, in NumPy."""
import numpy as np

from backend import streams

NEIGHBOURS = 3
SUBSETS, SUBSET = 100, 1000


def frechet_distance(a, b):
    """FID: between two normal distributions with the means and covariances of both sets.

    Heusel et al. 2017, equation 6: |m₁ − m₂|² + tr(C₁ + C₂ − 2 (C₁ C₂)^½). The trace of the root
    is that of (C₁^½ C₂ C₁^½)^½, which is symmetric: no complex numbers come up.
    """
    (mean_a, cov_a), (mean_b, cov_b) = (
        (x.mean(0), np.atleast_2d(np.cov(x, rowvar=False))) for x in (np.asarray(a, "float64"),
                                                                      np.asarray(b, "float64")))
    values, vectors = np.linalg.eigh(cov_a)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    products = np.linalg.eigvalsh(root @ cov_b @ root)
    trace = np.trace(cov_a) + np.trace(cov_b) - 2 * np.sqrt(np.maximum(products, 0)).sum()
    return float(((mean_a - mean_b) ** 2).sum() + trace)


def kernel_distance(a, b, seed=0, subsets=SUBSETS, subset=SUBSET):
    """KID: the mean over `subsets` random subsets of the unbiased squared MMD.

    Bińkowski et al. 2018, with the kernel (x · y / D + 1)³; independent of the number of pictures
    but for chance.
    """
    rng = streams.rng("subsets", seed)
    size = min(subset, len(a), len(b))
    total = 0.0
    for _ in range(subsets):
        x, y = (np.asarray(s[rng.choice(len(s), size, replace=False)], "float64") for s in (a, b))
        xx, yy, xy = ((p @ q.T / p.shape[1] + 1) ** 3 for p, q in ((x, x), (y, y), (x, y)))
        same = (xx.sum() - np.trace(xx) + yy.sum() - np.trace(yy)) / (size * (size - 1))
        total += same - 2 * xy.mean()
    return float(total / subsets)


def precision_recall(real, fake, neighbours=NEIGHBOURS):
    """(precision, recall): shares of one set that lie within the other.

    Kynkäänniemi et al. 2019: within a set is what is no farther from one of its points than that
    point's `neighbours`-th nearest neighbour in the set.
    """
    return within(real, fake, neighbours), within(fake, real, neighbours)


def within(points, others, neighbours, at_once=1000):
    """Share of `others` that lie within the set `points`."""
    neighbours = min(neighbours, len(points) - 1)
    radii = np.concatenate([
        np.partition(squared_distances(points[i:i + at_once], points), neighbours)[:, neighbours]
        for i in range(0, len(points), at_once)])       # 0th: the point itself
    inside = [(squared_distances(others[i:i + at_once], points) <= radii).any(1)
              for i in range(0, len(others), at_once)]
    return float(np.concatenate(inside).mean())


def squared_distances(a, b):
    a, b = (np.asarray(x, "float64") for x in (a, b))
    return np.maximum((a ** 2).sum(1)[:, None] + (b ** 2).sum(1) - 2 * a @ b.T, 0)
