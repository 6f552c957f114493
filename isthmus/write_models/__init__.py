"""Commands in; events and journals out, in one transaction."""
