"""Python functions: the same as the commands, on runs as objects. `barlow_jax` exports them.

Invalid input raises UserError before anything is computed or written; its message names a keyword like the
flag of the command. Messages go to the logger "barlow_jax", by default to standard error. Everything runs in
this process, on all of its devices.
"""
