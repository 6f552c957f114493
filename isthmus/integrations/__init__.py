"""The outside world: ports implemented. Imports the domain, nothing above it."""
