"""LPIPS, how different two pictures look: VGG-16 features, weighted as people judged.

Zhang et al., "The Unreasonable Effectiveness of Deep Features as a Perceptual Metric" (2018),
version 0.1, network "vgg". The weights are read from a PyTorch file that the user names.
"""
from measures.weights_file import read_state

# Indices of the convolutions in torchvision's VGG-16, by the slices that end in a feature.
SLICES = {1: {0: 64, 2: 64}, 2: {5: 128, 7: 128}, 3: {10: 256, 12: 256, 14: 256},
          4: {17: 512, 19: 512, 21: 512}, 5: {24: 512, 26: 512, 28: 512}}
SHIFT, SCALE = (-0.030, -0.088, -0.188), (0.458, 0.448, 0.450)
WHERE = ("a file of python -c \"import lpips, torch; torch.save(lpips.LPIPS(net='vgg')."
         "state_dict(), 'lpips.pth')\", with pip install lpips")


def shapes():
    """{name: shape} of what is used of the file."""
    result, channels = {}, 3
    for part, convolutions in SLICES.items():
        for index, width in convolutions.items():
            result[f"net.slice{part}.{index}.weight"] = (width, channels, 3, 3)
            result[f"net.slice{part}.{index}.bias"] = (width,)
            channels = width
        result[f"lin{part - 1}.model.1.weight"] = (1, channels, 1, 1)
    return result


class LPIPS:
    """path: of the weights in PyTorch's format. Differentiable with respect to the pictures, whose
    height and width must be multiples of 16."""

    def __init__(self, path):
        from backend import jt
        state = read_state(path, shapes(), "LPIPS weights: " + WHERE)
        self.weights = {name: jt.array(value).stop_grad() for name, value in state.items()}

    def features(self, images):
        """Vars [N, C, H, W] of about [-1, 1] → five [N, C', H', W'], each pixel of length 1."""
        from backend import jt
        from backend.kernels import conv2d
        if images.shape[1] == 4:                            # premultiplied, over white
            images = images[:, :3] + 1 - images[:, 3:]
        shift, scale = (jt.array([[[[x]] for x in values]]) for values in (SHIFT, SCALE))
        x, result = (images - shift) / scale, []            # grey becomes RGB here
        for part, convolutions in SLICES.items():
            if part > 1:
                n, c, h, w = x.shape
                x = x.reshape(n, c, h // 2, 2, w // 2, 2).max((3, 5))
            for index in convolutions:
                name = f"net.slice{part}.{index}"
                x = conv2d(x, self.weights[f"{name}.weight"], padding=1)
                x = jt.nn.relu(x + self.weights[f"{name}.bias"].reshape(1, -1, 1, 1))
            length = jt.sqrt((x * x).sum(1, keepdims=True) + 1e-20)
            result.append(x / (length + 1e-10))
        return result

    def distance(self, a, b):
        """Of two results of `features`: Var [N], 0 for equal pictures."""
        total = 0
        for part, (one, other) in enumerate(zip(a, b)):
            weight = self.weights[f"lin{part}.model.1.weight"]
            total = total + ((one - other) ** 2 * weight).sum(1).mean((1, 2))
        return total
