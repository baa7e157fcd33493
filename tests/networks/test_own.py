"""Encoders and heads of a user's own: the contract, its violations, and the network around them."""

import dataclasses

from flax import nnx
import jax
import jax.numpy as jnp
import numpy as np
import own_parts
import pytest

from barlow_jax.config import parts
from barlow_jax.config.schema import Config, Data, Network as NetworkConfig
from barlow_jax.errors import UserError
from barlow_jax.networks import own
from barlow_jax.networks.encoders import representation_width
from barlow_jax.networks.network import Network, own_problems

IMAGE = {"channels": 3, "image_size": 8}


def _config(encoder, **network):
    return NetworkConfig(encoder=encoder, projector=(6, 5), dtype="float32", **network)


@pytest.mark.parametrize(("name", "width"), [("ConvNet", 12), ("Transformer", 16)])
def test_a_network_around_an_own_encoder_and_head(name, width):
    config = _config(f"own_parts:{name}", head="own_parts:Head", predictor=(7, 5))
    network = Network(config, **IMAGE)
    assert representation_width(config, **IMAGE) == width
    params, stats = jax.jit(network.init)(jax.random.key(0))
    assert {*params} == {"encoder", "projector", "predictor"}
    images = jax.random.normal(jax.random.key(1), (4, 8, 8, 3))
    outputs, new = jax.jit(network.apply)(params, stats, {"a": images})
    assert (outputs["a"].representation.shape, outputs["a"].prediction.shape) == ((4, width), (4, 5))
    assert outputs["a"].representation.dtype == jnp.float32
    frozen = network.encode(params, stats, images)
    if name == "Transformer":
        assert stats == new == {}
        np.testing.assert_allclose(frozen, outputs["a"].representation, rtol=1e-5, atol=1e-6)
        return
    module = own_parts.ConvNet(nnx.Rngs(0), dtype=jnp.float32, **IMAGE)
    nnx.update(module, nnx.state(nnx.merge(network._graph, params, stats).encoder.module))
    module.eval()
    np.testing.assert_allclose(frozen, module(images).mean(axis=(1, 2)), rtol=1e-5)
    module.train()
    np.testing.assert_allclose(
        outputs["a"].representation, module(images).mean(axis=(1, 2)), rtol=1e-4, atol=1e-6
    )
    np.testing.assert_allclose(
        new["encoder"]["module"]["norms"][0]["mean"], module.norms[0].mean[...], rtol=1e-4, atol=1e-7
    )


class Broken(nnx.Module):
    """A linear map of the mean color, with the faults of subclasses."""

    width = 4

    def __init__(self, rngs, **arguments):
        self.layer = nnx.Linear(3, self.width, rngs=rngs)

    def __call__(self, x):
        return self.layer(x.mean(axis=(1, 2)))


class Ignorant(Broken):
    def __init__(self, rngs, **arguments):
        super().__init__(nnx.Rngs(0))


class Late(Broken):
    def __call__(self, x):
        self.late = nnx.Param(jnp.ones(4))
        return super().__call__(x) * self.late[...]


class Dropping(Broken):
    def __init__(self, rngs, **arguments):
        super().__init__(rngs)
        self.dropout = nnx.Dropout(0.5, rngs=rngs)


class Half(Broken):
    def __init__(self, rngs, **arguments):
        self.layer = nnx.Linear(3, 4, param_dtype=jnp.bfloat16, rngs=rngs)


FAULTS = {
    "rank": (
        lambda rngs, **_: type("Tokens", (Broken,), {"__call__": lambda s, x: x[:, 0]})(rngs),
        "[2, 8, 3]",
    ),
    "nothing": (
        lambda rngs, **_: type("None_", (Broken,), {"__call__": lambda s, x: None})(rngs),
        "no array",
    ),
    "width 0": (
        lambda rngs, **_: type("Empty", (Broken,), {"__call__": lambda s, x: x[:, 0, 0, :0]})(rngs),
        "[2, 0]",
    ),
    "rows": (
        lambda rngs, **_: type("One", (Broken,), {"__call__": lambda s, x: x[:1, 0, 0]})(rngs),
        "1 rows",
    ),
    "ignores rngs": (Ignorant, "rngs"),
    "late parameters": (Late, "late"),
    "dropout": (Dropping, "Dropout"),
    "half parameters": (Half, "bfloat16"),
    "no module": (lambda rngs, **_: jnp.sum, "must be a flax.nnx module"),
    "no parameters": (lambda rngs, **_: nnx.List([]), "parameters"),
    "raises": (lambda rngs, **_: 1 / 0, "ZeroDivisionError"),
    "other arguments": (lambda rngs, depth: None, "TypeError"),
}


@pytest.mark.parametrize(("build", "words"), FAULTS.values(), ids=FAULTS)
def test_a_module_that_breaks_the_contract_is_refused_with_the_fault(build, words):
    parts.register("encoder", "broken", build)
    with pytest.raises(UserError) as error:
        representation_width(_config("broken"), **IMAGE)
    assert words in str(error.value) and "broken" in str(error.value)


def test_all_views_must_give_as_many_features_and_heads_the_width_of_the_config():
    class Flat(Broken):
        def __call__(self, x):
            return x.reshape(len(x), -1) + self.layer.bias[0]

    parts.register("encoder", "flat", Flat)
    data = Data(image_size=8, eval_resize=8)
    config = Config(data=data, network=_config("flat"))
    assert not list(own_problems(config))
    view = dataclasses.replace(
        config.recipe.views["b"], crop=dataclasses.replace(config.recipe.views["b"].crop, size=4)
    )
    small = dataclasses.replace(config.recipe, views={**config.recipe.views, "b": view})
    (problem,) = own_problems(dataclasses.replace(config, recipe=small))
    assert "48 features" in problem and "192" in problem
    parts.register("head", "narrow", lambda rngs, *, inputs, widths, dtype: nnx.Linear(inputs, 3, rngs=rngs))
    (problem,) = own_problems(
        dataclasses.replace(config, network=_config("own_parts:ConvNet", head="narrow"))
    )
    assert "3 features" in problem and "5" in problem


def test_a_name_that_is_registered_again_has_the_new_width():
    for width in (4, 6):
        parts.register("encoder", "again", type("Again", (Broken,), {"width": width}))
        assert own.output_width("encoder", "again", (8, 8, 3)) == width
