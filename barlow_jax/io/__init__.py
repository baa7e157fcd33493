"""Text, JSON and JSON-lines files, checksums, and log messages."""
