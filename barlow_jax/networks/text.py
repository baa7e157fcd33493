"""An encoder of captions: a word embedding and a GRU, whose state after the last word is the representation.

As the text encoder of VSE++ (Faghri et al. 2018, section 4.1) and so of VICReg's experiment on image and text:

    x_t = E[w_t]
    r = sigma(W_r x_t + U_r h + b_r)        z = sigma(W_z x_t + U_z h + b_z)
    n = tanh(W_n x_t + b_n + r * (U_n h + c_n))
    h <- (1 - z) * n + z * h                from h = 0, for each word of the caption

`flax.nnx.GRUCell` is that but for c_n, which it does not have. At the start E is U(-0.1, 0.1), all else
U(-H^-1/2, H^-1/2), as there. What is not here: the words that mark a caption's start and end, and the length 1 that
the state is brought to: a projector follows.
"""

from typing import Any

from flax import nnx
import jax
import jax.numpy as jnp

from barlow_jax.config import schema as config_lib
from barlow_jax.types import PADDING, UNKNOWN


def _within(bound: float) -> Any:
    """Uniform in -bound..bound."""

    def init(key: jax.Array, shape: tuple[int, ...], dtype: Any = jnp.float32) -> jax.Array:
        return jax.random.uniform(key, shape, dtype, -bound, bound)

    return init


class Gru(nnx.Module):
    """Word ids `[B, T]` int32, padded with 0 at the end, to `[B, H]`."""

    def __init__(self, config: config_lib.Text, *, dtype: jnp.dtype = jnp.float32, rngs: nnx.Rngs):
        """Args:
        config: the sizes.
        dtype: of the matrix products and gates; parameters and the state are float32.
        """
        self.dtype, self.hidden = dtype, config.hidden_size
        self.words = nnx.Param(_within(0.1)(rngs.params(), (config.vocabulary_size, config.embedding_size)))
        init = _within(config.hidden_size**-0.5)
        self.cell = nnx.GRUCell(
            config.embedding_size,
            config.hidden_size,
            kernel_init=init,
            recurrent_kernel_init=init,
            bias_init=init,
            dtype=dtype,
            rngs=rngs,
        )

    def __call__(self, words: jax.Array, *, train: bool) -> jax.Array:
        """`[B, T]` word ids to `[B, H]` float32; padding changes nothing, and nothing but padding gives zeros."""
        del train
        table, words = jnp.asarray(self.words[...]), jnp.asarray(words)
        ids = jnp.where(words < table.shape[0], words, UNKNOWN)

        def read(state: jax.Array, word: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            ids, there = word
            after, _ = self.cell(state, table[ids].astype(self.dtype))
            return jnp.where(there[:, jnp.newaxis], after, state), None

        start = jnp.zeros((len(words), self.hidden), table.dtype)
        return jax.lax.scan(read, start, (ids.T, words.T != PADDING))[0]
