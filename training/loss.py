"""Losses of the discriminator and the generator.

Scores are [N, 1]; every loss is a Var of one element. `D` is a function from images to scores, and
`real` and `fake` are equally many images. The discriminator's loss comes as a list of terms to be
summed, no two of which share a pass through D, so that their gradients can be found one after the
other, in the memory of one (the relativistic loss is a single term, and needs that of both).
`scale` is schedule.gradient_scale: how long the gradient that a penalty is taken of is, beside that
of x.
"""
from backend import jt, noise


def softplus(x):
    """log(1 + exp(x)), also where exp(x) overflows."""
    return jt.maximum(x, 0) + jt.log(1 + jt.exp(-jt.abs(x)))


def r1_penalty(scores, images):
    """|∇ D(x)|² per image, [N], of the sum of the raw scores (Mescheder et al. 2018, eq. 9).

    Differentiable again: its gradient with respect to D is a double gradient.
    """
    gradient = jt.grad(scores.sum(), images, retain_graph=True)
    return (gradient * gradient).sum([1, 2, 3])


def logistic_discriminator(D, real, fake, gamma, scale=1.0):
    """Non-saturating logistic loss (Goodfellow et al. 2014) with R1 on the real images.

    Returns (terms, scores of real, scores of fake, mean R1 penalty before γ/2 · scale², None for
    γ = 0).
    """
    real_scores, fake_scores = D(real), D(fake)
    terms, penalty = [softplus(-real_scores).mean(), softplus(fake_scores).mean()], None
    if gamma:
        penalty = r1_penalty(real_scores, real).mean()
        terms[0] = terms[0] + penalty * (gamma / 2 * scale ** 2)
    return terms, real_scores, fake_scores, penalty


def logistic_generator(D, _real, fake):
    return softplus(-D(fake)).mean()


def relativistic_discriminator(D, real, fake, gamma, scale=1.0):
    """How far a generated image is scored above the real one beside it, with R1 and R2: the
    penalty on both (Huang et al. 2024, "The GAN is dead; long live the GAN", section 2).

    Returns as above; the penalty is the sum of both.
    """
    fake = fake.detach()
    fake.start_grad()
    real_scores, fake_scores = D(real), D(fake)
    term, penalty = softplus(fake_scores - real_scores).mean(), None
    if gamma:
        penalty = (r1_penalty(real_scores, real) + r1_penalty(fake_scores, fake)).mean()
        term = term + penalty * (gamma / 2 * scale ** 2)
    return [term], real_scores, fake_scores, penalty


def relativistic_generator(D, real, fake):
    with jt.no_grad():
        real_scores = D(real)
    return softplus(real_scores - D(fake)).mean()


def path_lengths(images, styles, directions):
    """How fast each picture moves with its style, [N]: √ of the mean over the layers of the squared
    length of d sum(images · directions) / d styles (Karras et al. 2019, "Analyzing and Improving
    the Image Quality of StyleGAN", section 3.2).

    images [N, C, H, W], painted of styles [N, layers, dlatent]; directions: N(0, 1) / √(H · W), of
    the images' shape. Differentiable again.
    """
    gradient = jt.grad((images * directions).sum(), styles, retain_graph=True)
    return jt.sqrt((gradient * gradient).sum(2).mean(1))


def wgan_gp_discriminator(D, real, fake, gamma, scale=1.0, drift=0.001):
    """Wasserstein loss with gradient penalty (Gulrajani et al. 2017; Karras et al. 2017, A.1).

    γ is the penalty's weight λ, 10 in the papers. The penalty is taken at random points between
    real and fake images; a small drift keeps the scores of real images near zero.
    Returns (terms, scores of real, scores of fake, mean penalty before λ, None for λ = 0).
    """
    real_scores, fake_scores = D(real), D(fake)
    terms = [(real_scores ** 2).mean() * drift - real_scores.mean(), fake_scores.mean()]
    penalty = None
    if gamma:
        penalty = gradient_penalty(D, real, fake, scale)
        terms.append(penalty * gamma)
    return terms, real_scores, fake_scores, penalty


def gradient_penalty(D, real, fake, scale):
    """(scale · |∇ D(x)| − 1)² at random points between real and fake, the mean over images."""
    between = noise.uniform(real.shape[0], 1, 1, 1)
    mixed = real * between + fake.stop_grad() * (1 - between)
    mixed.start_grad()
    squared_norm = r1_penalty(D(mixed), mixed)
    return ((jt.sqrt(squared_norm + 1e-12) * scale - 1) ** 2).mean()


def wgan_gp_generator(D, _real, fake):
    return -D(fake).mean()


LOSSES = {"logistic": (logistic_discriminator, logistic_generator),
          "relativistic": (relativistic_discriminator, relativistic_generator),
          "wgan-gp": (wgan_gp_discriminator, wgan_gp_generator)}
