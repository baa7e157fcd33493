"""Files on disk: atomic writes, append-only JSON lines, checksums."""
