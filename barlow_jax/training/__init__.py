"""Train step, training loop, and the parts of a long run: prefetching, preemption, skipped steps, caches."""
