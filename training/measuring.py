"""train.py --metrics: measures while it trains."""
import time

from backend.errors import UserError
from dataset import PictureFolder
from measures.evaluate import (
    CHUNK,
    LEAST_SIZE,
    Measure,
    Real,
    Stopped,
    evaluate,
    load_networks,
)


class DuringTraining:
    """train.py --metrics: measures now and then, in at most a share of the time.

    Nothing that it does reaches the training: each step seeds what is random in it, and the
    averaged generator is only read.
    """

    def __init__(self, s, started):
        self.wanted = set(s["metrics"].split(",")) if s["metrics"] else set()
        self.networks = load_networks(self.wanted, s["inception"], s["lpips"], s["features"])
        if self.networks[2]:
            self.networks[2].check(s["channels"])
        self.s, self.started, self.spent = s, started, 0.0
        self.cost = {}                          # seconds per picture, by size

    def measure(self, training, say, stopped):
        """{column: value} at this point, {} where there is no time for it."""
        s, phase = self.s, training.schedule.trained(training.images_seen)
        if not self.wanted_at(phase.size):
            return {}
        before = time.monotonic()
        try:
            folder = PictureFolder(s["data"], phase.size, known=training.known)
            count = min(s["metric_images"], len(folder))
            if phase.size not in self.cost:
                # A few pictures, twice: the first time compiles.
                few = min(count, 2 * CHUNK)
                for _ in range(2):
                    begin = time.monotonic()
                    self.run(training, phase, folder, few, stopped)
                    self.cost[phase.size] = (time.monotonic() - begin) / few
            self.spent += time.monotonic() - before
            before = time.monotonic()
            if self.cost[phase.size] * count > s["metric_share"] * (before - self.started) - \
                    self.spent:
                say(f"{training.images_seen:,} images: no metrics, which would take about "
                    f"{self.cost[phase.size] * count:.0f} s, more than --metric_share "
                    f"{s['metric_share']:g} of the time so far")
                return {}
            found = self.run(training, phase, folder, count, stopped)
            seconds = time.monotonic() - before
            self.cost[phase.size] = seconds / count
        except Stopped:
            return {}
        except UserError as error:              # the pictures are gone: the loop will save and say
            say(f"{training.images_seen:,} images: no metrics ({error})")
            return {}
        finally:
            self.spent += time.monotonic() - before
        say(f"{training.images_seen:,} images: " + ", ".join(
            f"{label} {value:.4g}" for column, label, value, *_ in found if column) +
            f" ({count:,} pictures of {phase.size}×{phase.size}, seed 0; {seconds:.0f} s)")
        return {column: value for column, _, value, *_ in found if column}

    def wanted_at(self, size):
        return {metric for metric in self.wanted if size >= LEAST_SIZE.get(metric, 0)}

    def run(self, training, phase, folder, count, stopped):
        network, perceptual, parts = self.networks
        measure = Measure(self.wanted_at(phase.size), 0, network, floors=False, parts=parts)
        return evaluate(measure, perceptual, training.G_ema, phase.size, phase.alpha,
                        Real(folder, training.config.channels, self.s["mirror"], 0), count,
                        stopped=stopped)
