"""Benchmarks of `bench`: one file per benchmark, each with `run(config, workdir, args)`."""
