"""Other people's weights into a .model file, and ours into the PyTorch port's names.

    python convert.py stylegan2-ffhq.pkl ffhq.model      official StyleGAN1 or StyleGAN2
    python convert.py FFHQ_80000.model ffhq.model --size 128    the PyTorch or the Jittor port
    python convert.py x.model x.pt                       ours → the PyTorch port, of StyleGAN1 or
                                                         of StyleGAN2 (.pt .npz .safetensors)
    python convert.py x.model small.model --half         ours, of half the size: to give away
    python convert.py x.model x.onnx                     ours → ONNX, with x_mapping.onnx beside it
    python convert.py --check FILE                       what is in it

What IN is, is seen from its content; what is written, from the ending of OUT. Nothing but NumPy is
needed, except that .pt needs PyTorch, .safetensors and .onnx their libraries, and that --half and
--approximate paint some pictures to measure the error.
"""
import dataclasses
import importlib
import math
import os
import re
import shlex

import numpy as np

from backend.errors import UserError, counted
from backend.files import make_folder, naming, replacing
from cli import Parser, add_device_arguments, bring_up, run, size_argument
from networks.config import PORT, ModelConfig, size_of
from networks.shapes import discriminator_shapes, generator_shapes
from weights import npz, onnx_graph, port, port2, snapshot

ENDINGS = (".model", ".pt", ".npz", ".safetensors", ".onnx")
LIBRARIES = {".pt": "torch", ".safetensors": "safetensors.numpy", ".onnx": "onnx"}


def main(argv=None):
    args = parse_arguments(argv)
    library = None if args.check else library_for(args.output)
    header, arrays = snapshot.load_any(args.input, args.size)
    config = snapshot.model_config(header, args.input)
    print(describe(args.input, header, arrays))
    if args.check:
        print_network("Generator", generator_shapes(config))
        if any(name.startswith("discriminator/") for name in arrays):
            print_network("Discriminator", discriminator_shapes(config))
        print(f"All of its {counted(len(arrays), 'array')} found their place.")
        return 0
    if args.half:
        original = header, arrays
        header, arrays = halved(header, arrays, args.input)
        print("as float16: "
              f"{difference(original, (header, snapshot.widened(arrays)), args)}")
    else:
        header.pop("half", None)                # it was widened when it was read
    if args.output.endswith(".model"):
        with naming(args.output):
            snapshot.save(args.output, header, arrays)
        print(f"Wrote {args.output}. To see it, type: python generate.py "
              f"{shlex.quote(args.output)}")
        return 0
    if args.output.endswith(".onnx"):
        return to_onnx(header, arrays, config, args, library)
    if config.arch == "stylegan2":
        return to_port2(header, arrays, config, args, library)
    if config.labels:
        raise UserError(f"{args.input}: the PyTorch port has no place for its labels: name a file "
                        "that ends in .model")
    wrong = [IN_WORDS[name] for name, there in PORT.items() if getattr(config, name) != there]
    if wrong:
        if not args.approximate:
            raise UserError(f"{args.input}: the PyTorch port computes otherwise ("
                            f"{', '.join(wrong)}): type --approximate to convert it as well as can "
                            "be, with the error measured")
        original = header, arrays
        config, arrays = approximate(config, arrays)
        header = header | {"model": dataclasses.asdict(config)}
        print(f"approximate: {difference(original, (header, arrays), args)}: look at some there "
              "before you rely on them; noise is drawn once per size there; the discriminator is "
              "left out")
    networks = port.to_port(config, arrays)
    write(args.output, networks, library)
    load = f"torch.load({args.output!r})['g_running']" if args.output.endswith(".pt") else \
        "the arrays under g_running/"
    print(f"Wrote {args.output} in the PyTorch port's names; there, "
          f"generator.load_state_dict takes {load}")
    print_what_the_port_needs(config)
    return 0


def parse_arguments(argv):
    parser = Parser(description=__doc__)
    parser.add_argument("input", metavar="IN", help="weights of any kind")
    parser.add_argument("output", metavar="OUT", nargs="?", help="file to write, ending in "
                        f"{' '.join(ENDINGS)} (default: IN with the ending .model)")
    parser.add_argument("--check", action="store_true", help="only print what IN is, the table of "
                        "its layers, and whether every array found its place")
    parser.add_argument("--size", type=size_argument, help="size in pixels to which IN was "
                        "trained, where it does not say it (default: the largest it has layers "
                        "for)")
    parser.add_argument("--approximate", action="store_true", help="towards the port: also convert "
                        "what it computes differently, and print the measured error")
    parser.add_argument("--half", action="store_true", help="into a .model file of float16: only "
                        "what generate.py needs, in half the bytes or somewhat more (the "
                        "mapping network stays as it is), and the measured error is printed")
    parser.add_argument("--noise_inputs", action="store_true", help="into .onnx: the noise maps "
                        "are inputs noise0, noise1 …, not the file's own or fixed ones inside")
    add_device_arguments(parser)
    args = parser.parse_args(argv)
    if args.check and (args.output or args.half):
        parser.error(f"--check writes nothing: leave {args.output or '--half'} out")
    if args.check:
        return args
    args.output = args.output or os.path.splitext(args.input)[0] + ".model"
    if not args.output.endswith(ENDINGS):
        raise UserError(f"{args.output}: wanted an ending of {' '.join(ENDINGS)}")
    if args.half and not args.output.endswith(".model"):
        raise UserError(f"--half: found {args.output}, wanted a name that ends in .model")
    if args.approximate and args.output.endswith(".onnx"):
        raise UserError("--approximate is towards the port, ONNX computes the same: leave it out")
    if args.noise_inputs and not args.output.endswith(".onnx"):
        raise UserError(f"--noise_inputs: found {args.output}, wanted a name that ends in .onnx")
    taken = [path for path in outputs(args.output) if os.path.exists(path)]
    if taken:
        stem, ending = os.path.splitext(args.output)
        raise UserError(f"{taken[0]} exists, and is not written over: name another OUT, such as "
                        + shlex.quote(f"{stem}_converted{ending}"))
    make_folder(os.path.dirname(os.path.abspath(args.output)), "OUT: the folder")
    return args


def outputs(path):
    """The files that are written where `path` is typed."""
    stem, ending = os.path.splitext(path)
    return [path, f"{stem}_mapping.onnx"] if ending == ".onnx" else [path]


def library_for(path):
    """The module that writes such a file, None where NumPy does."""
    stem, ending = os.path.splitext(path)
    if not ending:
        raise UserError(f"{path}: wanted a name before its ending")
    name = LIBRARIES.get(ending)
    try:
        return name and importlib.import_module(name)
    except ImportError:
        library = name.partition(".")[0]
        raise UserError(f"{path}: needs {library}: type pip install {library}" + (
            "" if ending == ".onnx" else f", or name {shlex.quote(f'{stem}.npz')}")) from None


def describe(path, header, arrays):
    networks = [name for name in ("ema", "generator", "discriminator")
                if any(a.startswith(name + "/") for a in arrays)]
    size = f"size {header['size']}"
    if "source" not in header:
        size = f"{header['model']['arch'].replace('stylegan', 'StyleGAN')}, {size}"
    if labels := header["model"]["labels"]:
        size += f", {counted(labels, 'label')}"
    if header["alpha"] < 1:
        size += f" (fading in, alpha {header['alpha']:.2f})"
    if header.get("size_guessed"):
        size += ", the largest it has layers for (if it was trained to less, add --size)"
    half = " (float16)" if header.get("half") else ""
    return f"{path}: {snapshot.source(header)}; {', '.join(networks)}{half}; {size}"


# The table ----------------------------------------------------------------------------------------


def print_network(title, shapes):
    """Layer, output shape and parameters, like the official print_layers."""
    rows = {}
    for name, shape in shapes.items():
        if name != "w_avg":
            layer = layer_of(name)
            rows.setdefault(layer, [output_shape(name, shape), 0])[1] += math.prod(shape)
    print(f"\n{title:26}{'output':22}{'parameters':>12}")
    for layer, (output, count) in rows.items():
        print(f"{layer:26}{output:22}{count:12,}")
    print(f"{'total':48}{sum(count for _, count in rows.values()):12,}\n")


def layer_of(name):
    """A convolution and the epilogue after it are one layer."""
    layer = re.sub(r"\.(style\.)?(weight|bias|noise_weight|noise_strength)$", "", name)
    layer = layer.replace("block4.epilogue0", "block4.const")
    return re.sub(r"epilogue(\d)$", r"conv\1", layer)


def output_shape(name, shape):
    """Of the layer whose first parameter is `name`; N pictures."""
    if name.startswith(("mapping", "head.dense")):
        return f"(N, {shape[0]})"
    size = size_of(name) or 4
    if re.match(r"block\d+\.(conv1|skip)", name):
        size //= 2
    return f"(N, {shape[1] if name.endswith('const') else shape[0]}, {size}, {size})"


# Smaller ------------------------------------------------------------------------------------------


def halved(header, arrays, path):
    """(header, arrays) of the averaged generator alone, as float16 but for the mapping network.

    That has eight layers of which each sharpens what the one before it rounded: nearly all of the
    error would be its own, for a tenth of the bytes.
    """
    kept, most = {}, np.finfo(np.float16).max
    for name, array in arrays.items():
        if name.startswith(("ema/", "noise/")):
            if not (np.abs(array) <= most).all():
                raise UserError(f"{path}: --half: {name} has values that are not finite, or beyond "
                                f"float16's {most:,.0f}: leave --half out")
            kept[name] = array if name.startswith("ema/mapping") else array.astype(np.float16)
    return header | {"half": True}, kept


# Towards the port ---------------------------------------------------------------------------------


# What the fields of config.PORT mean, for the line that refuses.
IN_WORDS = {
    "mapping_lrmul": "mapping network's learning rate", "stddev_group": "groups of the minibatch "
    "stddev", "norm_eps": "epsilon of the instance norm", "bias_before_blur": "bias before the "
    "blur", "noise_per_block": "one noise map per size", "equalize_all": "gains of style, noise "
    "and toRGB", "scale_from_zero": "style's scale", "widen_first": "discriminator's widths"}


def approximate(config, arrays):
    """(ModelConfig of the port's kind, arrays) that compute nearly the same; generators only.

    Factors and the 1 of the style's scale go into the weights. What cannot follow: the bias comes
    before the blur, so that it darkens at the border, and epsilon is another.
    """
    folded, root = {}, math.sqrt(2)
    for full_name, array in arrays.items():
        prefix, _, name = full_name.partition("/")
        if prefix not in ("ema", "generator"):
            continue
        if "mapping" in name:
            array = array * config.mapping_lrmul
        elif not config.equalize_all and name.endswith("noise_weight"):
            array = array * math.sqrt(len(array) / 2)
        elif not config.equalize_all and re.search(r"(style|to_rgb\d+)\.weight$", name):
            array = array / root
        elif not config.scale_from_zero and name.endswith("style.bias"):
            array = array + np.repeat([1, 0], len(array) // 2)
        elif not config.bias_before_blur and name == "synthesis.block4.const":
            array = array + arrays[f"{prefix}/synthesis.block4.epilogue0.bias"].reshape(1, -1, 1, 1)
        elif not config.bias_before_blur and name.endswith("epilogue0.bias"):
            if "block4" in name:
                continue
            full_name = full_name.replace("epilogue0", "conv0")
        folded[full_name] = array.astype("float32")
    return dataclasses.replace(config, **PORT), folded


def difference(original, changed, args):
    """How far the pictures of 16 latents are from those of the original, in words."""
    from pictures.painter import Painter
    bring_up(args.device, args.cuda_home)
    pictures = []
    for header, arrays in original, changed:
        painter = Painter(header, arrays, args.input, truncation_psi=1.0, noise="none")
        pictures.append(painter.paint(painter.styles(range(16))))
    off = np.abs(pictures[1] - pictures[0])
    return (f"over 16 pictures of size {painter.size} without noise, the largest difference is "
            f"{off.max() / np.abs(pictures[0]).max():.1%} of the largest value, the root mean "
            f"square {np.sqrt((off ** 2).mean() / pictures[0].var()):.1%} of the pictures' own")


def to_port2(header, arrays, config, args, library):
    """The file in the names of StyleGAN2's PyTorch port."""
    wrong = [name for name in ("channels", "labels", "mapping_lrmul")
             if getattr(config, name) != port2.FIXED[name]]
    wrong += ["latent, dlatent and mapping_fmaps"] * (
        len({config.latent, config.dlatent, config.mapping_fmaps}) > 1)
    if wrong:
        raise UserError(f"{args.input}: the PyTorch port has no place for its {', '.join(wrong)}: "
                        "name a file that ends in .model")
    if config.clamp:
        if not args.approximate:
            raise UserError(f"{args.input}: activations stay within {config.clamp:g} here, and "
                            "have no limit in the PyTorch port: type --approximate to leave it "
                            "out, with the error measured")
        original = header, arrays
        config = dataclasses.replace(config, clamp=0.0)
        header = header | {"model": dataclasses.asdict(config)}
        print(f"approximate: {difference(original, (header, arrays), args)}")
    own = [name for name in ("d_residual", "stddev_group")
           if getattr(config, name) != port2.FIXED[name]]
    if own:
        arrays = {name: a for name, a in arrays.items() if not name.startswith("discriminator/")}
        print(f"the discriminator is left out, for its {' and '.join(own)} are not the port's")
    write(args.output, port2.to_port(config, arrays), library)
    load = f"torch.load({args.output!r})['g_ema']" if args.output.endswith(".pt") else \
        "the arrays under g_ema/"
    print(f"Wrote {args.output} in the PyTorch port's names; there, Generator({config.size}, "
          f"{config.latent}, {config.mapping_layers}).load_state_dict takes {load}")
    full = [min(base // s, 512) for base in (16384 * 2, 8192 * 2) for s in config.sizes]
    here = [config.width(s) for s in config.sizes]
    if here not in (full[:len(here)], full[len(here):]):
        print("The port's class has literal widths; here they are " +
              ", ".join(f"{n} at {s}" for s, n in zip(config.sizes, here)) + ": change them there.")
    return 0


def to_onnx(header, arrays, config, args, library):
    """Two files: styles → images, and latents → w."""
    made = onnx_graph.of_file(library, header, arrays, config, args.input, args.noise_inputs)
    for path, model in zip(outputs(args.output), made):
        with naming(path), replacing(path) as file:
            file.write(model.SerializeToString())
        ends = [", ".join(f"{value.name} [{', '.join(map(side, value.type.tensor_type.shape.dim))}]"
                          for value in values) for values in (model.graph.input,
                                                              model.graph.output)]
        print(f"Wrote {path}: {ends[0]} → {ends[1]}")
    return 0


def side(dimension):
    return dimension.dim_param or str(dimension.dim_value)


def write(path, networks, library):
    """Write {network: {name: array}, or name: array} as its ending says; flat files have
    network/name.

    library: what library_for gave.
    """
    flat = {}
    for network, state in networks.items():
        flat |= {f"{network}/{name}": array for name, array in state.items()} \
            if isinstance(state, dict) else {network: state}
    with naming(path), replacing(path) as file:
        if path.endswith(".npz"):
            npz.write(file, flat)
        elif path.endswith(".pt"):
            library.save({network: {name: library.from_numpy(a) for name, a in state.items()}
                          if isinstance(state, dict) else library.from_numpy(state)
                          for network, state in networks.items()}, file)
        else:
            file.write(library.save(flat))


def print_what_the_port_needs(config):
    """What in the port's classes is literal and is other here."""
    full = ModelConfig(**PORT)
    if any(config.width(s) != full.width(s) or config.d_width(s) != full.d_width(s)
           for s in config.sizes) or config.channels != 3:
        widths = ", ".join(f"{config.width(s)} at {s}" for s in config.sizes)
        print(f"The port's class has literal widths; here they are {widths}, and {config.channels} "
              "channels: change them there.")
    if config.size < 1024:
        print(f"The port's class goes to 1024, this to {config.size}: add strict=False.")


if __name__ == "__main__":
    run(main)
