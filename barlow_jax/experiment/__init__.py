"""A configuration on a mesh of devices, and what commands share."""
