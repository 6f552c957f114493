"""Faults against real processes, and the oracle that judges what they left (docs/faults.md)."""
