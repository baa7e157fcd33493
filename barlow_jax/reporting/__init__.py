"""HTML report of runs: reading of their files, model inspection, and the sections of the page."""
