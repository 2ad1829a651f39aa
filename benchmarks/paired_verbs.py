"""Does pairs of verbs by the code of one checkout, as often as it is told. `scripts` runs it by its path.

`python paired_verbs.py PORT` reads lines `ACCOUNTS IN_FLIGHT PAIRS`, and prints a line when all of them are done.
"""

import asyncio
import sys

from benchmarks.verbs import do_all, reserve_and_finalize, store_at, targets
from benchmarks.workers import Process


async def main(port: int) -> None:
    async with store_at(Process(port, 0), namespace="scripts") as store:
        for line in sys.stdin:
            accounts, in_flight, pairs = map(int, line.split())
            await do_all((reserve_and_finalize(store, targets(accounts)) for _ in range(pairs)), in_flight=in_flight)
            print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main(int(sys.argv[1])))
