"""The recipes: what a run does where no flag says otherwise. Plain numbers, by architecture."""
from backend import mpi
from training.schedule import multiple

# The official one of StyleGAN1 for a single GPU (Karras et al. 2018, appendix C).
OFFICIAL = dict(
    arch="stylegan1", init_size=8, max_size=None, channels=3, latent=512, mapping_layers=8,
    fmap_base=8192, fmap_max=512, stddev_group=4, d_residual=True, kimg=25000.0, phase_kimg=600.0,
    fade_kimg=600.0, batch=None, lr=None, loss="logistic", gamma=10.0, gamma_scale="official",
    mixing=0.9, mirror=False, ema_kimg=[10.0], ema_rampup=0.0, seed=0, r1_interval=1, pl_weight=0.0,
    pl_interval=1, share_fakes=False, conv="winograd", save_kimg=500.0, sample_kimg=100.0, keep=10,
    metrics="", metric_kimg=100.0, metric_images=2048, metric_share=0.1, inception=None, lpips=None,
    features=None, tensorboard=False, amp=False, grad_accum=1, init_alpha=1.0, dlr=None, freeze_d=0,
    augment="none", augment_p=None, augment_target=0.6, augment_kimg=500.0,
    holdout=0.0, labels=False)

# Hours on a CPU, or a few thousand pictures; docs/runs says how the values were found.
NARROW = dict(
    latent=64, fmap_base=512, fmap_max=64, kimg=500.0, batch="16", loss="relativistic", gamma=5.0,
    gamma_scale="port", r1_interval=4, mixing=0.5, ema_kimg=[2.0], save_kimg=50.0, sample_kimg=5.0,
    augment_target=0.9, augment_kimg=100.0)
SMALL = NARROW | dict(phase_kimg=6.0, fade_kimg=3.0, lr="0.006", share_fakes=True)

# StyleGAN2's, configuration F (Karras et al. 2019, "Analyzing and Improving the Image Quality of
# StyleGAN", appendix B).
OFFICIAL2 = dict(
    arch="stylegan2", fmap_base=16384, batch="32", lr="0.002", gamma_scale="port", r1_interval=16,
    pl_weight=2.0, pl_interval=4)

# The others of the code of Karras et al. 2020, "Training Generative Adversarial Networks with
# Limited Data", but for the augmentation.
PAPER256 = dict(fmap_base=8192, batch="64", lr="0.0025", gamma=1.0, ema_kimg=[20.0], stddev_group=8)
PAPER512 = dict(batch="64", lr="0.0025", gamma=0.5, ema_kimg=[20.0], stddev_group=8)
PAPER1024 = dict(gamma=2.0)
CIFAR = dict(
    mapping_layers=2, kimg=100_000.0, batch="64", lr="0.0025", gamma=0.01, ema_kimg=[500.0],
    ema_rampup=0.05, stddev_group=32, d_residual=False, pl_weight=0.0, mixing=0.0)
SMALL2 = NARROW | dict(mapping_layers=2, lr="0.005", pl_weight=0.0, ema_rampup=0.05)

# Fewer pictures StyleGAN1's small preset augments, steered by D's mean sign (docs/runs/few).
FEW = 1000

PRESETS = {
    "stylegan1": {"official": {}, "small": SMALL},
    "stylegan2": {"official": {}, "auto": None, "paper256": PAPER256, "paper512": PAPER512,
                  "paper1024": PAPER1024, "cifar": CIFAR, "small": SMALL2}}


def recipe(arch, preset, size):
    """All settings of a run that begins, before what is typed; `size`: of its pictures."""
    found = OFFICIAL | (OFFICIAL2 if arch == "stylegan2" else {})
    return found | (auto(size, mpi.SIZE) if preset == "auto" else PRESETS[arch][preset])


def auto(size, processes):
    """That code's own guess, for so many GPUs."""
    batch = max(min(processes * min(4096 // size, 32), 64), processes)
    batch = multiple(batch, 4 * processes)                      # whole groups for each, here
    return dict(
        mapping_layers=2, fmap_base=16384 if size >= 512 else 8192, batch=str(batch),
        lr="0.002" if size >= 1024 else "0.0025", gamma=0.0002 * size ** 2 / batch,
        ema_kimg=[batch * 10 / 32], ema_rampup=0.05)
