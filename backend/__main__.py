"""python -m backend [--device auto|cpu|cuda]: what was found, and whether it computes.

On a GPU, the operations of training are compared with the CPU's; under mpirun, what the processes
tell each other is looked at too.
"""
import numpy as np

import backend
from backend import mpi
from cli import Parser, add_device_arguments, bring_up, run


def conv_check(jt):
    """Relative error of the double gradient of a convolution with respect to its weight.

    With s = Σ conv(x, w)² / 2, the gradient of |∂s/∂x|² / 2 along a random direction of w is
    compared with a central difference.
    """
    rng = np.random.RandomState(0)
    x0, w0, direction = (rng.randn(*s).astype("float32") for s in
                         ((2, 8, 16, 16), (8, 8, 3, 3), (8, 8, 3, 3)))

    def penalty(w):
        x = jt.array(x0)
        dx = jt.grad((jt.nn.conv2d(x, w, padding=1) ** 2).sum() / 2, x)
        return (dx ** 2).sum() / 2

    w = jt.array(w0)
    slope = float((jt.grad(penalty(w), w).numpy().astype("float64") * direction).sum())
    h = 1e-2
    high, low = (float(penalty(jt.array(w0 + s * h * direction)).item()) for s in (1, -1))
    return abs((high - low) / (2 * h) - slope) / max(abs(slope), 1e-30)


def main():
    parser = Parser(prog="python -m backend", description=__doc__)
    add_device_arguments(parser)
    args = parser.parse_args()
    jt = bring_up(args.device, args.cuda_home)
    from backend.speed import conv_gflops
    for name, value in backend.report.items():
        print(f"{name:9} {value}")
    error = conv_check(jt)
    checks = [("double gradient of a convolution, finite differences", error, error < 1e-2)]
    if jt.flags.use_cuda:
        from training.gpu_check import compare
        checks += compare(jt)
    if mpi.SIZE > 1:
        wanted = mpi.SIZE * (mpi.SIZE + 1) / 2
        error = abs(mpi.total(jt.array([mpi.RANK + 1.0])).item() / wanted - 1)
        checks.append((f"sum over {mpi.SIZE} processes", error, error < 1e-6))
    for name, error, sound in checks:
        print(f"check     {name}: relative error {error:.1e}", "ok" if sound else "WRONG")
    print(f"speed     3x3 convolution, 256 channels, 32x32, batch 8: {conv_gflops(jt):.0f} GFLOP/s")
    return 0 if all(sound for _, _, sound in checks) else 1


if __name__ == "__main__":
    run(main, parallel=True)
