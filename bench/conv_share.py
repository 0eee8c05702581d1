"""How much of a training iteration is convolutions:

    python bench/conv_share.py --size 8,32 --batch 16,8

sums the time inside the convolution operators (by Jittor's profiler) and divides it by the time of
the iteration; the rest is everything else, Python included. --each also lists the other kernels.
"""
import argparse
import os
import re
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

CONVOLUTIONS = ("mkl_conv", "mkl_conv_backward_x", "mkl_conv_backward_w", "winograd",
                "winograd_gradient")


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size", default="8,16,32,64", help="sizes (default 8,16,32,64)")
    parser.add_argument("--batch", default="16,8,8,4", help="one per size (default 16,8,8,4)")
    parser.add_argument("--fmap_max", type=int, default=512, help="width (default 512)")
    parser.add_argument("--iterations", type=int, default=3, help="measured (default 3)")
    parser.add_argument("--each", action="store_true", help="a line for every kernel above 1 %%")
    args = parser.parse_args()
    args.latent = args.fmap_max
    for size, batch in zip(args.size.split(","), args.batch.split(",")):
        measure(args, int(size), int(batch))


def measure(args, size, batch):
    from backend import jt
    from bench.train_step import jittor_step
    step = jittor_step(args, size, batch)
    for _ in range(3):
        step()
    with jt.profile_scope() as report:
        start = time.perf_counter()
        for _ in range(args.iterations):
            step()
        seconds = time.perf_counter() - start
    total, convolutions = report[0].index("TotalTime"), 0
    for row in report[1:]:
        name, share = re.split("[«\\[]", row[0] or row[1])[0], float(row[total]) / 1e9 / seconds
        if name in CONVOLUTIONS:
            convolutions += share
        if args.each and share > 0.01:
            print(f"{share:6.1%}  {' '.join(row[0].split())[:90]}")
    print(f"size {size:3} batch {batch:2} fmap_max {args.fmap_max}: {seconds / args.iterations:.3f}"
          f" s per iteration, convolutions {convolutions:.0%}", flush=True)


if __name__ == "__main__":
    main()
