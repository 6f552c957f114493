"""Keys: the master key behind a port, and a key per person wrapped by it."""
