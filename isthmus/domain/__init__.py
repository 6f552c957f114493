"""The rules: pure, no I/O, nothing of ours imported. Time and ids come in as arguments."""
