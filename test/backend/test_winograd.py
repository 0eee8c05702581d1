"""ops/winograd.cc: the forms of a 3×3 convolution, each with all its gradients, as in float64."""
import os
import subprocess
import sys

import numpy as np
import pytest
import reference
from conftest import ROOT

from backend import has_winograd, jt
from backend.kernels import WinogradGradient, winograd

pytestmark = pytest.mark.skipif(not has_winograd, reason="no operators of our own here")

TAPS = np.array([1, 3, 3, 1]) / 4
FORMS = {"same": lambda x, w: reference.conv2d(x, w, padding=1),
         "up": lambda x, w: reference.conv2d(reference.upsample(x), w, padding=1),
         "down": lambda x, w: 4 * reference.downsample(reference.conv2d(x, w, padding=1)),
         "smooth_up": lambda x, w: reference.filtered(
             reference.conv_transpose2d(x, w, 2), TAPS, (1, 1)),
         "smooth_down": lambda x, w: reference.conv2d(
             reference.filtered(x, TAPS, (2, 2)), w, stride=2)}

# Few tiles and many; one chunk of them and several, also with several sums; widths that are no
# multiple of 16; not square.
SHAPES = [(2, 17, 5, 8, 8), (33, 16, 16, 8, 8), (1, 32, 16, 8, 24), (3, 16, 33, 32, 32),
          (20, 3, 40, 16, 16), (34, 7, 20, 32, 32)]


def var(a):
    return jt.array(a.astype("float32"))


def near(found, wanted, bound=5e-6):
    return np.abs(found.numpy() - wanted).max() < bound * np.abs(wanted).max()


def random(shape, form):
    n, fan_in, fan_out, height, width = shape
    rng = np.random.RandomState(sum(shape))
    x, w = rng.randn(n, fan_in, height, width), rng.randn(fan_out, fan_in, 3, 3)
    return x, w, rng.randn(*FORMS[form](x, w).shape)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("form", FORMS)
def test_every_form_and_its_gradients_equal_float64(form, shape):
    """The gradients are found by their definition: the form is linear in each operand."""
    x, w, r = random(shape, form)
    y = winograd(var(x), var(w), form, scale=0.5)
    assert near(y, 0.5 * FORMS[form](x, w))
    x1, w1 = var(x), var(w)
    dx, dw = jt.grad((winograd(x1, w1, form, scale=0.5) * var(r)).sum(), [x1, w1])
    rng = np.random.RandomState(1)
    for found, operand in ((dx, 0), (dw, 1)):
        for _ in range(3):
            direction = rng.randn(*(x, w)[operand].shape)
            pair = (direction, w) if operand == 0 else (x, direction)
            wanted = 0.5 * (FORMS[form](*pair) * r).sum()
            size = np.linalg.norm(direction) * np.linalg.norm(found.numpy())
            assert abs((found.numpy().astype("float64") * direction).sum() - wanted) < 1e-5 * size


@pytest.mark.parametrize("form", FORMS)
def test_every_second_gradient_equals_float64(form):
    """Of |∂Σ y r / ∂x|², which is what R1 asks for, and of |∂Σ y r / ∂w|², in all operands."""
    shape = (2, 16, 20, 16, 16)
    x, w, r = random(shape, form)
    rng = np.random.RandomState(2)

    def linear(x, w):
        return FORMS[form](x, w)

    for first in (0, 1):
        x1, w1, r1 = var(x), var(w), var(r)
        gradient = jt.grad((winograd(x1, w1, form) * r1).sum(), (x1, w1)[first])
        # <g(other, r), u> is bilinear in what is left: its gradients are forms again.
        u = rng.randn(*(x, w)[first].shape)
        other = (w1, x1)[first]
        d_other, d_r = jt.grad((gradient * var(u)).sum(), [other, r1])
        pair = (u, w) if first == 0 else (x, u)
        assert near(d_r, linear(*pair), 2e-5)
        direction = rng.randn(*(w, x)[first].shape)
        pair = (u, direction) if first == 0 else (direction, u)
        wanted = (linear(*pair) * r).sum()
        size = np.linalg.norm(direction) * np.linalg.norm(d_other.numpy())
        assert abs((d_other.numpy().astype("float64") * direction).sum() - wanted) < 1e-5 * size


@pytest.mark.parametrize("form", FORMS)
def test_third_gradients_are_those_of_the_same_three_operators(form):
    """Winograd, its adjoint and WinogradGradient are closed under differentiation."""
    x, w, r = random((2, 16, 16, 8, 8), form)
    x1, r1 = var(x), var(r)
    g = WinogradGradient(form, 1.0)(x1, r1)
    dx = jt.grad((g * var(w)).sum(), x1)                        # adjoint form of r by w
    dr = jt.grad((dx * var(x)).sum(), r1)                       # the form of x by w
    assert near(dr, FORMS[form](x, w), 2e-5)


def test_rounding_is_that_of_onednns_winograd_kernels():
    """Relative error (root mean square) over 512 channels: measured 1.6e-6, 4.8e-7, 4.9e-7, where
    oneDNN's Winograd kernels have 1.5e-6 and a direct sum 2.3e-7."""
    rng = np.random.RandomState(3)
    x, w = rng.randn(1, 512, 16, 16), rng.randn(16, 512, 3, 3)
    for form, bound in (("same", 2e-6), ("up", 7e-7), ("down", 7e-7)):
        wanted = FORMS[form](x, w)
        error = winograd(var(x), var(w), form).numpy() - wanted
        assert np.sqrt((error ** 2).mean() / (wanted ** 2).mean()) < bound


BITS = """
import hashlib, sys
import numpy as np
import backend; backend.use_device("cpu")
from backend import jt, fused, parameters
from backend.kernels import conv2d, conv_transpose2d, matmul, winograd
rng = np.random.RandomState(0)
def var(*shape):        # with some numbers that are too small for full precision
    x = rng.randn(*shape).astype("float32")
    x.flat[::7] *= 1e-40
    return jt.array(x)
found = []
def add(y, inputs):
    found.extend([y, *jt.grad((y * y).sum(), inputs)])
for form, channels, size, batch in (("same", 512, 8, 16), ("up", 512, 4, 16), ("down", 512, 8, 16),
                                    ("same", 48, 64, 5), ("up", 64, 32, 9), ("down", 64, 64, 9),
                                    ("smooth_up", 512, 4, 16), ("smooth_down", 512, 8, 16),
                                    ("smooth_up", 48, 32, 9), ("smooth_down", 48, 64, 9)):
    x, w = var(batch, channels, size, size), var(channels, channels, 3, 3)
    add(winograd(x, w, form), [x, w])
for batch in 16, 11:
    x, w, rgb = var(batch, 40, 16, 16), var(24, 40, 4, 4), var(3, 40, 1, 1)
    add(conv2d(x, rgb), [x, rgb])
    if batch == 16:
        add(conv2d(x, w, stride=2, padding=1), [x, w])
        add(conv_transpose2d(x, w, stride=2, padding=1), [x, w])
a, b = var(16, 4096), var(512, 4096)
add(matmul(a, b, transpose_b=True), [a, b])
x, bias = var(16, 64, 32, 32), var(64)
add(fused.bias_leaky_relu(fused.blur(x), bias), [x, bias])
add(fused.blurred_leaky_relu(x, bias), [x, bias])
p, g, v = [var(70000)], [var(70000)], [jt.abs(var(70000))]
new, moments, sound, norm = parameters.adam_step(jt.ones(1), p, g, v, jt.ones(1) * 0.1, 0.99, 1e-8)
found += [*new, *moments, norm, *parameters.move(p, g, jt.ones(1) * 0.3)]
for one in found:
    print(hashlib.sha1(one.numpy().tobytes()).hexdigest())
"""


def test_how_many_threads_compute_changes_no_bit():
    found = [subprocess.run([sys.executable, "-c", BITS], cwd=ROOT, capture_output=True, text=True,
                            check=True, env=os.environ | {"OMP_NUM_THREADS": str(count)}).stdout
             for count in (1, 2, 8, 24)]
    assert len(found[0].split()) == 55
    for other in found[1:]:
        assert other == found[0]


THROWING = """
#include <atomic>
#include <chrono>
#include <cstdio>
#include <new>
#include <thread>
#include "workers.h"
int main() {
    for (int helpers = 0; helpers < 2; helpers++)
        for (int round = 0; round < 20; round++) {
            std::atomic<int> done{0}, thrown{0};
            const auto piece = [&](int64_t i) {
                std::this_thread::sleep_for(std::chrono::microseconds(200));
                done++;
                if ((stylegan::this_thread() > 0) == (helpers > 0)) {
                    thrown++;
                    throw std::bad_alloc();
                }
            };
            bool caught = false;
            try {
                stylegan::share(40, 1 << 30, piece);
            } catch (const std::bad_alloc&) {
                caught = true;
            }
            // A loop that is not shared ends where its only thread throws.
            if ((helpers && done != 40) || caught != (thrown > 0)) return 1;
            if (helpers && thrown) std::puts("helper");
            std::atomic<int> sum{0};
            stylegan::share(40, 1 << 30, [&](int64_t i) { sum += i; });
            if (sum != 780) return 2;
        }
}
"""


def test_what_a_thread_throws_is_an_error_of_the_caller_and_the_next_loop_is_whole(tmp_path):
    (tmp_path / "throwing.cc").write_text(THROWING)
    ops = os.path.join(ROOT, "backend/ops")
    subprocess.run(["g++", "-std=c++14", "-O2", "-fopenmp", f"-I{ops}", "throwing.cc",
                    os.path.join(ops, "workers.cc"), "-o", "throwing"], cwd=tmp_path, check=True)
    result = subprocess.run(["./throwing"], cwd=tmp_path, capture_output=True, text=True,
                            timeout=100, env=os.environ | {"OMP_NUM_THREADS": "3"})
    assert result.returncode == 0 and "helper" in result.stdout
