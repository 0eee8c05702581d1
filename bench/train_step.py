"""Images/s of one full training iteration (D with R1, G, EMA), or of generating; and peak memory.

    python bench/train_step.py --size 32 --batch 8 --fmap_max 512 [--vs torch,fused]

With --vs they take turns, each in a process of its own with the same number of threads: "torch" is
bench/torch_twin.py written the ordinary way, "fused" the same with fused up- and downsampling.
"lazy", "shared", "amp" and "accum" are ours with --r1_interval 16 (the mean of sixteen
iterations), --share_fakes, --amp and --grad_accum 4; "ada" and "diff" are ours with --augment ada
--augment_p 0.6 and with --augment diff (all but "accum" change the recipe). On a GPU "torch"
convolves in float32 as ours does, "torch_tf32" in TF32 as PyTorch does by itself and ours with
--amp, and "compile" and "compile_tf32" are these through torch.compile, but for R1, whose second
derivative it does not know, and without style mixing, for each crossover is another program to it;
on a CPU, "torch_bf16" runs under torch.autocast, with convolutions in bfloat16. `ratio` is the
median over the rounds of the other's time ÷ ours; GFLOP/s counts the arithmetic of plain direct
convolutions, whatever a side really does. With --generate, pictures are painted instead, truncation
on.

--arch stylegan2: the mean of sixteen iterations, its penalties included; "torch" is
bench/torch_twin2.py with a set of weights for each picture, "scaled" with scaled activations, and
with _tf32 at the end these in TF32.
"""
import argparse
import json
import math
import os
import resource
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

# Ours with a flag of train.py.
FLAGS = {"lazy": {"r1_interval": 16}, "shared": {"share_fakes": True}, "amp": {"amp": True},
         "accum": {"grad_accum": 4}, "ada": {"augment": "ada", "augment_p": 0.6},
         "diff": {"augment": "diff"}}
TWINS = ("torch", "fused", "scaled", "torch_tf32", "scaled_tf32", "torch_bf16", "compile",
         "compile_tf32")

ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
sys.path.insert(0, ROOT)

from networks.config import ARCHITECTURES, ModelConfig  # noqa: E402
from training import estimate, recipes  # noqa: E402


def main():
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arch", choices=ARCHITECTURES, default="stylegan1",
                        help="which networks (default stylegan1)")
    parser.add_argument("--size", default="32", help="sizes such as 8,16,32 (default 32)")
    parser.add_argument("--batch", default="8", help="batch, or one per size (default 8)")
    parser.add_argument("--fmap_max", type=int, default=512, help="width (default 512)")
    parser.add_argument("--generate", action="store_true",
                        help="paint --batch pictures instead of a training iteration")
    parser.add_argument("--latent", type=int, help="length of the latent (default: --fmap_max)")
    parser.add_argument("--pairs", type=int, default=5, help="measured iterations (default 5)")
    parser.add_argument("--vs", default="", help=f"take turns with: {', '.join([*TWINS, *FLAGS])}")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu",
                        help="where both sides compute (default cpu)")
    parser.add_argument("--torch_python", default=sys.executable, metavar="PYTHON",
                        help="that has PyTorch, where it is not this one")
    parser.add_argument("--worker", choices=["jittor", *TWINS, *FLAGS],
                        help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.worker:
        return work(args)
    sizes = [int(s) for s in args.size.split(",")]
    batches = [int(b) for b in args.batch.split(",")]
    batches = batches * len(sizes) if len(batches) == 1 else batches
    sides = ["jittor", *filter(None, args.vs.split(","))]
    both = {"jittor", "torch", "torch_tf32", "amp", "accum", "ada", "diff"}
    if args.arch == "stylegan2" and not {*sides} <= both | {"scaled", "scaled_tf32"}:
        sys.exit("error: --vs: wanted torch, scaled, torch_tf32, scaled_tf32, amp, accum, ada or "
                 "diff with --arch stylegan2")
    for size, batch in zip(sizes, batches):
        workers = {side: Worker(side, size, batch, args) for side in sides}
        # A GPU's compilers may work side by side; a CPU would have too little of everything.
        with ThreadPoolExecutor(1 if args.device == "cpu" else len(sides)) as pool:
            list(pool.map(Worker.warm_up, workers.values()))
        measure(args, size, batch, workers)


def measure(args, size, batch, workers):
    times = {side: [] for side in workers}
    for i in range(args.pairs):
        for side in workers if i % 2 == 0 else reversed(workers):
            times[side].append(workers[side].step())
    gflop = arithmetic(args, size, batch)
    for side in workers:
        seconds = statistics.median(times[side])
        ratio = statistics.median(t / j for j, t in zip(times["jittor"], times[side]))
        print(f"{side:12} size {size:4} batch {batch:3} fmap_max {args.fmap_max:3}: "
              f"{seconds:7.3f} s  {batch / seconds:8.2f} images/s  {gflop / seconds:5.0f} GFLOP/s  "
              f"(from {min(times[side]):.3f} to {max(times[side]):.3f} s)  "
              f"peak {workers[side].finish() / 2 ** 20:.2f} GiB  ratio {ratio:.2f}", flush=True)


def arithmetic(args, size, batch):
    """GFLOP of the convolutions of what is measured, as direct convolutions without fusing: the
    same number for every side, however few it makes do with."""
    config = model_config(args, size)
    if args.generate:
        return batch * 2 * estimate.convolution_macs(config, size)[0] / 1e9
    passes = estimate.passes(recipes.recipe(args.arch, "official", size))
    return batch * estimate.training_gflop(config, size, passes)


def model_config(args, size):
    """Of the official widths up to --fmap_max."""
    base = recipes.recipe(args.arch, "official", size)["fmap_base"]
    return ModelConfig(arch=args.arch, size=size, fmap_base=base, fmap_max=args.fmap_max,
                       latent=args.latent or args.fmap_max)


class Worker:
    """A process that makes one iteration whenever it is told to."""

    def __init__(self, side, size, batch, args):
        self.process = subprocess.Popen(
            [args.torch_python if side in TWINS else sys.executable, os.path.abspath(__file__),
             "--worker", side, "--arch", args.arch, "--size", str(size),
             "--batch", str(batch), "--fmap_max", str(args.fmap_max),
             "--latent", str(args.latent or args.fmap_max), "--device", args.device]
            + ["--generate"] * args.generate,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.device = args.device

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        for answer in self.process.stdout:      # Jittor prints while it compiles
            if answer.startswith("{"):
                return json.loads(answer)
        sys.exit("error: a worker ended; its message is above")

    def warm_up(self):
        self.ask("warm up")

    def step(self):
        return self.ask("step")["seconds"]

    def finish(self):
        """KiB that it has used at most: of the GPU where it computes there, by what is free again
        afterwards, for neither library counts all of its own and neither gives anything back."""
        before = gpu_memory() if self.device == "cuda" else 0
        peak = self.ask("finish")["peak_kib"]
        self.process.wait()
        return before - gpu_memory() if self.device == "cuda" else peak


def work(args):
    size, batch = int(args.size), int(args.batch)
    kind = "generate" if args.generate else "step"
    library = "torch" if args.worker in TWINS else "jittor"
    changes = FLAGS.get(args.worker, {})
    step = globals()[f"{library}_{kind}"](args, size, batch, **changes)
    step = rounded(step, args.device) if args.worker == "torch_bf16" else step
    for line in sys.stdin:
        if line.strip() == "finish":
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            print("\n" + json.dumps({"peak_kib": peak}), flush=True)
            return
        start = time.perf_counter()
        steps = changes.get("r1_interval", 16 if args.arch == "stylegan2" and
                            not args.generate else 1)
        if line.strip() == "warm up":   # the first iteration compiles, the second grows buffers
            steps = 3
        for _ in range(steps):
            step()
        print("\n" + json.dumps({"seconds": (time.perf_counter() - start) / steps}), flush=True)


def rounded(step, device):
    """`step` under autocast, which rounds convolutions to bfloat16, and what follows from it."""
    import torch

    def rounded_step():
        with torch.autocast(device, torch.bfloat16):
            step()
    return rounded_step


def gpu_memory():
    """KiB in use on the first GPU, by all processes; NaN where nobody can say."""
    try:
        said = subprocess.run(["nvidia-smi", "--query-gpu=memory.used", "--format=csv,noheader,"
                               "nounits"], capture_output=True, text=True).stdout
        return 1024 * float(said.split("\n")[0])
    except (OSError, ValueError):
        return math.nan


def jittor_step(args, size, batch, **changes):
    step = jittor_work(args, size, batch, **changes)
    return lambda: step()["loss_G"].item()


def jittor_work(args, size, batch, **changes):
    """An iteration that nothing waits for; it returns what Training.step does."""
    import numpy as np

    import backend
    from train import make_training
    from training import settings
    backend.use_device(args.device)
    backend.use_amp(changes.get("amp", False))
    s = recipes.recipe(args.arch, "official", size) | dict(
        data="-", name="-", init_size=size, max_size=size, batch=str(batch),
        fmap_max=args.fmap_max, latent=args.latent, **changes)
    training = make_training(s, settings.make_schedule(s), settings.model_config(s))
    images = np.random.RandomState(0).randn(batch, 3, size, size).astype("float32")

    return lambda: training.step(images)


def jittor_generate(args, size, batch, **changes):
    import numpy as np

    import backend
    backend.use_device(args.device)
    backend.use_amp(changes.get("amp", False))
    from model import StyledGenerator
    from pictures.painter import paint, styles_of
    generator = StyledGenerator(model_config(args, size))
    latents = np.random.RandomState(0).randn(batch, args.latent).astype("float32")
    return lambda: paint(generator, styles_of(generator, latents, size, 0.7), size)


def twin(args, size):
    import torch

    if args.arch == "stylegan1":
        from bench.torch_twin import Twin
    else:
        from bench.torch_twin2 import Twin
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    torch.set_default_device(args.device)
    torch.backends.cudnn.allow_tf32 = args.worker.endswith("tf32")
    torch.backends.cudnn.benchmark = args.device == "cuda"      # as Jittor does by itself
    twin = Twin(model_config(args, size), args.worker.startswith(("fused", "scaled")))
    twin.begin(size, False, 1e-3)
    if args.worker.startswith("compile"):
        twin.paint, twin.score = torch.compile(twin.G), torch.compile(twin.D)
    return twin


def torch_step(args, size, batch):
    import torch
    step = twin(args, size).step
    images = torch.randn(batch, 3, size, size)
    mixing = 0 if args.worker.startswith("compile") else 0.9
    return lambda: step(images, mixing=mixing)


def torch_generate(args, size, batch):
    generate = twin(args, size).generate
    chunk = 64 if args.device == "cuda" else 16             # pictures at a time, as ours
    return lambda: generate(batch, size, chunk=chunk).cpu()


if __name__ == "__main__":
    sys.exit(main())
