"""Milliseconds of every form of a 3×3 layer: python bench/conv_table.py

For each width and size, of a layer alone, after nearest ×2 ("up") and before a 2×2 mean ("down"),
and with StyleGAN2's filter ("smooth_up", "smooth_down"): its forward pass and both gradients
together. From this table is backend/kernels.py: best_form.
"""
import argparse
import os
import statistics
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


def main():
    parser = argparse.ArgumentParser(description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--channels", default="32,64,128,256,512")
    parser.add_argument("--size", default="4,8,16,32,64",
                        help="of the larger picture (default 4,8,16,32,64)")
    args = parser.parse_args()

    from backend import jt
    from backend.kernels import best_form
    from networks import stylegan2
    from networks.layers import DownConv2d, EqualConv2d, UpConv2d
    kinds = (("same", EqualConv2d, 1), ("up", UpConv2d, 2), ("down", DownConv2d, 1),
             ("smooth_up", stylegan2.UpConv2d, 2), ("smooth_down", stylegan2.DownConv2d, 1))
    print("* runs")
    for channels in map(int, args.channels.split(",")):
        for size in map(int, args.size.split(",")):
            batch = max(4, min(32, 2 ** 20 // (channels * size * size) * 2))
            weight = jt.randn(channels, channels, 3, 3)
            for sampling, layer, enlarged in kinds:
                if sampling != "same" and size < 8:
                    continue
                x = jt.randn(batch, channels, size // enlarged, size // enlarged)
                line = f"{channels:4} channels, size {size:3}, batch {batch:2}, {sampling:11}:"
                for form in ("plain", "fused", "winograd"):
                    if hasattr(layer, form):
                        mark = "*" if best_form(sampling, weight) == form else " "
                        seconds = measure(jt, getattr(layer, form), x, weight)
                        line += f"  {form} {1000 * seconds:7.2f}{mark}"
                print(line, flush=True)


def measure(jt, form, x, weight, repeats=5):
    dy = jt.randn(form(x, weight, 1.0).shape)
    times = []
    for _ in range(repeats + 1):
        jt.sync_all(True)
        start = time.perf_counter()
        y = form(x, weight, 1.0)
        dx, dw = jt.grad((y * dy).sum(), [x, weight])
        y.sync(), dx.sync(), dw.sync()
        times.append(time.perf_counter() - start)
        del y, dx, dw
    return statistics.median(times[1:])


if __name__ == "__main__":
    main()
