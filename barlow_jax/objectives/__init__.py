"""Self-supervised methods, one file per method; `registry.make_objective` finds them by name.

The loss functions need no mesh: under jit, with rows sharded over devices, each is the loss of the global
batch.
"""
