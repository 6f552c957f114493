"""Who pays for us, against the sandbox over HTTP."""
