"""Images that cannot be decoded: how they are replaced, counted and reported."""
