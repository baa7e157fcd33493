"""Self-supervised methods, one file per method; `registry.make_objective` finds them by name."""
