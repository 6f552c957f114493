"""npm graphql-http's audit of GraphQL over HTTP, against the running product: `make audit`. Exit 1 unless every check is ok."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import tempfile
from pathlib import Path

from isthmus.auth.provider.users import DEMO_PASSWORD
from isthmus.auth.sign_in import sign_in
from tests.end_to_end.product import Product

HERE = Path(__file__).parent


def main() -> int:
    subprocess.run(["npm", "ci", "--silent"], cwd=HERE, check=True)
    with tempfile.TemporaryDirectory() as folder:
        product = Product(Path(folder) / "data", options=["--no-demo"])
        product.start()
        try:
            token = asyncio.run(sign_in(product.base, "ada@example.com", DEMO_PASSWORD)).access_token
            return subprocess.run(["node", "audit.mjs", product.url, token], cwd=HERE, check=False).returncode
        finally:
            product.stop()


if __name__ == "__main__":
    sys.exit(main())
