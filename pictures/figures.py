"""The figures of generate.py, each as pictures in a grid: mixing, truncation, noise, ways."""
import numpy as np

from pictures.painter import at_once, between

# As figure 8 of Karras et al. 2018.
PSI = (1, 0.7, 0.5, 0, -0.5, -1)
DRAWS = 32                      # of the noise, for its effect


def samples(painter, seeds):
    return painter.paint(painter.styles(seeds), seeds)


def mixing(painter, rows, columns, layers):
    """[1 + rows, 1 + columns] pictures: sources along the top, targets down the side.

    Each picture inside is the target of its row with the styles `layers` of the source of its
    column (Karras et al. 2018, figure 3). rows, columns: seeds.
    """
    top, side = painter.styles(columns), painter.styles(rows)
    top_images, side_images = painter.paint(top, columns), painter.paint(side, rows)
    blank = np.ones_like(top_images[:1])
    grid = [blank, top_images]
    for row, seed in enumerate(rows):
        mixed = np.repeat(side[row:row + 1], len(top), 0)
        mixed[:, layers] = top[:, layers]
        grid += [side_images[row:row + 1], painter.paint(mixed, [seed] * len(top))]
    return np.concatenate(grid)


def interpolation(painter, rows, columns, seed, space):
    """Each row walks from the picture of one seed to that of the next."""
    ends = painter.latents(range(seed, seed + rows + 1))
    styles = between(painter, ends[:-1].repeat(columns, 0), ends[1:].repeat(columns, 0),
                     np.tile(np.linspace(0, 1, columns), rows), space)
    return painter.paint(styles, np.arange(seed, seed + rows).repeat(columns))


def classes(painter, seeds):
    """A row for each label, of the same seeds."""
    labels = range(painter.generator.config.labels)
    styles = np.concatenate([painter.styles_of(painter.latents(seeds, label)) for label in labels])
    return painter.paint(styles, [*seeds] * len(labels))


def truncation(painter, seeds):
    """[seeds, PSI]: towards the mean picture and out on its other side (figure 8)."""
    latents = painter.latents(seeds)
    styles = np.stack([painter.styles_of(latents, psi) for psi in PSI], 1)
    return painter.paint(styles.reshape(-1, *styles.shape[2:]), np.repeat(seeds, len(PSI)))


def along(painter, styles, seeds, direction, amounts):
    """[styles, amounts]: each of the styles [N, layers, dlatent] moved along a Direction."""
    moved = styles[:, None] + np.stack([direction.shift(amount) for amount in amounts])
    return painter.paint(moved.reshape(-1, *styles.shape[1:]), np.repeat(seeds, len(amounts)))


def there_and_back(painter, styles, seeds, direction, amounts, frames):
    """Yields, frame by frame, pictures [N, C, size, size] of a loop between two amounts."""
    first, last = amounts
    for t in np.arange(2 * frames) / (2 * frames):
        amount = first + (last - first) * (1 - np.cos(2 * np.pi * t)) / 2
        yield along(painter, styles, seeds, direction, [amount])


def noise_effect(painter, seeds):
    """[seeds, 5]: without noise, three draws of it, and how much 32 draws differ (figures 4, 5).

    The last column is the standard deviation over the draws, black for none, white for the most
    in the figure.
    """
    grid, deviations = [], []
    for styles in painter.styles(seeds):
        draws = painter.paint(np.repeat(styles[None], DRAWS, 0), noise="random")
        grid.append([painter.paint(styles[None], noise="none")[0], *draws[:3]])
        deviations.append(draws.std(0).mean(0, keepdims=True).repeat(draws.shape[1], 0))
    deviations = np.stack(deviations)
    deviations *= 2 / max(deviations.max(), 1e-12)
    deviations -= 1
    deviations[:, 3:] = 1               # opaque, where there are four channels
    return np.concatenate([[*row, deviation] for row, deviation in zip(grid, deviations)])


def walk(painter, keys, frames, space):
    """Yields, frame by frame, pictures [cells, C, size, size]: a seamless loop.

    keys: seeds [cells, stops]. Each cell goes from stop to stop and back to its first, `frames`
    frames each. Only a few frames are in memory.
    """
    keys = np.asarray(keys)
    cells, stops = keys.shape
    block = max(1, at_once(painter.size) // cells)
    for stop in range(stops):
        starts, ends = (painter.latents(keys[:, s % stops]) for s in (stop, stop + 1))
        for first in range(0, frames, block):
            times = np.arange(first, min(first + block, frames)) / frames
            count = len(times)
            styles = between(painter, np.tile(starts, (count, 1)), np.tile(ends, (count, 1)),
                             times.repeat(cells), space)
            images = painter.paint(styles, np.tile(keys[:, 0], count))
            yield from images.reshape(count, cells, *images.shape[1:])
