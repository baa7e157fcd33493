"""Caption encoder: word embeddings and a GRU, whose state after the last word is the representation.

It is the text encoder of VSE++ (Faghri et al. 2018, section 4.1), which VICReg's image-text experiment uses:

    x_t = E[w_t]
    r = sigma(W_r x_t + U_r h + b_r)        z = sigma(W_z x_t + U_z h + b_z)
    n = tanh(W_n x_t + b_n + r * (U_n h + c_n))
    h <- (1 - z) * n + z * h                from h = 0, for each word of the caption

`flax.nnx.GRUCell` has no c_n; otherwise it is the same. As in VSE++, E is initialized from U(-0.1, 0.1) and
all other parameters from U(-H^-1/2, H^-1/2). Unlike VSE++, captions have no start and end words, and the
state is not scaled to length 1, since a projector follows.
"""

from flax import nnx
import jax
import jax.numpy as jnp

from barlow_jax.config import schema as config_lib
from barlow_jax.networks.heads import uniform_initializer
from barlow_jax.types import PADDING, UNKNOWN


class Gru(nnx.Module):
    """GRU encoder of `[B, T]` int32 word ids, padded with 0 at the end."""

    def __init__(self, config: config_lib.Text, *, dtype: jnp.dtype = jnp.float32, rngs: nnx.Rngs):
        """Build the embedding table and the cell.

        Args:
          config: Vocabulary size and widths.
          dtype: Dtype of the matrix products and gates; parameters and the state are float32.
          rngs: Random streams of the initialization.
        """
        self.dtype, self.hidden = dtype, config.hidden_size
        init = uniform_initializer(config.hidden_size**-0.5)
        initializers = dict.fromkeys(("kernel_init", "recurrent_kernel_init", "bias_init"), init)
        shape = config.vocabulary_size, config.embedding_size
        self.words = nnx.Param(uniform_initializer(0.1)(rngs.params(), shape))
        self.cell = nnx.GRUCell(config.embedding_size, self.hidden, dtype=dtype, rngs=rngs, **initializers)

    def __call__(self, words: jax.Array, *, train: bool) -> jax.Array:
        """Map `[B, T]` word ids to `[B, H]` float32; padding is ignored, and padding alone gives 0."""
        del train
        table, words = jnp.asarray(self.words[...]), jnp.asarray(words)
        ids = jnp.where(words < table.shape[0], words, UNKNOWN)

        def read(state: jax.Array, word: tuple[jax.Array, jax.Array]) -> tuple[jax.Array, None]:
            ids, is_word = word
            new_state, _ = self.cell(state, table[ids].astype(self.dtype))
            return jnp.where(is_word[:, jnp.newaxis], new_state, state), None

        initial = jnp.zeros((len(words), self.hidden), table.dtype)
        return jax.lax.scan(read, initial, (ids.T, words.T != PADDING))[0]
