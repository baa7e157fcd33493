"""Checkpoints of a run: saving, verification and restoring."""
