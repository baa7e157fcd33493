"""Bases of ablations: of the Barlow Twins paper for 300 epochs (section 4), and of VICReg's for 100 epochs.

Expected, linear probe: Barlow Twins 71.4 % top-1 and 90.2 % top-5, VICReg 68.6 % top-1. The numbers of each
ablation are in barlow_jax/papers/ablations.py.
Hardware: as for imagenet.py, 0.3 or 0.1 of its time per ablation.

    python -m barlow_jax pretrain --config ablations --workdir runs/baseline
    python -m barlow_jax ablate --config ablations --only loss --workdir runs/ablations
    python -m barlow_jax ablate --config ablations:vicreg --table vicreg --workdir runs/vicreg_ablations
"""

from barlow_jax.config.overrides import load_sibling


def get_config(table="barlow_twins"):
    if table == "vicreg":
        config = load_sibling(__file__, "vicreg")
        config.train.num_epochs, config.optim.learning_rate = 100.0, 0.3
        return config
    config = load_sibling(__file__, "imagenet")
    config.train.num_epochs = 300.0
    return config
