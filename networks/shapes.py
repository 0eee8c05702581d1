"""Shapes of all parameters, without Jittor, by the names that the networks give them."""


def generator_shapes(config):
    """{name: shape} of a StyledGenerator, in the order in which it computes."""
    shapes = mapping_shapes("mapping", config.mapping_widths, config.labels, config.embedded,
                            bias=config.arch == "stylegan2")
    shapes["w_avg"] = (config.dlatent,)
    return shapes | SYNTHESIS[config.arch](config)


def discriminator_shapes(config):
    """{name: shape} of a Discriminator, in the order in which it computes."""
    return DISCRIMINATOR[config.arch](config)


def picture_layers(config):
    """Names of the discriminator's layers above its head, from the picture on."""
    names = [name.rpartition(".")[0] for name in discriminator_shapes(config)
             if name.endswith("weight")]
    return [name for name in names if not name.startswith(("head", "mapping"))]


def mapping_shapes(name, widths, labels, embedded, bias=True):
    """bias: whether the labels' embedding has one."""
    shapes = layer_shapes(f"{name}.embed", (embedded, labels), bias) if labels else {}
    for i, (fan_in, fan_out) in enumerate(zip(widths, widths[1:])):
        shapes |= layer_shapes(f"{name}.layers.{i}", (fan_out, fan_in))
    return shapes


def layer_shapes(name, weight, bias=True):
    return {f"{name}.weight": weight} | ({f"{name}.bias": weight[:1]} if bias else {})


# StyleGAN1 ----------------------------------------------------------------------------------------


def synthesis1(config):
    shapes = {}
    for size in config.sizes:
        block, width = f"synthesis.block{size}", config.width(size)
        if size == 4:
            shapes[f"{block}.const"] = (1, width, 4, 4)
        else:
            shapes |= layer_shapes(f"{block}.conv0", (width, config.width(size // 2), 3, 3),
                                   bias=config.bias_before_blur)
        shapes |= epilogue_shapes(f"{block}.epilogue0", width, config.dlatent,
                                  bias=not config.bias_before_blur)
        shapes |= layer_shapes(f"{block}.conv1", (width, width, 3, 3), bias=False)
        shapes |= epilogue_shapes(f"{block}.epilogue1", width, config.dlatent)
        shapes |= layer_shapes(f"synthesis.to_rgb{size}", (config.channels, width, 1, 1))
    return shapes


def epilogue_shapes(name, width, dlatent, bias=True):
    shapes = {f"{name}.noise_weight": (width,)} | ({f"{name}.bias": (width,)} if bias else {})
    return shapes | layer_shapes(f"{name}.style", (2 * width, dlatent))


def discriminator1(config):
    shapes = {}
    for size in reversed(config.sizes):
        width = config.d_width(size)
        shapes |= layer_shapes(f"from_rgb{size}", (width, config.channels, 1, 1))
        if size > 4:
            below = config.d_width(size // 2)
            between = below if config.widen_first else width
            shapes |= layer_shapes(f"block{size}.conv0", (between, width, 3, 3))
            shapes |= layer_shapes(f"block{size}.conv1", (below, between, 3, 3))
    return shapes | head_shapes(config, config.d_width(2), max(1, config.labels))


def head_shapes(config, dense, scores):
    width = config.d_width(4)
    with_stddev = width + (config.stddev_group != 1)
    shapes = layer_shapes("head.conv", (width, with_stddev, 3, 3))
    shapes |= layer_shapes("head.dense0", (dense, 16 * width))
    return shapes | layer_shapes("head.dense1", (scores, dense))


# StyleGAN2 ----------------------------------------------------------------------------------------


def synthesis2(config):
    shapes = {}
    for size in config.sizes:
        block, width = f"synthesis.block{size}", config.width(size)
        if size == 4:
            shapes[f"{block}.const"] = (1, width, 4, 4)
        else:
            below = config.width(size // 2)
            shapes |= modulated_shapes(f"{block}.conv0", (width, below, 3, 3), config.dlatent)
        shapes |= modulated_shapes(f"{block}.conv1", (width, width, 3, 3), config.dlatent)
        shapes |= modulated_shapes(f"synthesis.to_rgb{size}", (config.channels, width, 1, 1),
                                   config.dlatent, noise=False)
    return shapes


def modulated_shapes(name, weight, dlatent, noise=True):
    shapes = layer_shapes(name, weight) | layer_shapes(f"{name}.style", (weight[1], dlatent))
    return shapes | ({f"{name}.noise_strength": (1,)} if noise else {})


def discriminator2(config):
    width = config.d_width(config.size)
    shapes = layer_shapes(f"from_rgb{config.size}", (width, config.channels, 1, 1))
    for size in reversed(config.sizes[1:]):
        width, below = config.d_width(size), config.d_width(size // 2)
        shapes |= layer_shapes(f"block{size}.conv0", (width, width, 3, 3))
        shapes |= layer_shapes(f"block{size}.conv1", (below, width, 3, 3))
        if config.d_residual:
            shapes |= layer_shapes(f"block{size}.skip", (below, width, 1, 1), bias=False)
    width = config.d_width(4)
    if config.labels:
        widths = [width] * (config.d_mapping_layers + 1)
        shapes |= mapping_shapes("mapping", widths, config.labels, width)
    return shapes | head_shapes(config, width, width if config.labels else 1)


SYNTHESIS = {"stylegan1": synthesis1, "stylegan2": synthesis2}
DISCRIMINATOR = {"stylegan1": discriminator1, "stylegan2": discriminator2}
