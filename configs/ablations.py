"""Base of the Barlow Twins paper's ablations: `imagenet.py` for 300 epochs (Zbontar et al. 2021, section 4).

Expected: 71.4 % top-1 and 90.2 % top-5 by linear probe. The numbers of each ablation are in
barlow_jax/papers/ablations.py.
Hardware: as for imagenet.py, 0.3 of its time per ablation.

    python -m barlow_jax pretrain --config ablations --workdir runs/baseline
    python -m barlow_jax ablate --config ablations --only loss --workdir runs/ablations
"""

from barlow_jax.config.overrides import load_sibling


def get_config():
    config = load_sibling(__file__, "imagenet")
    config.train.num_epochs = 300.0
    return config
