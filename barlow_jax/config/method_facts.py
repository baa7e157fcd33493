"""Facts about each method: its title, and the views and heads that it needs."""

from collections.abc import Mapping
import dataclasses

from barlow_jax.config.recipe import PATCHES


@dataclasses.dataclass(frozen=True)
class Method:
    """A method's name, views, heads and advice. Heads in neither set must be off."""

    title: str  # in the papers' tables
    views: tuple[str, ...] = ("a", "b")
    extra_views: bool = False  # more views are allowed
    required_heads: frozenset[str] = frozenset({"projector"})  # keys of HEADS
    optional_heads: frozenset[str] = frozenset()
    separate_branches: bool = False  # view b may have a network of its own
    image_memory: bool = False  # its memory has rows for every training image
    own_classes: int = 0  # of its classifier, if they are not the labels of the data
    # Views that the joint head takes side by side: patches of the last of `views`.
    joint_views: tuple[str, ...] = ()
    # It learns against a moving target network, a queue or changing clusters: its loss may rise meanwhile.
    loss_may_rise: bool = False
    # Remedies in the method's own keys, in addition to those that hold for all methods.
    if_not_finite: str = ""  # if its loss is repeatedly not finite
    if_collapsed: str = ""  # if all embeddings have collapsed to one vector


# Keys of `config.network`, with the value that turns the head off.
HEADS: Mapping[str, tuple[int, ...] | int] = {
    "projector": (),
    "predictor": (),
    "prototypes": 0,
    "num_classes": 0,
    "joint_head": (),
}
_PROJECTOR, _PREDICTOR = frozenset({"projector"}), frozenset({"projector", "predictor"})
# By the name of the method's file in `objectives/`. Methods of a user's own are not checked.
METHODS: Mapping[str, Method] = {
    "barlow_twins": Method(
        "Barlow Twins", extra_views=True, optional_heads=frozenset({"predictor"}), separate_branches=True
    ),
    "byol": Method(
        "BYOL",
        optional_heads=frozenset({"predictor"}),
        loss_may_rise=True,
        if_collapsed="--config.network.predictor, --config.objective.byol.target_momentum above 0, or "
        "--config.objective.byol.variance_weight=1",
    ),
    "classification": Method("Supervised", ("a",), required_heads=frozenset({"num_classes"})),
    "context_prediction": Method(
        "Context prediction", ("a",), required_heads=frozenset({"joint_head"}), joint_views=PATCHES[:2]
    ),
    "deepcluster": Method("DeepCluster-v2", extra_views=True, image_memory=True, loss_may_rise=True),
    "emp_ssl": Method("EMP-SSL", extra_views=True),
    "intl": Method("INTL", extra_views=True),
    "jigsaw": Method("Jigsaw", ("a",), required_heads=frozenset({"joint_head"}), joint_views=PATCHES),
    "mixed_barlow_twins": Method("Mixed Barlow Twins"),
    "moco": Method("MoCo v2", loss_may_rise=True),
    "npid": Method("NPID", ("a",), image_memory=True),
    "pcl": Method("PCL v2", image_memory=True, loss_may_rise=True),
    "pirl": Method(
        "PIRL", required_heads=_PROJECTOR | {"joint_head"}, image_memory=True, joint_views=PATCHES
    ),
    "rotation": Method("Rotation", ("a",), required_heads=frozenset({"num_classes"}), own_classes=4),
    "sigreg": Method("SIGReg (LeJEPA)", extra_views=True),
    "simclr": Method("SimCLR", extra_views=True, separate_branches=True),
    "simsiam": Method(
        "SimSiam",
        required_heads=_PREDICTOR,
        loss_may_rise=True,
        if_collapsed="--config.objective.simsiam.variance_weight=1",
    ),
    "swav": Method("SwAV", extra_views=True, required_heads=_PROJECTOR | {"prototypes"}, loss_may_rise=True),
    "vicreg": Method(
        "VICReg",
        extra_views=True,
        separate_branches=True,
        if_collapsed="a larger --config.objective.vicreg.variance_weight",
    ),
    "vse": Method("VSE++", separate_branches=True),
    "w_mse": Method(
        "W-MSE",
        extra_views=True,
        if_not_finite="if smallest_pivot in the metrics is 0, a covariance was singular: use a larger "
        "--config.objective.w_mse.sub_batch, a narrower last layer in --config.network.projector, or "
        "--config.objective.w_mse.shrinkage above 0",
    ),
}


def method_facts(name: str) -> Method:
    """Return the facts about a method; those of a user's own are the defaults."""
    return METHODS.get(name, Method(name))
