"""What is done with all parameters of a network at once: by one operator each, because a small
network has more parameters than a step has milliseconds. Where those are missing (a CPU without
oneDNN), and for the tests to compare with, by Jittor's own."""
from backend import cuda_ops, jt
from backend import onednn_ops as ops
from backend.kernels import on_cpu, on_gpu


def adam_step(loss, parameters, gradients, moments, size, beta2, epsilon):
    """One step of Adam with β₁ = 0: v' = β₂ v + (1 − β₂) g², p' = p − size · g / (√v' + ε).

    loss [1]; three lists of Vars, each of one shape in all three; size [1]. Returns the lists of
    p' and v', and two Vars [1]: 1 where the loss and every gradient are finite, else 0; and the
    norm of the whole gradient.
    """
    if on_cpu() or on_gpu():
        arrays = [v for three in zip(parameters, gradients, moments) for v in three]
        adam = ops.adam if on_cpu() else cuda_ops.cuda_adam
        sound, norm, *new = adam([loss, size, *arrays], beta2, epsilon)
        new = new[:2 * len(parameters)]
        return new[0::2], new[1::2], sound, norm
    moments = [v * beta2 + g * g * (1 - beta2) for v, g in zip(moments, gradients)]
    parameters = [p - g * size / (jt.sqrt(v) + epsilon)
                  for p, g, v in zip(parameters, gradients, moments)]
    # So much smaller that a sum of large numbers stays one.
    total = sum((g * 1e-10).sum() for g in [loss, *gradients])
    norm = jt.sqrt(sum((g * g).sum() for g in gradients))
    return parameters, moments, jt.isfinite(total).float32().reshape(1), norm


def move(sources, targets, amount):
    """source + (target − source) · amount for each of two lists of Vars; amount [1]."""
    if on_cpu() or on_gpu():
        move_all = ops.move if on_cpu() else cuda_ops.cuda_move
        return move_all([amount, *(v for pair in zip(sources, targets) for v in pair)])
    return [a + (b - a) * amount for a, b in zip(sources, targets)]


def keep(new, old, sound):
    """The Vars of `new` (that list itself) where `sound`, a Var [1], is 1, and of `old` where it is
    0.

    On a GPU, which is not waited for, what is returned takes the memory of `new`.
    """
    if on_cpu():
        # `old` may have no gradient (training/adam.py), and a parameter has to have one.
        return new if sound.item() else [v.detach() for v in old]
    pairs = [(a.detach(), b) for a, b in zip(new, old)]
    if on_gpu():
        return cuda_ops.cuda_keep([sound, *(v for pair in pairs for v in pair)])
    return [jt.ternary((sound > 0).broadcast(a.shape), a, b) for a, b in pairs]
