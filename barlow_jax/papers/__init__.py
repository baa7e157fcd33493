"""Published numbers, the ablations of the papers, and result tables."""
