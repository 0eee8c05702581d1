"""Files that are never half-written, and what the system says of them as one line."""
import contextlib
import errno
import glob
import os
import shutil
import tempfile
import time

from backend.errors import UserError

STALE = 600                     # seconds
_unfinished = set()             # paths of files and folders that are half-written


@contextlib.contextmanager
def naming(path):
    """What the system refuses inside becomes one line that names `path`."""
    try:
        yield
    except OSError as error:
        reason = error.strerror or str(error).strip().partition("\n")[0]
        raise UserError(f"{path}: {reason}") from None


def with_name(path):
    """A folder's path with its name at the end, also of . and .."""
    path = os.path.normpath(path)
    return path if os.path.basename(path).strip(".") else os.path.abspath(path)


def make_folder(folder, flag="", advice="name another folder"):
    """Make `folder` where it is missing. Raises UserError where nothing can be written in it."""
    try:
        os.makedirs(folder, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
    except OSError as error:
        reason = "a file, wanted a folder" if isinstance(error, FileExistsError) else \
            f"cannot be written ({error.strerror})"
        raise UserError(f"{flag} {folder}: {reason}: {advice}".lstrip()) from None


@contextlib.contextmanager
def scratch_folder(path):
    """A folder for what is half-written, gone at the end; so is one that a killed run has left."""
    with naming(path):
        discard(path)
        os.makedirs(path)
    _unfinished.add(path)
    try:
        yield path
    finally:
        discard(path)
        _unfinished.discard(path)


def temporary_name(path, through=None):
    """Beside `path`, or in the folder `through`; `remove_leftovers` knows it."""
    name = f".{os.path.basename(path)}.{os.getpid()}.tmp"
    return os.path.join(through or os.path.dirname(os.path.abspath(path)), name)


def discard(path):
    """Remove a file, or a folder with all in it, where it is there and that can be done."""
    if os.path.isdir(path):
        shutil.rmtree(path, ignore_errors=True)
    else:
        with contextlib.suppress(OSError):
            os.remove(path)


@contextlib.contextmanager
def replacing(path, through=None):
    """Yields a binary file; on success it is on the disk and renamed to `path`, else it is gone.

    It is written in the folder `through` (default: beside `path`); from another file system, which
    a folder that is a link may be on, it is then copied beside `path`.
    """
    temporary = temporary_name(path, through)
    _unfinished.add(temporary)
    try:
        with open(temporary, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        try:
            os.replace(temporary, path)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            with open(temporary, "rb") as file, replacing(path) as copy:
                shutil.copyfileobj(file, copy)
            discard(temporary)
    except BaseException:
        discard(temporary)
        raise
    finally:
        _unfinished.discard(temporary)


def remove_unfinished():
    """What is half-written, for a process that ends at once."""
    for path in [*_unfinished]:
        discard(path)


def remove_leftovers(path):
    """What processes that were killed have left half-written beside `path`; what was written to
    lately may be another machine's."""
    folder, name = os.path.split(os.path.abspath(path))
    for leftover in glob.glob(os.path.join(glob.escape(folder), f".{glob.escape(name)}.*.tmp")):
        process = leftover.split(".")[-2]
        with contextlib.suppress(OSError):
            if process.isdecimal() and time.time() - os.path.getmtime(leftover) > STALE and \
                    not is_alive(int(process)):
                discard(leftover)


def is_alive(process):
    try:
        os.kill(process, 0)
    except OSError as error:
        return isinstance(error, PermissionError)
    except OverflowError:
        return False
    return True


def sync_folder(folder):
    """Bring the names in `folder` to the disk, where the system can."""
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
