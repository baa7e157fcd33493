"""Text of bytes and times."""


def format_bytes(number: float) -> str:
    """Return a number of bytes in MB or GB."""
    return f"{number / 1e9:.2f} GB" if number >= 1e9 else f"{number / 1e6:.1f} MB"


def format_ms(seconds: float) -> str:
    """Return seconds in milliseconds."""
    return f"{1e3 * seconds:.2f} ms"
