"""Decoding of image files, and the reason for a decode failure."""

import tensorflow as tf

from barlow_jax.data import exif

# First bytes of the image formats that are read, and of formats that are not read but come as image files.
_READ = {
    b"\xff\xd8\xff": "JPEG",
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"GIF8": "GIF",
    b"BM": "BMP",
    b"RIFF": "WebP",
}
_NOT_READ = {b"II*\0": "TIFF", b"MM\0*": "TIFF", b"8BPS": "Photoshop", b"%PDF": "PDF", b"<svg": "SVG"}


def decode(encoded: tf.Tensor, follow_exif: bool = True) -> tf.Tensor:
    """Decode JPEG, PNG, GIF, WebP or BMP bytes to `[height, width, 3]` uint8, bit for bit like PIL.

    Conversion follows PIL's `convert("RGB")`: CMYK and palettes become colors, alpha is dropped, 16 bits are
    cut to the upper 8 (in grey images too, where PIL saturates), and an animation is its first image. With
    `follow_exif` the image is turned like by PIL's `exif_transpose`.

    Raises:
      tf.errors.InvalidArgumentError: the bytes are in another format, or end early. Missing parts of an
        image are never filled in (`try_recover_truncated`). PIL refuses the same files.
    """

    def decode_jpeg() -> tf.Tensor:
        return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")

    def decode_other() -> tf.Tensor:
        return tf.io.decode_image(encoded, channels=3, expand_animations=False)

    image = tf.cond(tf.io.is_jpeg(encoded), decode_jpeg, decode_other)
    image = exif.upright(image, encoded) if follow_exif else image
    return tf.ensure_shape(image, [None, None, 3])


def failure_reason(encoded: bytes) -> str:
    """Return why `decode` refused these bytes, judged by the first ones: a predicate, such as "is empty"."""
    if not encoded:
        return "is empty"
    for formats, message in (
        (_READ, "is a truncated or damaged {}"),
        (_NOT_READ, "is a {} file, which is not supported"),
    ):
        for first_bytes, name in formats.items():
            if encoded.startswith(first_bytes):
                return message.format(name)
    return f"is not an image: it begins with {encoded[:20]!r}"
