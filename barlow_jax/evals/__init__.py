"""Evaluations: feature extraction, classifiers on features, fine-tuning and retrieval."""
