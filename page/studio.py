"""The one thread that paints, and what waits for it.

Jittor computes in one thread, requests come in many. Each brings a piece of work and waits; of
those with the same key the newest counts, so that a slider is never behind the hand that moves it.
While nothing waits, a picture is projected, a step at a time.
"""
import collections
import io
import itertools
import threading

import numpy as np
from PIL import Image

from backend.errors import UserError
from networks.config import num_layers
from page import view as views
from pictures import origin
from pictures.grid import make_grid, png, single
from pictures.painter import random_noise
from pictures.projection import Projection, psnr
from weights import npz

WAITING, PATIENCE = 64, 120     # pieces of work at most, and seconds
PROJECTED = 100                 # pictures at most: each keeps its styles and noise
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


class Studio:
    """painter: a pictures.painter.Painter; directions: {name: Direction}; steps: of a projection.
    """

    def __init__(self, painter, directions, steps):
        self.painter, self.directions, self.steps = painter, directions, steps
        self.layers = num_layers(painter.size)
        self.waiting = collections.OrderedDict()        # {key: Work}
        self.awake, self.ended = threading.Condition(), False
        self.projected = {}                             # {name: {"styles", "noise", "steps", …}}
        self.projecting = collections.deque()           # [(name, Projection)]
        self.names = map("p{}".format, itertools.count(1))

    # What other threads call ---------------------------------------------------------------------

    def ask(self, key, do):
        """The result of do(), called in the painting thread. Raises Busy, Superseded, or what do()
        raises. key: of what it takes the place of, as long as that waits; None: of nothing."""
        work = Work(do)
        with self.awake:
            older = self.waiting.pop(key, None) if key is not None else None
            if len(self.waiting) >= WAITING:
                raise Busy
            self.waiting[work if key is None else key] = work
            self.awake.notify()
        if older:
            older.finish(error=Superseded())
        if not work.done.wait(PATIENCE):
            raise Busy
        if work.error:
            raise work.error
        return work.result

    def stop(self):
        with self.awake:
            self.ended = True
            self.awake.notify()

    # The painting thread -------------------------------------------------------------------------

    def work(self):
        """Until stop(): what waits, the oldest first; while nothing does, projections."""
        while not self.ended:
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
                try:
                    self.step()
                except RuntimeError as error:           # as for want of memory
                    name, _ = self.projecting.popleft()
                    self.projected[name] |= {"step": self.steps, "failed": str(error)[:200]}

    def styles(self, view):
        done = {name: one["styles"] for name, one in self.projected.items()}
        return views.styles(view, self.painter, self.directions, done)

    def image(self, view):
        """float32 [C, size, size]."""
        known = self.projected.get(view.seed)
        noise = known["noise"] if known and view.noise == "const" else view.noise
        seed = view.seed if isinstance(view.seed, int) else 0
        return self.painter.paint(self.styles(view), [seed], noise, chunk=1)[0]

    def small(self, view, side):
        """Bytes of a picture to look at, of at most `side` pixels: quick to make and to send."""
        picture, data = single(self.image(view)), io.BytesIO()
        if picture.width > side:
            picture = picture.resize((side, side), Image.LANCZOS)
        picture.save(data, "WEBP", quality=90, method=0, lossless=picture.width <= LOSSLESS)
        return data.getvalue()

    def png(self, view, text):
        return png(single(self.image(view)), self.made(text))

    def npz(self, view, text):
        """A file for generate.py --w."""
        known, data = self.projected.get(view.seed), io.BytesIO()
        noise = known["noise"] if known else []
        npz.write(data, {"made": origin.text(self.made(text)), "w": self.styles(view)} |
                  {f"noise{i}": one for i, one in enumerate(noise)})
        return data.getvalue()

    def made(self, text):
        return {"explore.py": text}

    def frame(self, first, last, t):
        """A PIL picture on the way from one View to another, for a film."""
        a, b = self.styles(first), self.styles(last)
        noise = first.noise
        if noise == "random":
            noise = random_noise([0], self.painter.size, self.painter.arch)
        picture = make_grid(self.painter.paint(a + np.float32(t) * (b - a), [0], noise, chunk=1), 1)
        return picture if picture.width <= FILMED else picture.resize((FILMED, FILMED))

    def begin(self, target, space, label):
        """Project a picture [C, size, size]; the name under which it can be seen."""
        if len(self.projected) >= PROJECTED:
            raise UserError(f"{PROJECTED} pictures are projected already: open the page anew")
        name, painter = next(self.names), self.painter
        projection = Projection(painter.generator, painter.size, painter.alpha, target, space,
                                self.steps, None, 0, label)
        self.projected[name] = {"step": 0, "psnr": 0.0}
        self.keep(name, projection)
        self.projecting.append((name, projection))
        return name

    def keep(self, name, projection):
        picture, styles, noise = projection.result()
        self.projected[name] |= {
            "styles": styles, "noise": [one.numpy() for one in noise],
            "psnr": float(psnr(picture, projection.target.numpy()[0]))}

    def step(self):
        name, projection = self.projecting[0]
        state = self.projected[name]
        projection.step(state["step"])
        state["step"] += 1
        if state["step"] % 20 == 0 or state["step"] == self.steps:
            self.keep(name, projection)
        if state["step"] == self.steps:
            self.projecting.popleft()
