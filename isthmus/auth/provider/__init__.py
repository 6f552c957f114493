"""The embedded OpenID provider, for the demo and for tests: a process of its own that the API knows only by its issuer URL."""
