"""The one thread that paints, and what waits for it.

Jittor computes in one thread, requests come in many. Each brings a piece of work and waits; of
those with the same key the newest counts, so that a slider is never behind the hand that moves it.
While nothing waits, a picture is projected, a step at a time.
"""
import collections
import io
import secrets
import threading
import time

import numpy as np
from PIL import Image

from backend.errors import UserError
from networks.config import num_layers
from page import view as views
from pictures import origin
from pictures.grid import make_grid, png, single
from pictures.projection import Projection, psnr
from weights import npz

WAITING, PATIENCE = 64, 120     # pieces of work at most, and seconds
PROJECTED, PROJECTING = 100, 8  # pictures at most that are kept, and that wait for their turn
SHOWN = 20                      # steps from one picture to the next
UNWATCHED = 180                 # seconds until it is given up; a hidden page asks once a minute
LOSSLESS, FILMED = 256, 512     # pixels of a side, at most


class Busy(Exception):
    """Too much waits already."""


class Superseded(Exception):
    """A newer request took the place of this one."""


class Work:
    def __init__(self, do):
        self.do, self.done = do, threading.Event()
        self.result = self.error = None

    def finish(self, result=None, error=None):
        self.result, self.error = result, error
        self.done.set()


class Projected:
    """A picture that is projected, or was. step: how many steps were made; psnr: of them, in dB."""

    def __init__(self, target, space, label):
        self.target, self.space, self.label = target, space, label
        self.projection = self.styles = self.noise = None
        self.step, self.psnr, self.failed, self.watched = 0, 0.0, None, time.monotonic()


class Studio:
    """painter: a pictures.painter.Painter; directions: {name: Direction}; steps: of a projection;
    made: {argument: value}, how the network came here, for what is downloaded (see origin.py).
    """

    def __init__(self, painter, directions, steps, made):
        self.painter, self.directions, self.steps, self.made = painter, directions, steps, made
        self.layers = num_layers(painter.size)
        self.waiting = collections.OrderedDict()        # {key: Work}
        self.awake = threading.Condition()
        self.projected = {}                             # {name: Projected}
        self.projecting = collections.deque()           # of them, those that are not done

    # What other threads call ---------------------------------------------------------------------

    def ask(self, key, do):
        """The result of do(), called in the painting thread. Raises Busy, Superseded, or what do()
        raises. key: of what it takes the place of, as long as that waits; None: of nothing."""
        work = Work(do)
        place = work if key is None else key
        with self.awake:
            older = self.waiting.pop(place, None)
            if len(self.waiting) >= WAITING:
                raise Busy
            self.waiting[place] = work
            self.awake.notify()
        if older:
            older.finish(error=Superseded())
        if not work.done.wait(PATIENCE):
            with self.awake:
                if self.waiting.get(place) is work:
                    del self.waiting[place]
            raise Busy
        if work.error:
            raise work.error
        return work.result

    def begin(self, target, space, label):
        """Project a picture [C, size, size]; the name under which it can be seen, that nobody can
        guess. Raises Busy where too many wait already."""
        with self.awake:
            if len(self.projecting) >= PROJECTING:
                raise Busy
            done = [name for name, one in self.projected.items() if one not in self.projecting]
            for name in done[:max(0, len(self.projected) - PROJECTED + 1)]:     # the oldest
                del self.projected[name]
            name = f"p{secrets.randbelow(10 ** 12)}"
            self.projected[name] = Projected(target, space, label)
            self.projecting.append(self.projected[name])
            self.awake.notify()
        return name

    # The painting thread -------------------------------------------------------------------------

    def work(self):
        """For ever: what waits, the oldest first; while nothing does, projections."""
        while True:
            with self.awake:
                if not self.waiting and not self.projecting:
                    self.awake.wait(1)
                _, work = self.waiting.popitem(last=False) if self.waiting else (None, None)
            if work:
                try:
                    work.finish(work.do())
                except Exception as error:      # of that request alone
                    work.finish(error=error)
            elif self.projecting:
                one = self.projecting[0]
                try:
                    self.step(one)
                except Exception as error:
                    one.failed = str(error).strip().split("\n")[0][:200] or type(error).__name__
                if one.failed or one.step == self.steps:
                    one.projection = None
                    self.projecting.popleft()

    def step(self, one):
        """One step of a projection, or its beginning."""
        painter = self.painter
        if time.monotonic() > one.watched + UNWATCHED:
            raise UserError("nobody watched it any more")
        if one.projection is None:
            one.projection = Projection(painter.generator, painter.size, painter.alpha, one.target,
                                        one.space, self.steps, None, 0, one.label)
        else:
            one.projection.step(one.step)
        step = one.step + (one.styles is not None)
        if step % SHOWN == 0 or step == self.steps:
            picture, styles, noise = one.projection.result(chunk=1)
            one.noise = [each.numpy() for each in noise]
            one.psnr, one.styles = float(psnr(picture, one.target)), styles
        one.step = step

    def styles_of(self, name):
        return getattr(self.projected.get(name), "styles", None)

    def styles(self, view):
        return views.styles(view, self.painter, self.directions, self.styles_of)

    def noise(self, view):
        """The maps [1, 1, h, h] of a View where they are its own, or None for the network's."""
        known = self.projected.get(view.seed)
        if view.noise == "const":
            return known.noise if known else None
        return self.painter.noise_of(view.seed if isinstance(view.seed, int) else 0, view.noise)

    def paint(self, styles, view):
        """float32 [C, size, size]."""
        return self.painter.paint(styles, noise=self.noise(view) or "const", chunk=1)[0]

    def small(self, view, side):
        """Bytes of a picture to look at, of at most `side` pixels: quick to make and to send."""
        picture, data = single(self.paint(self.styles(view), view)), io.BytesIO()
        if picture.width > side:
            picture = picture.resize((side, side), Image.LANCZOS)
        picture.save(data, "WEBP", quality=90, method=0, lossless=picture.width <= LOSSLESS)
        return data.getvalue()

    def png(self, view, text):
        return png(single(self.paint(self.styles(view), view)), self.made | {"explore": text})

    def npz(self, view, text):
        """A file for generate.py --w."""
        data, noise = io.BytesIO(), self.noise(view) or []
        npz.write(data, {"made": origin.text(self.made | {"explore": text}),
                         "w": self.styles(view)} |
                  {f"noise{i}": one for i, one in enumerate(noise)})
        return data.getvalue()

    def frame(self, first, last, t):
        """A PIL picture on the way from one View to another, for a film."""
        a, b = self.styles(first), self.styles(last)
        picture = make_grid(self.paint(a + np.float32(t) * (b - a), first)[None], 1)
        return picture if picture.width <= FILMED else picture.resize((FILMED, FILMED))
