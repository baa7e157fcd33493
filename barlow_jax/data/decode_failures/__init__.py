"""Images that cannot be decoded: counted, named, limited in number, and replaced in their batches."""
