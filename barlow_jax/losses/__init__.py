"""Loss functions and building blocks that several objectives share, in JAX."""
