"""What the page shows, as the text in its address, and the styles that paint it.

    seed=7&mix=12:0-3,9:8-9&psi=0.7&noise=const&label=2&go=pca1:1.5

A picture of seed 7, layers 0 to 3 of which have the styles of seed 12, at that truncation, moved
1.5 standard deviations along a direction. Where a projected picture is meant, its number stands
instead of a seed: seed=p1.
"""
import re
import urllib.parse
from typing import NamedTuple

import numpy as np

from backend.errors import UserError
from pictures.painter import NOISES

LONGEST, MOST = 4000, 64        # characters of an address, mixes and directions in it
PSI, AMOUNT = 2.0, 30.0         # at most, either way


class View(NamedTuple):
    """seed: a number, or the name of a projected picture; mix: ((seed, layers), …); go: ((name of a
    direction, amount), …)."""

    seed: object = 0
    mix: tuple = ()
    psi: float = 0.7
    noise: str = "const"
    label: object = None
    go: tuple = ()


def parse(text, layers, labels=0):
    """The View that a query says, for a network of so many layers and labels. Raises UserError."""
    if len(text) > LONGEST:
        raise UserError(f"address: found {len(text)} characters, wanted at most {LONGEST}")
    said = dict(urllib.parse.parse_qsl(text, keep_blank_values=True))
    view = View(seed=seed(said.get("seed", "0")), psi=number("psi", said.get("psi", "0.7"), PSI),
                noise=said.get("noise", "const"))
    if view.noise not in NOISES:
        raise UserError(f"noise: found {view.noise[:20]!r}, wanted one of {', '.join(NOISES)}")
    mix = [part.rpartition(":") for part in filter(None, said.get("mix", "").split(","))]
    go = [part.rpartition(":") for part in filter(None, said.get("go", "").split(","))]
    if len(mix) > MOST or len(go) > MOST:
        raise UserError(f"address: found {max(len(mix), len(go))} changes, wanted at most {MOST}")
    return view._replace(
        mix=tuple((seed(one), span(part, layers)) for one, _, part in mix),
        go=tuple((name, number("go", amount, AMOUNT)) for name, _, amount in go),
        label=label(said.get("label", ""), labels))


def seed(text):
    if re.fullmatch(r"p[0-9]{1,12}", text):
        return text
    if not re.fullmatch(r"[0-9]{1,10}", text) or int(text) >= 2 ** 32:
        raise UserError(f"seed: found {text[:20]!r}, wanted a whole number below 2^32")
    return int(text)


def number(name, text, most):
    try:
        value = float(text)
    except ValueError:
        value = np.inf
    if not -most <= value <= most:
        raise UserError(f"{name}: found {text[:20]!r}, wanted a number from {-most:g} to {most:g}")
    return value


def span(text, layers):
    """"4-7" → (4, 5, 6, 7)."""
    found = re.fullmatch(r"([0-9]{1,2})(?:-([0-9]{1,2}))?", text)
    first, last = (int(found[1]), int(found[2] or found[1])) if found else (0, -1)
    if not first <= last < layers:
        raise UserError(f"mix: found layers {text[:20]!r}, wanted such as 0-3, up to {layers - 1}")
    return tuple(range(first, last + 1))


def label(text, labels):
    if not text or not labels:
        return None
    if not re.fullmatch(r"[0-9]{1,6}", text) or int(text) >= labels:
        raise UserError(f"label: found {text[:20]!r}, wanted a number from 0 to {labels - 1}")
    return int(text)


def styles(view, painter, directions, projected):
    """float32 [1, layers, dlatent], truncated and moved; what was projected is not truncated.
    projected: gives the styles [1, layers, dlatent] of a name, or None. Raises UserError where a
    direction or projected picture is not known."""
    def of(one):
        if not isinstance(one, str):
            return painter.styles_of(painter.latents([one], view.label), view.psi)
        found = projected(one)
        if found is None:
            raise UserError(f"seed: found {one}, and no picture of that name was projected here")
        return found

    w = of(view.seed).copy()
    for one, layers in view.mix:
        w[:, list(layers)] = of(one)[:, list(layers)]
    for name, amount in view.go:
        if name not in directions:
            raise UserError(f"go: found {name[:40]!r}, wanted a direction of this page")
        w = w + directions[name].shift(amount)
    return w
