"""Images/s of the loader alone, per size of a data set: python bench/loader.py data"""
import argparse
import itertools
import os
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

import dataset  # noqa: E402
from training import flags  # noqa: E402


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", help="folder that holds 8/, 16/ …")
    parser.add_argument("--batch", type=int, default=16, help="images per batch (default 16)")
    parser.add_argument("--seconds", type=float, default=3, help="per size (default 3)")
    parser.add_argument("--workers", type=int, default=flags.default_workers(),
                        help="processes (default: half the cores)")
    args = parser.parse_args()
    for size in dataset.available_sizes(args.data):
        with dataset.Loader(args.data, workers=args.workers) as loader:
            batches = loader.batches(size, args.batch, 0)
            for _ in itertools.islice(batches, 4 * args.workers + 4):
                pass                                # the workers have started, nothing is ahead
            start, count = time.perf_counter(), 0
            while time.perf_counter() - start < args.seconds:
                next(batches)
                count += args.batch
            rate = count / (time.perf_counter() - start)
        print(f"size {size:4}: {rate:8.0f} images/s, {args.workers} workers", flush=True)


if __name__ == "__main__":
    main()
