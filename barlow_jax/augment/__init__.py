"""The accelerator's part of a View, in JAX, inside the jitted step."""
