"""What the commands share: arguments, one-line errors with exit code 2, stopping."""
import argparse
import contextlib
import difflib
import os
import re
import select
import shlex
import signal
import sys
import time
import traceback

import backend
from backend import mpi, signals
from backend.errors import UserError
from backend.files import with_name
from networks.config import power_of_two

MOST_SEED = 2 ** 30             # with the numbers added to it, below 2^32


class Parser(argparse.ArgumentParser):
    """Prints the description as it is written, and an error as one line.

    A flag has to be written out: half of one is answered with the whole.
    """

    def __init__(self, **options):
        super().__init__(formatter_class=argparse.RawDescriptionHelpFormatter, allow_abbrev=False,
                         **options)
        self._negative_number_matcher = re.compile(r"^-[\d.][\d.,eE+-]*$")     # -3,3 is no flag

    def parse_args(self, args=None, namespace=None):
        args = sys.argv[1:] if args is None else args
        flags = [name for action in self._actions for name in action.option_strings]
        if "--" in args:
            namespace, unknown = self.parse_known_args(args, namespace)
        else:
            for word in args:
                if re.match(r"-[^\d.]", word) and word not in flags and os.path.exists(word):
                    self.error(f"{word}: a name that begins with a dash: type "
                               f"{shlex.quote(os.path.join('.', word))}")
            # Intermixed: also IN --flag OUT.
            namespace, unknown = self.parse_known_intermixed_args(args, namespace)
        unknown = [word for word in unknown if word != "--"]
        for word in sorted(unknown, key=lambda word: not word.startswith("-")):
            flag = word.split("=")[0]
            if flag in flags:
                self.error(f"{flag}: behind --, where no flags are: type it before that")
            if word.startswith("-"):
                self.error(f"{flag}: no such flag" + did_you_mean(flag, flags))
            self.error(f"{word}: one word too many (a name with spaces wants quotes)")
        return namespace

    def _check_value(self, action, value):
        if action.choices is not None and value not in action.choices:
            choices = [*map(str, action.choices)]
            raise argparse.ArgumentError(action, not_one_of(str(value), choices))

    def _get_value(self, action, text):
        try:
            return super()._get_value(action, text)
        except argparse.ArgumentError as error:
            if isinstance(error.__context__, argparse.ArgumentTypeError):    # says it already
                raise
            wanted = {int: "a whole number", float: "a number"}.get(action.type) or \
                action.type.__name__
            raise argparse.ArgumentError(action, f"found {text or 'nothing'}, wanted {wanted}") \
                from None

    def error(self, message):
        gap = " " if message.endswith("?") else "; "
        raise UserError(f"{message.removeprefix('argument ')}{gap}{self.prog} --help lists the "
                        "flags")


def did_you_mean(typed, names):
    """The end of a message about `typed`: which of `names` begin with it, hold it, or are near."""
    word = typed.lstrip("-").replace("-", "_")
    plain = {name.lstrip("-"): name for name in names}
    near = [name for name in names if name.lstrip("-").startswith(word)] or \
        [name for name in names if len(word) > 2 and word in name] or \
        [plain[name] for name in difflib.get_close_matches(word, plain, 1)]
    return f"; did you mean {' or '.join(near[:3])}?" if near else ""


def not_one_of(typed, names):
    return f"found {typed}, wanted one of {', '.join(names)}" + did_you_mean(typed, names)


def names_argument(text, names):
    """For an argparse type: `text` where it is a list such as a,b of `names`."""
    for name in text.split(","):
        if name not in names:
            raise argparse.ArgumentTypeError(not_one_of(name, names))
    return text


def run(main, parallel=False):
    """Call `main` and end the process: errors a user can cause are one line and exit code 2.

    parallel: whether it may run under mpirun. Only the first process prints then, but for errors.
    """
    if not mpi.FIRST:
        sys.stdout = sys.stderr = open(os.devnull, "w")
    for stream in sys.stdout, sys.stderr:       # names of files may be of any bytes
        if hasattr(stream, "reconfigure"):      # it may be closed, or a notebook's
            stream.reconfigure(errors="backslashreplace")
    try:
        mpi.check_launcher()
        if mpi.SIZE > 1 and not parallel:
            raise UserError(f"{os.path.basename(sys.argv[0])} is for one process: leave mpirun out")
        code = main()
    except UserError as error:
        end(2, f"error: {error}")
    except KeyboardInterrupt:
        end(130, "\nstopped")
    except Exception as error:
        if isinstance(error, BrokenPipeError) and reader_left():
            os._exit(141)       # as the shell says of a program that SIGPIPE ended
        if compiler_failed(error):
            end(2, f"error: {COMPILER_FAILED}")
        if mpi.SIZE == 1:
            raise
        end(1, traceback.format_exc().rstrip())
    sys.exit(code)


def reader_left():
    """Whether nobody reads what is printed any more, as of `train.py … | head`."""
    poll = select.poll()
    poll.register(sys.__stdout__, 0)
    return any(event & select.POLLERR for _, event in poll.poll(0))


COMPILER_FAILED = ("a compiler that Jittor started was killed or failed, and a kernel is missing "
                   "(what it said is above; where it was killed, look for want of memory)")


def compiler_failed(error):
    return isinstance(error, RuntimeError) and "Run cmd failed" in str(error)


def end(code, message):
    """Print the message and leave; under mpirun that ends the other processes too."""
    if mpi.SIZE == 1:
        print(message, file=sys.stderr)
        sys.exit(code)
    if not mpi.FIRST:
        time.sleep(5)           # the first may say the same, and mpirun ends this one within 3 s
    print(message + mpi.who(), file=sys.__stderr__, flush=True)
    os._exit(code)              # a regular end would wait for the others


def size_argument(text):
    """argparse type: a power of two from 4 to 1024."""
    size = power_of_two(text)
    if size is None or size > 1024:
        raise ValueError
    return size


size_argument.__name__ = "a power of two from 4 to 1024"


def picture_size(out, size):
    """Size in pixels for pictures in a folder `out`: its name, or --size, or 128."""
    out = with_name(out)
    name = os.path.basename(out)
    named = power_of_two(name)
    if name.isdigit() and not named and not size:
        raise UserError(f"{out}: found a folder for pictures of {name}, wanted a power of two, "
                        f"such as {shlex.quote(os.path.join(os.path.dirname(out), '128'))}")
    if named and size and named != size:
        raise UserError(f"--size {size}, but the folder {out} is for pictures of {named}: "
                        f"type {shlex.quote(os.path.join(os.path.dirname(out), str(size)))}")
    if named and named > 1024:
        raise UserError(f"{out}: wanted a folder for pictures of 4 to 1024, such as "
                        f"{shlex.quote(os.path.join(os.path.dirname(out), '1024'))}")
    return size or named or 128


def numbers_argument(text):
    """argparse type: "0-35,85" → [0, 1, …, 35, 85]."""
    numbers = []
    for part in text.split(","):
        ends = [int(number) for number in part.split("-")]
        some = range(ends[0], ends[-1] + 1)
        if len(ends) > 2 or not some or some.stop > 2 ** 32 or len(some) > 10 ** 7:
            raise ValueError
        numbers.extend(some)
    return numbers


numbers_argument.__name__ = \
    "a list of at most 10,000,000 numbers below 2^32 such as 0-35,85, of a range the smaller first"


class StopSignals:
    """Ctrl-C, SIGTERM, SIGUSR1, a closed terminal and --max_minutes ask for a stop after the
    iteration; a second signal stops at once, but for that of a closed terminal."""

    def __init__(self, started, max_minutes):
        self.end = started + 60 * max_minutes
        self.first = None               # (number, time) of the first signal
        self.terminals = [fd for fd in (1, 2) if os.isatty(fd)]
        signals.handle_with(self.receive)

    def asked(self):
        return bool(self.first) or time.monotonic() > self.end

    def receive(self, number, _frame):
        if number == signal.SIGHUP:                     # nothing can be written there any more
            nowhere = os.open(os.devnull, os.O_WRONLY)
            for fd in self.terminals:
                os.dup2(nowhere, fd)
        if self.first:
            # timeout and shells send one to the process and one to its group, and the system, where
            # a session ends, SIGTERM and SIGHUP in any order.
            first, at = self.first
            if number == signal.SIGHUP or time.monotonic() < at + 1 and (
                    number == first or (first, number) == (signal.SIGHUP, signal.SIGTERM)):
                return
            os._exit(128 + number)
        self.first = number, time.monotonic()
        # Not print: the main thread may be in the middle of one. Nobody may be there to read it.
        with contextlib.suppress(OSError):
            os.write(sys.stderr.fileno(), "\nStopping after this iteration …\n".encode())


def add_device_arguments(parser):
    parser.add_argument("--device", choices=["auto", "cpu", "cuda"],
                        default=parser.argument_default or "auto",      # train.py's has one
                        help="where to compute (default: auto, CUDA where there is a GPU)")
    parser.add_argument("--cuda_home", metavar="FOLDER", help="the CUDA toolkit to use (default: "
                        "the first that fits the driver, of $CUDA_HOME, nvcc on the path, "
                        "/usr/local/cuda and pip's; python -m backend shows it)")


def add_out_arguments(parser):
    parser.add_argument("--out", metavar="FOLDER", help="for what is written, made if missing "
                        "(default sample/<checkpoint's name>)")
    parser.add_argument("--overwrite", action="store_true", help="replace files there that were "
                        "made with other settings or weights (default: end with a line that says "
                        "which, before anything is painted)")


def bring_up(device, cuda_home=None, amp=False):
    """Jittor for `device`, with --amp's convolutions where it has them. Raises BackendError where
    something is missing for it."""
    backend.use_device(device, cuda_home)
    backend.use_amp(amp)
    with signals.shielded():
        jt = backend.jt
    if amp and not jt.flags.use_cuda and not backend.has_amx:
        print("note: --amp: found no GPU and no AMX with Winograd's convolutions, all of it is "
              "float32", file=sys.stderr)
    return jt
