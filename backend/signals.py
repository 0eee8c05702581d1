"""Keeps Ctrl-C, a closed terminal and a polite kill away from Jittor's compilers, and has helper
processes end with the one that they help.

A terminal, and `kill` of a process group, signal every process of the group; a compiler that dies
of it is a failed kernel for Jittor, in the middle of a step. So the process ignores these signals,
which all processes that it starts inherit and no shell between can undo, and blocks them, for then
Linux keeps them all the same until one thread, which does nothing else, takes them. A thread that
does not block them would lose them; where there is one, as Open MPI's are, all stays as Python has
it. A Ctrl-C in the very moment in which os.system begins or ends may be lost too: C ignores that
signal anew there, which drops one that is not yet taken.
"""
import collections
import concurrent.futures
import contextlib
import ctypes
import functools
import itertools
import multiprocessing
import os
import re
import signal
import sys
import threading
from multiprocessing import resource_tracker

from backend import files, mpi
from backend.errors import UserError

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGHUP", "SIGTERM", "SIGUSR1")
           if hasattr(signal, name)]
# Jittor itself ends its helpers with SIGTERM while it starts.
WHILE_JITTOR_STARTS = SIGNALS[:2]
AHEAD = 64                      # chunks of work that helpers are given before they are asked for
_handle = _taker = None
_interrupted = False


@contextlib.contextmanager
def shielded():
    """Inside, Jittor is brought up: Ctrl-C and a closed terminal end the process with one word.
    From then on `handle_with` says what signals do; until it does, Ctrl-C raises KeyboardInterrupt
    in the main thread and the others end the process."""
    global _taker
    if _taker or mpi.SIZE > 1 or not sys.platform.startswith("linux"):
        yield
        return
    ignored = {number for number in SIGNALS if signal.getsignal(number) == signal.SIG_IGN}
    ready, started = threading.Event(), threading.Event()

    def stop_if_asked():
        if found := signal.sigpending() & set(WHILE_JITTOR_STARTS) - ignored:
            say("stopped")
            os._exit(128 + min(found))

    def take():
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        ready.set()
        # Not sigtimedwait: where a compiler ends (SIGCHLD) in the moment in which its time is up,
        # Python says that some signal came, of which all is made up.
        while not started.wait(0.1):
            stop_if_asked()
        if not _taker:
            return
        # A command that was started with nohup outlives its terminal.
        taken = {n for n in SIGNALS if n != signal.SIGHUP or n not in ignored}
        while True:
            number = signal.sigwait(taken)
            (_handle or end_or_interrupt)(number, None)

    end_idle_threads()
    signal.pthread_sigmask(signal.SIG_BLOCK, WHILE_JITTOR_STARTS)
    _taker = threading.Thread(target=take, daemon=True)
    _taker.start()
    ready.wait()
    try:
        yield
    finally:
        stop_if_asked()
        resource_tracker.ensure_running()       # later it would undo what comes now
        end_idle_threads()
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        if all_threads_block():
            stop_if_asked()                     # what waits is lost where it is ignored anew
            for number in SIGNALS:
                signal.signal(number, signal.SIG_IGN)
        else:
            _taker = None
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
        started.set()


def end_idle_threads():
    """OpenBLAS has made some for NumPy before, which block nothing: it ends them at a fork, and
    makes new ones where it needs them."""
    if child := os.fork():
        os.waitpid(child, 0)
    else:
        os._exit(0)


def all_threads_block():
    """But for the one that takes them, which waits for some."""
    wanted = sum(1 << number - 1 for number in SIGNALS)
    for thread in set(os.listdir("/proc/self/task")) - {str(_taker.native_id)}:
        with contextlib.suppress(OSError), open(f"/proc/self/task/{thread}/status") as file:
            if int(re.search(r"SigBlk:\s*(\w+)", file.read())[1], 16) & wanted != wanted:
                return False
    return True


def say(text):
    with contextlib.suppress(OSError):          # nobody may be there to read it
        os.write(sys.__stderr__.fileno(), f"\n{text}\n".encode())


def end_or_interrupt(number, _frame):
    global _interrupted
    if number != signal.SIGINT or _interrupted:
        files.remove_unfinished()
        os._exit(128 + number)
    _interrupted = True
    say("Stopping as soon as Jittor lets go …")
    main = threading.main_thread().ident
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(main),
                                               ctypes.py_object(KeyboardInterrupt))


def start_worker(parent):
    """At the start of a process that helps another: it leaves the signals of a terminal to its
    parent, and dies with it."""
    os.setpgrp()                            # a group of its own gets none of them
    signal.signal(signal.SIGINT, signal.SIG_IGN)        # nor one that came before
    signal.signal(signal.SIGTERM, signal.SIG_DFL)       # its parent may ignore and block it
    signal.pthread_sigmask(signal.SIG_SETMASK, ())
    set_parent_death_signal = 1
    try:
        ctypes.CDLL(None).prctl(set_parent_death_signal, signal.SIGKILL)
    except (OSError, AttributeError):       # not Linux
        return
    if os.getppid() != parent:              # it died before
        os._exit(1)


def usual():
    """At the start of another program: it is told to end as any program is."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


@contextlib.contextmanager
def helpers(count):
    """Processes that help: a function `each(function, items, chunksize)` that yields function(item)
    in the order of `items`, a list. SIGTERM and a closed terminal, as Ctrl-C does, leave the block,
    and the helpers end what they are at. Raises UserError where one of them was killed."""
    def leave(number, _frame):
        raise SystemExit(128 + number)

    before = {number: signal.signal(number, leave) for number in (signal.SIGTERM, signal.SIGHUP)
              if signal.getsignal(number) != signal.SIG_IGN}
    # spawn: nothing of this process is shared, nor are its signal handlers inherited.
    executor = concurrent.futures.ProcessPoolExecutor(
        count, multiprocessing.get_context("spawn"), start_worker, (os.getpid(),))
    try:
        yield functools.partial(results, executor)
        executor.shutdown()
    except concurrent.futures.BrokenExecutor:
        raise UserError("a helper process was killed, for want of memory for instance: type the "
                        f"same again, with --workers {max(1, count // 2)}") from None
    finally:
        executor.shutdown(cancel_futures=True)
        for number, handler in before.items():
            signal.signal(number, handler)


def results(executor, function, items, chunksize):
    # Not executor.map, which cancels what is left after an error: where Python 3.11 finds a
    # helper dead just then, it waits for ever.
    waiting, chunks = collections.deque(), iter(range(0, len(items), chunksize))
    while True:
        for i in itertools.islice(chunks, AHEAD - len(waiting)):    # not all: results take memory
            with without_interrupt():       # which a helper that starts here would print
                waiting.append(executor.submit(call_with_each, function, items[i:i + chunksize]))
        if not waiting:
            return
        yield from waiting.popleft().result()


@contextlib.contextmanager
def without_interrupt():
    """Ctrl-C comes after the block, and processes that start in it do not get it until
    `start_worker`."""
    before = signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)


def call_with_each(function, items):
    return [function(item) for item in items]


def handle_with(function):
    """Call function(number, None) for each signal, in whatever thread."""
    global _handle
    _handle = function
    if not _taker:
        for number in SIGNALS:
            if number != getattr(signal, "SIGHUP", None) or \
                    signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, function)
                signal.siginterrupt(number, False)      # nor Jittor, where it waits for a lock
