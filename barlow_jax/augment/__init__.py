"""Image augmentation on the accelerator, in JAX, inside the jitted step."""
