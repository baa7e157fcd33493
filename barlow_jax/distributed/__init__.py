"""Device meshes, array shardings, and runs of several processes."""
