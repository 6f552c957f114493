"""Change the amount of the newest payment in the database, as somebody would who has got in: what then happens to it?

.venv/bin/python examples/tamper.py 'postgresql://isthmus:…@127.0.0.1:27597/isthmus' 99

The address is the first line that `up` prints. Answer the payment's challenge afterwards: nothing is sent to the bank.
"""

from __future__ import annotations

import asyncio
import sys
from decimal import Decimal

import asyncpg

NEWEST = "select id, amount, asset from payments where state = 'AWAITING_SCA' order by made_at desc limit 1"


async def main(database: str, amount: Decimal) -> None:
    connection = await asyncpg.connect(database)
    try:
        payment = await connection.fetchrow(NEWEST)
        if payment is None:
            sys.exit("no payment waits for an answer")
        await connection.execute("update payments set amount = $2 where id = $1", payment["id"], amount)
        print(f"{payment['amount'].normalize():f} {payment['asset']} are {amount} now")
    finally:
        await connection.close()


if __name__ == "__main__":
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    asyncio.run(main(sys.argv[1], Decimal(sys.argv[2])))
