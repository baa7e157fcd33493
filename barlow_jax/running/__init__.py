"""What a long run needs beside its steps."""
