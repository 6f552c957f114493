"""Process managers: what carries on by itself, a step at a time, whoever began it and whichever process is there."""
