"""Pictures for resize.py, and what it made of them."""
import os

import numpy as np
from PIL import Image


def picture(width=40, height=40, mode="RGB", seed=0):
    data = np.random.RandomState(seed).randint(0, 256, (height, width, 3), np.uint8)
    return Image.fromarray(data).convert(mode)


def made(folder):
    return {n: np.asarray(Image.open(os.path.join(folder, n))) for n in sorted(os.listdir(folder))}


def counts(output):
    numbers = [int(w) for w in output.replace(":", "").replace(",", "").split() if w.isdigit()]
    return numbers[:4]
