"""Files that belong to a run: lock, status, metrics, provenance, saved configuration."""
