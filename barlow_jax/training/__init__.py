"""The train step, the loop around it, and what a long run needs beside its steps."""
