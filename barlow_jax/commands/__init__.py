"""Commands: one file each, with its summary, its flags, its checks and `run(config, workdir, args)`."""
