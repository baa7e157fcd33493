"""Weights and encoders from and to other tools: torch, timm, Hugging Face, Orbax, StableHLO, SavedModel."""
