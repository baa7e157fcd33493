"""A trained encoder in the form that other tools read: one file a format, `write(trained, out) -> what it says of it`."""
