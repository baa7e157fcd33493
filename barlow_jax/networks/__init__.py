"""Encoders and heads in flax.nnx, and the functional Network around them."""
