"""Optimizers and learning-rate schedules, composed from optax."""
