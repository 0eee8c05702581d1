"""Our generator as two ONNX graphs, for programs without Jittor: mapping and synthesis.

    mapping      z [batch, latent], and labels [batch, labels] where there are some
                 → w [batch, dlatent], w_avg [dlatent]
    synthesis    styles [batch, layers, dlatent], and noise0 … where they are to be inputs
                 → images [batch, channels, size, size]

Between them, whoever runs them truncates, mixes and moves styles. Opset 17, written from the
networks (networks/stylegan1.py, stylegan2.py) with every padding and epsilon written out, weights
as constants with their scales in them, and no random numbers.
"""
import json
import math
import os

import numpy as np

from networks.config import fixed_noise, noise_sides, num_layers, sizes_to, truncated_layers

OPSET, IR_VERSION = 17, 8       # not the newest: what most runtimes read
BLUR = np.outer([1, 2, 1], [1, 2, 1]) / 16
SMOOTH = np.outer([1, 3, 3, 1], [1, 3, 3, 1]) / 64
SQRT2 = math.sqrt(2)


def of_file(onnx, header, arrays, config, path, noise_inputs):
    """(synthesis, mapping) of the averaged generator in a file, as snapshot.load_any gives it."""
    own = {name.partition("/")[2]: array for name, array in arrays.items()
           if name.startswith("ema/")}
    about = {"made of": os.path.basename(path), "architecture": config.arch,
             "size": header["size"],
             "truncation layers": truncated_layers(config.arch, header["size"]),
             "classes": json.dumps(header.get("classes", []))}
    maps = None if noise_inputs else maps_of(header, arrays, config)
    return (synthesis(onnx, config, own, about, header["size"], header["alpha"], maps),
            mapping(onnx, config, own, about))


def maps_of(header, arrays, config):
    """The noise maps of all pictures: the file's own, or fixed ones."""
    maps = fixed_noise(header["size"], config.arch)
    if "noise/0" in arrays:
        maps = [arrays[f"noise/{i}"] for i in range(len(maps))]
    return maps


class Graph:
    """Nodes and constants, gathered in the order in which they compute. `arrays`: the averaged
    generator's, by their own names."""

    def __init__(self, onnx, config, arrays):
        self.onnx, self.config, self.arrays = onnx, config, arrays
        self.nodes, self.constants, self.count = [], {}, 0

    def add(self, kind, *inputs, name=None, **attributes):
        """The name of an operator's output."""
        name = name or self.fresh(kind)
        self.nodes.append(self.onnx.helper.make_node(kind, inputs, [name], **attributes))
        return name

    def fresh(self, kind):
        self.count += 1
        return f"{kind}_{self.count}"

    def constant(self, values, name=None):
        name = name or self.fresh("constant")
        values = np.array(values)
        kind = "int64" if values.dtype.kind == "i" else "float32"
        self.constants[name] = self.onnx.numpy_helper.from_array(values.astype(kind), name)
        return name

    def model(self, inputs, outputs, about):
        """inputs and outputs: {name: shape}, with strings for what may be any number."""
        def described(shapes):
            return [self.onnx.helper.make_tensor_value_info(
                name, self.onnx.TensorProto.FLOAT, shape) for name, shape in shapes.items()]
        graph = self.onnx.helper.make_graph(self.nodes, "generator", described(inputs),
                                            described(outputs), [*self.constants.values()])
        made = self.onnx.helper.make_model(
            graph, producer_name="StyleGAN on Jittor", ir_version=IR_VERSION,
            opset_imports=[self.onnx.helper.make_opsetid("", OPSET)])
        self.onnx.helper.set_model_props(made, {key: str(value) for key, value in about.items()})
        self.onnx.checker.check_model(made)
        return made

    # Layers -------------------------------------------------------------------------------------

    def scaled(self, layer, gain, lrmul=1.0):
        """The weight of a layer, with the equalised learning rate in it."""
        weight = self.arrays[f"{layer}.weight"].astype("float64")
        return weight * (gain * lrmul / math.sqrt(math.prod(weight.shape[1:])))

    def linear(self, x, layer, gain, lrmul=1.0, bias_gain=1.0):
        """[N, in] → [N, out]; without a bias where the layer has none."""
        inputs = [x, self.constant(self.scaled(layer, gain, lrmul).T)]
        if f"{layer}.bias" in self.arrays:
            inputs.append(self.constant(self.arrays[f"{layer}.bias"] * (bias_gain * lrmul)))
        return self.add("Gemm", *inputs)

    def conv(self, x, weight, bias=None, groups=1):
        """3×3 or 1×1, zero padded."""
        inputs = [x, self.constant(weight)] + ([] if bias is None else [self.constant(bias)])
        return self.add("Conv", *inputs, pads=[weight.shape[-1] // 2] * 4, group=groups)

    def times(self, x, factor):
        return x if factor == 1 else self.add("Mul", x, self.constant(np.array(factor)))

    def active(self, x):
        return self.add("LeakyRelu", x, alpha=0.2)

    def planes(self, x):
        """[N, C] → [N, C, 1, 1]."""
        return self.add("Unsqueeze", x, self.constant(np.array([2, 3])))

    def style(self, layer):
        """[N, dlatent] of the input `styles`."""
        return self.add("Gather", "styles", self.constant(np.array(layer)), axis=1)

    def spread(self, values):
        """A constant [C, …] for all pictures [1, C, 1, 1]."""
        return self.constant(values.reshape(1, -1, 1, 1))

    def const(self, name):
        """[1, C, 4, 4] → [N, C, 4, 4]."""
        values = self.arrays[name]
        batch = self.add("Slice", self.add("Shape", "styles"), self.constant(np.array([0])),
                         self.constant(np.array([1])))
        shape = self.add("Concat", batch, self.constant(np.array(values.shape[1:])), axis=0)
        return self.add("Expand", self.constant(values), shape)

    def normalized(self, x):
        """[N, C], each row divided by its root mean square."""
        mean = self.add("ReduceMean", self.add("Mul", x, x), axes=[1], keepdims=1)
        return self.add("Div", x, self.add("Sqrt", self.add("Add", mean,
                                                            self.constant(np.array(1e-8)))))

    def twice(self, x):
        """Nearest neighbour ×2."""
        return self.add("Resize", x, "", self.constant(np.array([1.0, 1, 2, 2])), mode="nearest",
                        coordinate_transformation_mode="asymmetric", nearest_mode="floor")


# Mapping ------------------------------------------------------------------------------------------


def mapping(onnx, config, arrays, about):
    graph = Graph(onnx, config, arrays)
    first, x = config.arch == "stylegan1", ["z"]
    inputs = {"z": ["batch", config.latent]}
    if config.labels:
        inputs["labels"] = ["batch", config.labels]
        x.append(graph.linear("labels", "mapping.embed", math.sqrt(config.labels) if first else 1))
    if not first:
        x = [*map(graph.normalized, x)]
    x = x[0] if len(x) == 1 else graph.add("Concat", *x, axis=1)
    if first:
        x = graph.normalized(x)
    for i in range(config.mapping_layers):
        x = graph.active(graph.linear(x, f"mapping.layers.{i}", SQRT2, config.mapping_lrmul,
                                      1.0 if first else SQRT2))
    graph.add("Identity", x, name="w")
    graph.add("Identity", graph.constant(arrays["w_avg"]), name="w_avg")
    return graph.model(inputs, {"w": ["batch", config.dlatent], "w_avg": [config.dlatent]}, about)


# Synthesis ----------------------------------------------------------------------------------------


def synthesis(onnx, config, arrays, about, size, alpha, noise):
    """noise: the maps [1, 1, h, h] of all pictures; None where they are to be inputs, [1 or batch,
    1, h, h]."""
    graph, layers = Graph(onnx, config, arrays), num_layers(size)
    inputs = {"styles": ["batch", layers, config.dlatent]}
    for i, s in enumerate(noise_sides(size, config.arch)):
        if config.noise_per_block and i % 2:
            continue
        if noise is None:
            inputs[f"noise{i}"] = ["noise_batch", 1, s, s]
        else:
            graph.constant(noise[i], f"noise{i}")
    paint = stylegan1 if config.arch == "stylegan1" else stylegan2
    graph.add("Identity", paint(graph, size, alpha), name="images")
    return graph.model(inputs, {"images": ["batch", config.channels, size, size]}, about)


def stylegan1(graph, size, alpha):
    config, last = graph.config, SQRT2 if graph.config.equalize_all else 1.0
    arrays, x = graph.arrays, None

    def epilogue(x, name, layer):
        """Noise, bias, leaky ReLU, instance norm, style."""
        channels = len(arrays[f"{name}.noise_weight"])
        strength = arrays[f"{name}.noise_weight"] * (
            math.sqrt(2 / channels) if config.equalize_all else 1.0)
        noise = layer // 2 * 2 if config.noise_per_block else layer
        x = graph.add("Add", x, graph.add("Mul", graph.spread(strength), f"noise{noise}"))
        if f"{name}.bias" in arrays:
            x = graph.add("Add", x, graph.spread(arrays[f"{name}.bias"]))
        x = graph.add("InstanceNormalization", graph.active(x), graph.constant(np.ones(channels)),
                      graph.constant(np.zeros(channels)), epsilon=config.norm_eps)
        style = graph.linear(graph.style(layer), f"{name}.style", last)
        scale, shift = (graph.planes(graph.add("Slice", style, *(
            graph.constant(np.array([n])) for n in (start, start + channels, 1))))
            for start in (0, channels))
        if not config.scale_from_zero:
            scale = graph.add("Add", scale, graph.constant(np.array(1.0)))
        return graph.add("Add", graph.add("Mul", x, scale), shift)

    def to_rgb(x, s):
        return graph.conv(x, graph.scaled(f"synthesis.to_rgb{s}", last),
                          arrays[f"synthesis.to_rgb{s}.bias"])

    for i, s in enumerate(sizes_to(size)):
        name, smaller = f"synthesis.block{s}", x
        if s == 4:
            x = graph.const(f"{name}.const")
        else:
            x = graph.conv(graph.twice(x), graph.scaled(f"{name}.conv0", SQRT2),
                           arrays.get(f"{name}.conv0.bias"))
            channels = config.width(s)
            x = graph.conv(x, np.broadcast_to(BLUR, (channels, 1, 3, 3)), groups=channels)
        x = epilogue(x, f"{name}.epilogue0", 2 * i)
        x = graph.conv(x, graph.scaled(f"{name}.conv1", SQRT2))
        x = epilogue(x, f"{name}.epilogue1", 2 * i + 1)
    image = to_rgb(x, size)
    if alpha < 1 and size > 4:                          # the size was still fading in
        small = graph.twice(to_rgb(smaller, size // 2))
        image = graph.add("Add", graph.times(image, alpha), graph.times(small, 1 - alpha))
    return image


def stylegan2(graph, size, alpha):
    config, arrays, image = graph.config, graph.arrays, None

    def limited(x):
        if not config.clamp:
            return x
        return graph.add("Clip", x, *(graph.constant(np.array(v))
                                      for v in (-config.clamp, config.clamp)))

    def layer(x, name, index, up):
        """Modulation, convolution, demodulation, noise, bias, leaky ReLU; ×2 where `up`."""
        style = graph.linear(graph.style(index), f"{name}.style", 1)
        x = graph.add("Mul", x, graph.planes(style))
        weight = arrays[f"{name}.weight"]
        if up:
            x = graph.add("ConvTranspose", x, graph.constant(weight.transpose(1, 0, 2, 3)),
                          strides=[2, 2], pads=[0] * 4)
            x = graph.add("Conv", x, graph.constant(np.broadcast_to(
                4 * SMOOTH, (len(weight), 1, 4, 4))), group=len(weight), pads=[1] * 4)
        else:
            x = graph.conv(x, weight)
        squares = (weight.astype("float64") ** 2).sum((2, 3))
        norm = graph.add("Sqrt", graph.add("Add", graph.add("MatMul", graph.add(
            "Mul", style, style), graph.constant(squares.T)), graph.constant(np.array(1e-8))))
        x = graph.add("Div", x, graph.planes(norm))
        x = graph.add("Add", x, graph.times(f"noise{index}",
                                            float(arrays[f"{name}.noise_strength"][0])))
        x = graph.add("Add", x, graph.spread(arrays[f"{name}.bias"]))
        return limited(graph.times(graph.active(x), SQRT2))

    for i, s in enumerate(sizes_to(size)):
        name = f"synthesis.block{s}"
        if s == 4:
            x = graph.const(f"{name}.const")
        else:
            x = layer(x, f"{name}.conv0", 2 * i - 1, up=True)
        x = layer(x, f"{name}.conv1", 2 * i, up=False)
        rgb = f"synthesis.to_rgb{s}"
        style = graph.linear(graph.style(2 * i + 1), f"{rgb}.style", 1)
        here = graph.add("Mul", x, graph.planes(style))
        here = graph.conv(here, arrays[f"{rgb}.weight"] / math.sqrt(config.width(s)))
        here = limited(graph.add("Add", here, graph.spread(arrays[f"{rgb}.bias"])))
        if image:
            kernel = np.broadcast_to(4 * SMOOTH, (config.channels, 1, 4, 4))
            image = graph.add("ConvTranspose", image, graph.constant(kernel), strides=[2, 2],
                              pads=[1] * 4, group=config.channels)
            here = graph.add("Add", image, here)
        image = here
    return image
