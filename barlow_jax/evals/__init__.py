"""What the encoder has learned: one feature extractor, and classifiers on its table."""
