"""Files of a run: lock, status, metrics, provenance and configuration."""
