"""Kinds of sources of `collection`: files, tables, tar shards, Hugging Face data and NumPy arrays."""
