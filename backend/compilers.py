"""What Jittor compiles with: processes of its own for itself, threads for the kernels of a run."""
import atexit
import contextlib
import os

from backend.files import replacing

SOURCE = os.path.join("src", "parallel_compiler.cc")
BEFORE = b"    if (change_line)\n        std::cerr << std::endl;\n"
WAIT = b"    threads.wait_all();\n"


@contextlib.contextmanager
def waited_for():
    """Inside, Jittor is imported, and compiles itself where it has not yet.

    Its threads that compile kernels work on arrays of the function that started them. It returns
    when the last of them has counted past the last kernel, not when it has seen so: one that is
    interrupted between the two goes on in a stack that is no more, and now and then, on a busy
    machine, the program dies of it. So Jittor is compiled with one line more, which waits for them.
    """
    import jittor_utils
    run_cmds = jittor_utils.run_cmds

    def run(cmds, cache_path, jittor_path, *args, **kwargs):
        source = os.path.join(jittor_path, SOURCE)
        if any(source in cmd for cmd in cmds):
            mended = os.path.join(cache_path, os.path.basename(SOURCE))
            keep(mended, waiting(read(source)))
            cmds = [cmd.replace(source, mended) for cmd in cmds]
        return run_cmds(cmds, cache_path, jittor_path, *args, **kwargs)

    jittor_utils.run_cmds = run
    try:
        yield
    finally:
        jittor_utils.run_cmds = run_cmds


def read(path):
    with open(path, "rb") as file:
        return file.read()


def keep(path, content):
    if not os.path.exists(path) or read(path) != content:
        with replacing(path) as file:
            file.write(content)


def waiting(source):
    """parallel_compiler.cc of Jittor 1.3.11, bytes → the same, but it waits for its threads."""
    return source.replace(BEFORE, WAIT + BEFORE, 1)


def dismiss():
    """End the processes that Jittor forked for compiling; it starts new ones if it needs them.

    Left alone they wait until the end of the program, and where a signal has reached them too (as
    Ctrl-C in a terminal does), Jittor hangs at the end waiting for a lock that one of them held.
    """
    import jittor_utils
    if jittor_utils.pool_size:
        jittor_utils.pool_cleanup()
        atexit.unregister(jittor_utils.pool_cleanup)
        jittor_utils.pool_size = 0
