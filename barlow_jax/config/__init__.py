"""Configuration: schema, method constants, evaluations, augmentation recipe, overrides, validation."""
