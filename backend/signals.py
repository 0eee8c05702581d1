"""Keeps Ctrl-C, a closed terminal and a polite kill away from Jittor's compilers.

A terminal, and `kill` of a process group, signal every process of the group; a compiler that dies
of it is a failed kernel for Jittor, in the middle of a step. So the process ignores these signals,
which all processes that it starts inherit and no shell between can undo, and blocks them, for then
Linux keeps them all the same until one thread, which does nothing else, takes them.
"""
import contextlib
import ctypes
import os
import signal
import sys
import threading
from multiprocessing import resource_tracker

SIGNALS = [getattr(signal, name) for name in ("SIGINT", "SIGHUP", "SIGTERM", "SIGUSR1")
           if hasattr(signal, name)]
# Jittor itself ends its helpers with SIGTERM while it starts.
WHILE_JITTOR_STARTS = SIGNALS[:2]
_handle = _taker = None


@contextlib.contextmanager
def shielded():
    """Inside, Jittor is brought up: Ctrl-C and a closed terminal end the process with one word.
    From then on `handle_with` says what signals do; until it does, Ctrl-C raises KeyboardInterrupt
    in the main thread and the others end the process."""
    global _taker
    if _taker or not sys.platform.startswith("linux"):
        yield
        return
    ignored = {number for number in SIGNALS if signal.getsignal(number) == signal.SIG_IGN}
    started = threading.Event()

    def take():
        while not started.is_set():
            if found := signal.sigtimedwait(set(WHILE_JITTOR_STARTS) - ignored, 0.2):
                os.write(sys.__stderr__.fileno(), b"\nstopped\n")
                os._exit(128 + found.si_signo)
        # A command that was started with nohup outlives its terminal.
        taken = {n for n in SIGNALS if n != signal.SIGHUP or n not in ignored}
        while True:
            number = signal.sigwait(taken)
            (_handle or end_or_interrupt)(number, None)

    signal.pthread_sigmask(signal.SIG_BLOCK, WHILE_JITTOR_STARTS)
    _taker = threading.Thread(target=take, daemon=True)
    _taker.start()
    try:
        yield
    finally:
        resource_tracker.ensure_running()       # later it would undo what comes now
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        for number in SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        started.set()


def end_or_interrupt(number, _frame):
    if number != signal.SIGINT:
        os._exit(128 + number)
    main = threading.main_thread().ident
    ctypes.pythonapi.PyThreadState_SetAsyncExc(ctypes.c_ulong(main),
                                               ctypes.py_object(KeyboardInterrupt))


def handle_with(function):
    """Call function(number, None) for each signal, in whatever thread."""
    global _handle
    _handle = function
    if not _taker:
        for number in SIGNALS:
            if number != getattr(signal, "SIGHUP", None) or \
                    signal.getsignal(number) != signal.SIG_IGN:
                signal.signal(number, function)
