from trained_encoders import features, noise, small, trained  # noqa: F401
