"""Where the milliseconds of a training iteration go on a GPU.

    python bench/gpu_profile.py --size 8,32,128 --batch 128,64,16 [--amp]

For each size: the time of an iteration, how long of it the host needs to ask for all the work (with
nothing waited for), how long the GPU works, its kernels counted and summed by kind, and the longest
ones. The counts are CUPTI's, which comes with the CUDA toolkit.
"""
import argparse
import ctypes
import glob
import os
import re
import subprocess
import sys
import tempfile
import time

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

import backend  # noqa: E402
from backend import cuda  # noqa: E402
from bench import train_step  # noqa: E402
from networks.config import ARCHITECTURES  # noqa: E402

KINDS = (("convolutions", r"conv|cudnn|xmma|winograd|implicit|wgrad|dgrad|fprop|nchw|nhwc|fft"),
         ("dense layers", r"gemm|gemv|cublas|cutlass|splitK"),
         ("this project's", r"epilogue|blur|slope|bias_leaky_relu|plane_sums|8stylegan|modulated|"
                            r"_Z\d+(draw|spread|gather|split|stack|scale|resample)"),
         ("copies", r"^\["), ("Jittor's", r""))


def load_counter():
    """bench/gpu_profile.cc, compiled against the CUPTI of the first toolkit that has it."""
    folders = [folder for folder, _ in cuda.toolkits()]
    for folder in folders:
        for where in (folder, f"{folder}/extras/CUPTI", f"{folder}/targets/x86_64-linux"):
            library = next((lib for lib in (f"{where}/lib64", f"{where}/lib")
                            if glob.glob(f"{lib}/libcupti.so")), None)
            if library and os.path.exists(f"{where}/include/cupti.h"):
                out = os.path.join(tempfile.mkdtemp(), "gpu_profile.so")
                subprocess.run(
                    ["g++", "-std=c++17", "-O2", "-shared", "-fPIC", f"{ROOT}/bench/gpu_profile.cc",
                     "-o", out, f"-I{where}/include", f"-I{folder}/include", f"-L{library}",
                     "-lcupti", f"-Wl,-rpath,{library}"], check=True)
                return ctypes.CDLL(out)
    sys.exit(f"error: found no cupti.h with libcupti.so in {', '.join(folders)}: install the CUDA "
             "toolkit whole")


def profile(counter, size, batch, args):
    step = train_step.jittor_work(args, size, batch, amp=args.amp)
    from backend import jt
    for _ in range(3):
        step()
    jt.sync_all(True)
    start = time.perf_counter()
    for _ in range(args.iterations):
        step()
    host = time.perf_counter() - start
    jt.sync_all(True)
    whole = time.perf_counter() - start
    if counter.start():
        sys.exit("error: CUPTI did not start")
    for _ in range(args.iterations):
        step()
    jt.sync_all(True)
    path = os.path.join(tempfile.mkdtemp(), "counts")
    counter.stop(path.encode())
    with open(path) as file:
        rows = [line.rstrip("\n").split(" ", 2) for line in file]
    (count, busy, _), *rows = [(int(n), int(ns) / 1e6 / args.iterations, name)
                               for n, ns, name in rows]
    n = args.iterations
    print(f"size {size}, batch {batch}, fmap_max {args.fmap_max}{', amp' * args.amp}: "
          f"{whole / n * 1e3:.2f} ms an iteration, {batch * n / whole:.1f} images/s; host "
          f"{host / n * 1e3:.2f} ms, GPU at work {busy:.2f} ms, {count / n:.0f} kernels and copies")
    sums = {kind: [0, 0.0] for kind, _ in KINDS}
    for times, ms, name in rows:
        kind = next(kind for kind, pattern in KINDS if re.search(pattern, name))
        sums[kind][0] += times
        sums[kind][1] += ms
    for kind, (times, ms) in sums.items():
        print(f"    {kind:15} {ms:8.3f} ms {times / n:7.0f}")
    for times, ms, name in sorted(rows, key=lambda row: -row[1])[:args.top]:
        print(f"        {ms:8.3f} ms {times / n:7.1f}  {name[:args.width]}")
    sys.stdout.flush()


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", choices=ARCHITECTURES, default="stylegan1",
                        help="which networks (default stylegan1)")
    parser.add_argument("--size", default="8,32,128", help="sizes (default 8,32,128)")
    parser.add_argument("--batch", default="128,64,16", help="one for each (default 128,64,16)")
    parser.add_argument("--fmap_max", type=int, default=512, help="width (default 512)")
    parser.add_argument("--amp", action="store_true", help="with TF32")
    parser.add_argument("--iterations", type=int, default=10, help="measured (default 10)")
    parser.add_argument("--top", type=int, default=12, help="longest kernels (default 12)")
    parser.add_argument("--width", type=int, default=100, help="of their names (default 100)")
    args = parser.parse_args()
    args.device, args.latent = "cuda", args.fmap_max
    backend.use_device("cuda")
    counter = load_counter()
    for size, batch in zip(args.size.split(","), args.batch.split(",")):
        profile(counter, int(size), int(batch), args)


if __name__ == "__main__":
    main()
