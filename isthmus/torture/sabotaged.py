"""Negative controls: known bugs, put back at process start by whoever wants to see that the oracle can fail.

    SABOTAGE=ack_before_commit python -m isthmus.torture.sabotaged serve …

The product has no switch for any of this: names of it are replaced from outside. `isthmus torture` hands SABOTAGE on to its serves
and works.
"""

from __future__ import annotations

import os
import sys


def main() -> None:
    from isthmus.torture.sabotages import sabotage

    sabotage(os.environ["SABOTAGE"])
    from isthmus.cli import main as isthmus

    sys.argv[0] = "isthmus"
    isthmus()


if __name__ == "__main__":
    main()
