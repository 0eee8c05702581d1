"""The files of a run: their names, who may write them, saving that survives a full disk, resuming.

`<name>_<images seen>.model` holds the averaged generator with w_avg, which is what generate.py
needs; further averages of it are in `<name>_<images seen>_ema<half-life>.model`.
`<name>_resume.model`, and the one before it, `<name>_resume.1.model`, hold all that training needs
to go on.
"""
import contextlib
import glob
import math
import os
import re
import shlex
import shutil
import sys

from backend import mpi
from backend.errors import UserError
from backend.files import sync_folder
from training import estimate
from weights import snapshot


def model_path(folder, name, images_seen):
    return os.path.join(folder, f"{name}_{images_seen:09d}.model")


def average_paths(model, ema_kimg):
    """{half-life: path} of all averages that are saved together: `model` is the first's."""
    first, *others = ema_kimg
    start = model.removesuffix(".model")
    return {first: model} | {kimg: f"{start}_ema{kimg:g}.model" for kimg in others}


def resume_path(folder, name):
    return os.path.join(folder, f"{name}_resume.model")


def previous_path(folder, name):
    return os.path.join(folder, f"{name}_resume.1.model")


def model_files(folder, name):
    """The generator files of run `name`, oldest first."""
    pattern = re.compile(re.escape(name) + r"_\d{9}\.model")
    return sorted(p for p in glob.glob(os.path.join(glob.escape(folder), "*.model"))
                  if pattern.fullmatch(os.path.basename(p)))


def names(folder):
    """The runs that can be gone on with, in order."""
    return sorted(os.path.basename(path)[:-len("_resume.model")] for path in
                  glob.glob(os.path.join(glob.escape(folder), "*_resume.model")))


# One writer ---------------------------------------------------------------------------------------


def lock(folder, name):
    """Become the only process that writes run `name`, until this one ends, however it ends.

    Returns what has to stay referenced, None where there is no `folder` to protect yet. Raises
    UserError when another process is the one. A lock of the system's, on a file that stays:
    nothing is left behind by a crash, and workers do not inherit it.
    """
    try:
        import fcntl
    except ImportError:                                 # not on this system
        return None
    if not os.path.isdir(folder):
        return None
    path = os.path.join(folder, f".{name}.lock")
    try:
        file = open(path, "a+")
    except OSError as error:
        raise UserError(f"{folder}: cannot be written ({error.strerror})") from None
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        file.seek(0)
        holder = file.read(100).strip() or "another process"
        raise UserError(f"the run {name} is being written by {holder}: stop that first, or type "
                        "--name OTHER for another run") from None
    except OSError as error:                            # some network file systems have no locks
        print(f"note: {path}: no lock ({error.strerror}); do not start this run twice",
              file=sys.stderr)
        return file
    file.truncate(0)
    file.write(f"process {os.getpid()} on {os.uname().nodename}\n")
    file.flush()
    return file


def remove_leftovers(folder, name):
    """Delete the unfinished files of a process that was killed. Only while holding the lock."""
    start = re.escape(name)
    unfinished = re.compile(rf"\.{start}_(resume|\d{{9}}(_ema[\d.e+-]+)?)\.model(\.new)?\.\d+\.tmp|"
                            rf"{start}_resume(\.1)?\.model\.new")
    for entry in os.listdir(folder):
        if unfinished.fullmatch(entry):
            with contextlib.suppress(OSError):
                os.remove(os.path.join(folder, entry))


# Saving -------------------------------------------------------------------------------------------


def save_resume(folder, name, header, arrays):
    """Write the resume file; the one there becomes the one before it. Never is there none."""
    path, previous = resume_path(folder, name), previous_path(folder, name)
    new = path + ".new"
    snapshot.save(new, header, arrays)
    if os.path.exists(path):
        try:
            with contextlib.suppress(FileNotFoundError):
                os.remove(previous + ".new")
            os.link(path, previous + ".new")
            os.replace(previous + ".new", previous)
        except OSError:                                 # a file system without links
            os.replace(path, previous)
    os.replace(new, path)
    sync_folder(folder)


class Saver:
    """Saves a run, and goes on when it cannot: the files before stay whole."""

    def __init__(self, folder, name, keep, say):
        self.folder, self.name, self.keep, self.say = folder, name, keep, say
        self.problem = None

    def save(self, training):
        """Write both files. Returns whether that went well; where not, says why.

        All processes have to call it, whose networks are equal; the first writes.
        """
        if mpi.SIZE > 1 and not mpi.same(training.checksum()):
            raise UserError("the networks of the processes are not equal any more; nothing was "
                            "saved: type --resume to go on from the last file")
        if not mpi.FIRST:
            return True
        header, arrays = training.state()
        path = model_path(self.folder, self.name, training.images_seen)
        with self.trying("training goes on, and the next save tries again"):
            os.makedirs(self.folder, exist_ok=True)     # it may have vanished
            for kimg, its_path in average_paths(path, training.averages).items():
                average = snapshot.network_part(arrays, training.prefix(kimg))
                snapshot.save(its_path, training.header() | {"ema_kimg": kimg},
                              {f"ema/{name}": array for name, array in average.items()})
            save_resume(self.folder, self.name, header, arrays)
            for old in model_files(self.folder, self.name)[:-self.keep] if self.keep else []:
                for its_path in average_paths(old, training.averages).values():
                    with contextlib.suppress(FileNotFoundError):
                        os.remove(its_path)
        return self.problem is None

    @contextlib.contextmanager
    def trying(self, consequence):
        """What is inside may fail for want of space or rights; that is said, and no more."""
        self.problem = None
        try:
            yield
        except OSError as error:
            self.problem = f"{error.filename or self.folder}: {error.strerror or error}"
            self.say(f"warning: {self.problem}; what was saved before is whole; {consequence}")

    def save_at_the_end(self, training):
        """Raises UserError where it cannot."""
        if not self.save(training):
            last = newest(self.folder, self.name)
            raise UserError(f"the end of the run could not be saved ({self.problem}); the last "
                            f"whole file is {last or 'none'}: make room, then type --resume")


def check_space(folder, s, config):
    """Say before the first step when the files of a run will not fit into `folder`.

    s: its settings. Raises UserError where not even one save would fit.
    """
    resume, generator = estimate.file_bytes(config, len(s["ema_kimg"]))
    count = s["keep"] or math.ceil(s["kimg"] / s["save_kimg"])
    need, least = 3 * resume + (count + 1) * generator, 2 * resume + generator
    models = [path for model in model_files(folder, s["name"])
              for path in average_paths(model, s["ema_kimg"]).values()]
    own = [*models, resume_path(folder, s["name"]), previous_path(folder, s["name"])]
    free = shutil.disk_usage(folder).free + sum(os.path.getsize(p) for p in own
                                                if os.path.exists(p))
    found = f"{folder}: {free / 2 ** 30:.2f} GiB are free"
    if free < least:
        raise UserError(f"{found}, one save of this run needs {least / 2 ** 30:.2f}: make room")
    if free < need:
        print(f"warning: {found}, the files of this run will need about {need / 2 ** 30:.2f}: "
              "make room, or type a smaller --keep", file=sys.stderr)


# Resuming -----------------------------------------------------------------------------------------


def newest(folder, name):
    """Path of the newest resume file that is whole, or None."""
    for path in resume_path(folder, name), previous_path(folder, name):
        with contextlib.suppress(UserError):
            snapshot.load(path)
            return path
    return None


def set_aside_damaged(folder, name, used):
    """Where a run goes on from the file before the newest, the newest is damaged, and must not take
    the place of that one with the next save: it is given another name."""
    path = resume_path(folder, name)
    if used == previous_path(folder, name) and os.path.exists(path):
        os.replace(path, f"{path}.damaged")


def load_resume(folder, name):
    """(header, arrays, path) of the newest resume file that is whole, or None where there is none.

    A damaged one is named on the terminal, and the one before it used. Raises UserError where there
    is one, but none that is whole.
    """
    problem = None
    for path in resume_path(folder, name), previous_path(folder, name):
        if os.path.exists(path):
            try:
                header, arrays = snapshot.load(path)
            except UserError as error:
                problem = problem or error
                continue
            if problem:
                print(f"warning: {problem}: going on from {path}, "
                      f"{header['images_seen']:,} images seen", file=sys.stderr)
            return header, arrays, path
    if problem:
        advice = "".join(f"; to begin another with its generator, type --init {shlex.quote(path)} "
                         "--name OTHER" for path in model_files(folder, name)[-1:])
        raise UserError(f"{problem}, and there is no whole one before it: the run cannot go on"
                        + advice)
    return None
