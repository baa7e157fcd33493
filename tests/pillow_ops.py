"""Color ops in Pillow, as torchvision calls them."""

import numpy as np
from PIL import Image, ImageEnhance


def hue(image, turns):
    """Shift H by whole values, truncated towards zero."""
    band, *rest = image.convert("HSV").split()
    shifted = (np.asarray(band).astype(int) + int(turns * 255)) % 256
    return Image.merge("HSV", (Image.fromarray(shifted.astype(np.uint8)), *rest)).convert("RGB")


def jitter(image, order, strengths):
    """Apply brightness (0), contrast (1), saturation (2) and hue (3) in the given order."""
    enhance = (ImageEnhance.Brightness, ImageEnhance.Contrast, ImageEnhance.Color)
    for part in order:
        strength = float(strengths[part])
        image = hue(image, strength) if part == 3 else enhance[part](image).enhance(strength)
    return image
