"""The projections: each turns a run of the log into rows, the same rows whoever does it and however often."""

from isthmus.read_models.projections.run import (
    CHANNEL,
    CURRENT,
    NEXT,
    PROJECTIONS,
    Advanced,
    Step,
    advance,
    advance_or_park,
    ensure_positions,
    mend,
    read_steps,
)

__all__ = [
    "CHANNEL",
    "CURRENT",
    "NEXT",
    "PROJECTIONS",
    "Advanced",
    "Step",
    "advance",
    "advance_or_park",
    "ensure_positions",
    "mend",
    "read_steps",
]
