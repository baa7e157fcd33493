"""Checkpoints of a run by Orbax: saved, verified, restored."""
