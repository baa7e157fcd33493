from trained_encoders import trained  # noqa: F401
