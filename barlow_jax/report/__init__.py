"""A run as one HTML file: what its files say, what its network makes of images, in charts and words."""
