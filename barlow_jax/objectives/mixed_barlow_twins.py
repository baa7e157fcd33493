"""Mixed Barlow Twins (Bandara et al. 2023): a mixture of two images has the mixture of their embeddings.

Each step samples a ~ U(0, 1) and a permutation of the batch. View `mixed` is a x_a + (1 - a) permuted(x_b).
Of the standardized embeddings A, B and M of the three views:

    T   = a A + (1 - a) permuted(B)
    L_m = |(M - T)^T A / N|^2 + |(M - T)^T B / N|^2
    L   = L_BT(A, B) + w lambda L_m

L_BT is equation 1 of Barlow Twins, and lambda its off-diagonal weight. M^T A / N is the cross-correlation of
the mixture with a view, and T^T A / N what it should be.

The mixture and its embedding take as long as a third view. On several devices the permuted images come from
all of them: a gather of B images per step.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from barlow_jax.config import schema as config_lib
from barlow_jax.losses.correlation import Form, off_diagonal_energy, resolve_form
from barlow_jax.losses.embedding_statistics import standardized_embedding_statistics
from barlow_jax.losses.standardization import check_views, standardize
from barlow_jax.objectives.barlow_twins import barlow_twins_terms
from barlow_jax.types import Objective, RunInfo


class Mixture(NamedTuple):
    """Weight of view a, and the `[N]` order of the rows of view b."""

    weight: jax.Array
    order: jax.Array

    def __call__(self, a: jax.Array, b: jax.Array) -> jax.Array:
        """Mix `[N, ...]` rows of view a with those of view b."""
        return self.weight * a + (1 - self.weight) * b[self.order]


def sample_mixture(key: jax.Array, num_rows: int) -> Mixture:
    """Return the mixture of a step."""
    of_weight, of_order = jax.random.split(key)
    return Mixture(jax.random.uniform(of_weight), jax.random.permutation(of_order, num_rows))


def mixing_energy(
    a: jax.Array,
    b: jax.Array,
    mixed: jax.Array,
    mixture: Mixture,
    *,
    form: Form = "direct",
    **products: jnp.dtype,
) -> jax.Array:
    """Return L_m of `[N, D]` standardized embeddings, a float32 scalar; `form` as in `off_diagonal_energy`.

    >>> a = jnp.array([[1.0], [-1.0]])
    >>> print(mixing_energy(a, a, -a, Mixture(jnp.array(0.5), jnp.array([0, 1]))))  # M - T = -2 A, twice
    8.0
    """
    residual = mixed - mixture(a, b)

    def energy(view: jax.Array) -> jax.Array:
        diagonal = jnp.mean(residual * view, axis=0)
        off_diagonal = off_diagonal_energy(residual, view, diagonal, form=form, **products)
        return off_diagonal + jnp.sum(jnp.square(diagonal))

    return energy(a) + energy(b)


def make(config: config_lib.Objective, run_info: RunInfo) -> Objective:
    """Build the objective over views a and b, and the view `mixed` that is derived from them."""
    settings, reshard = config.mixed_barlow_twins, run_info.reshard

    def derive(views, key):
        a, b = views["a"], views["b"]
        scale = 255.0 if a.dtype == jnp.uint8 else 1.0  # float32 images are in 0..1
        return {**views, "mixed": sample_mixture(key, len(a))(a / scale, b / scale)}

    def loss(outputs, memory, context):
        embeddings = [outputs[name].embedding for name in ("a", "b", "mixed")]
        check_views(embeddings)
        form = resolve_form(config.form, *embeddings[0].shape, reshard)
        if reshard:
            embeddings = [reshard.by_features(z) for z in embeddings]
        products = {"form": form, "operand_dtype": jnp.dtype(config.operand_dtype)}
        terms = barlow_twins_terms(*embeddings[:2], **products)
        mixture = sample_mixture(context.key, len(embeddings[0]))
        mixing = mixing_energy(*map(standardize, embeddings), mixture, **products)
        redundancy = terms.redundancy + settings.mixing_weight * mixing
        value = config.scale * (terms.invariance + settings.off_diagonal_weight * redundancy)
        width = embeddings[0].shape[1]
        metrics = {
            "loss": value,
            "invariance": terms.invariance / width,
            "redundancy": terms.redundancy / width,
            "mixing": mixing / width,
            "diagonal_mean": terms.diagonal_mean,
        }
        return value, memory, metrics | standardized_embedding_statistics(*embeddings[:2])

    return Objective(loss, derive=derive)
