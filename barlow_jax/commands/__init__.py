"""One file a program, read top to bottom: `run(config, workdir, args) -> results`. Only here data meets model."""
