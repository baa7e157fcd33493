"""Configuration: the schema, its validation, overrides, and the constants of methods and protocols."""
