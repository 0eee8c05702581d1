"""backend/signals.py: what Ctrl-C and its like reach, and what they do not."""
import os
import signal
import subprocess
import sys
import time

import pytest
from conftest import ROOT

pytestmark = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs Linux")

# Stands for a command in whose main thread Jittor waits for a compiler that a shell has started.
COMPILES = """
import multiprocessing, os, signal, sys, time
import numpy as np; np.ones((600, 600)) @ np.ones((600, 600))       # has threads of its own
sys.path.insert(0, sys.argv[1])
from backend import signals
with signals.shielded():
    {inside}
def receive(number, _):
    print("asked to end by", signal.Signals(number).name, flush=True)
{handle}
multiprocessing.get_context("spawn").Process(target=os.getpid).start()   # as the loader
time.sleep(0.5)
os.system("sh -c 'echo compiling; sleep 1.5; echo compiled'")
time.sleep(0.1)
print("goes on", flush=True)
"""


def compiling(number, handle="signals.handle_with(receive)", inside="pass", when="compiling",
              **more):
    """(exit code, lines) of such a command whose whole process group got the signal."""
    code = COMPILES.format(handle=handle, inside=inside)
    process = subprocess.Popen([sys.executable, "-c", code, ROOT], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, start_new_session=True, **more)
    lines = []
    while when not in lines:
        lines.append(process.stdout.readline().strip())
        assert lines[-1], lines
    os.killpg(process.pid, number)
    rest, _ = process.communicate(timeout=30)
    return process.returncode, lines + rest.split("\n")[:-1]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1"])
def test_a_compiler_outlives_a_signal_to_the_group_and_the_command_is_told(name):
    code, lines = compiling(getattr(signal, name))
    assert code == 0 and lines == ["compiling", f"asked to end by {name}", "compiled", "goes on"]


def test_a_parent_that_ignores_signals_does_not_make_jittor_wait_for_ever():
    """What such a process starts inherits it; Jittor ends its helpers with SIGTERM."""
    def ignore():
        signal.signal(signal.SIGTERM, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])

    code = ("import sys; sys.path.insert(0, sys.argv[1])\nimport cli\n"
            "print(cli.bring_up('cpu').zeros(1).item())")
    result = subprocess.run([sys.executable, "-c", code, ROOT], stdout=subprocess.PIPE, text=True,
                            preexec_fn=ignore, timeout=300)
    assert result.stdout == "0.0\n"


def test_no_signal_is_lost_that_follows_another():
    """Ctrl-C and at once SIGTERM, many times: each is told."""
    code = COMPILES.format(handle="signals.handle_with(receive)", inside="pass").replace(
        "os.system(", "print('compiling', flush=True); time.sleep(3); (")
    process = subprocess.Popen([sys.executable, "-c", code, ROOT], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True, start_new_session=True)
    assert process.stdout.readline() == "compiling\n"
    for _ in range(10):
        for number in signal.SIGINT, signal.SIGTERM:
            os.killpg(process.pid, number)
            assert process.stdout.readline() == f"asked to end by {number.name}\n"
    process.communicate(timeout=30)


def test_where_a_thread_is_open_all_stays_as_python_has_it():
    code, lines = compiling(signal.SIGUSR1, inside="""import threading, ctypes
    def open_thread():
        signal.pthread_sigmask(signal.SIG_UNBLOCK, [signal.SIGUSR1]); time.sleep(9)
    threading.Thread(target=open_thread, daemon=True).start(); time.sleep(0.2)""")
    assert "asked to end by SIGUSR1" in lines and lines[-1] == "goes on" and code == 0


def test_ctrl_c_ends_another_command_when_the_compiler_is_done():
    code, lines = compiling(signal.SIGINT, handle="")
    assert code and "compiled" in lines and "goes on" not in lines
    assert "Stopping as soon as Jittor lets go …" in lines and lines[-1] == "KeyboardInterrupt"


def test_ctrl_c_while_jittor_starts_is_one_word():
    code, lines = compiling(signal.SIGINT, inside="print('starting', flush=True); time.sleep(20)",
                            when="starting")
    assert code == 130 and lines == ["starting", "", "stopped"]


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP])
def test_a_signal_in_the_last_moment_of_starting_is_not_lost(number):
    code = COMPILES.format(handle="signals.handle_with(receive)",
                           inside=f"os.kill(os.getpid(), {number:d})")
    result = subprocess.run([sys.executable, "-c", code, ROOT], capture_output=True, text=True)
    assert (result.returncode, result.stderr) == (128 + number, "\nstopped\n")


def test_compilers_that_end_while_jittor_starts_do_not_stop_it():
    code = COMPILES.format(handle="", inside="""signal.signal(signal.SIGCHLD, lambda *_: None)
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD])      # the other thread gets them
    print('starting', flush=True); time.sleep(2); print('started', flush=True); sys.exit()""")
    process = subprocess.Popen([sys.executable, "-c", code, ROOT], stdout=subprocess.PIPE,
                               stderr=subprocess.STDOUT, text=True)
    assert process.stdout.readline() == "starting\n"
    end = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < end:
        process.send_signal(signal.SIGCHLD)
    process.kill()
    assert (process.returncode, process.stdout.read()) == (0, "started\n")


def test_a_command_that_was_started_with_nohup_outlives_its_terminal():
    code, lines = compiling(signal.SIGHUP, preexec_fn=lambda: signal.signal(signal.SIGHUP,
                                                                            signal.SIG_IGN))
    assert code == 0 and lines == ["compiling", "compiled", "goes on"]


def test_ctrl_c_while_helpers_start_is_one_word():
    code = ("import os, signal, sys, threading\nsys.path.insert(0, sys.argv[1])\n"
            "from backend.signals import helpers\nfrom cli import run\n"
            "def main():\n"
            "    with helpers(3) as each:\n"
            "        threading.Timer(0.1, os.killpg, (0, signal.SIGINT)).start()\n"
            "        list(each(abs, [0] * 3000, 1))\n"
            "if __name__ == '__main__':\n    run(main)\n")
    result = subprocess.run([sys.executable, "-c", code, ROOT], start_new_session=True,
                            capture_output=True, text=True, timeout=60)
    assert (result.returncode, result.stderr) == (130, "\nstopped\n")
