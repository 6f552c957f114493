"""Thin fields: a resolver translates, asks or runs, and translates back. No rules and no SQL."""
