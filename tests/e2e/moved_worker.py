"""A worker of a ledger that is moved: it books at one store until it is told to go, and then at the other.

It is started with a folder and its name. `moved-NAME` there says that its time has come: what is in flight ends at the
old store. `over` ends it; then it writes what it has booked at each store, by accounts.
"""

import asyncio
import json
import os
import random
import sys
from collections import Counter as Tally
from pathlib import Path

from budget_middleware import BudgetRejected, Ledger, open_ledger

AT_ONCE = 4


class Worker:
    def __init__(self, folder: Path, name: str) -> None:
        self.folder = folder
        self.name = name
        self.chance = random.Random(name)
        self.booked: dict[str, Tally[str]] = {"OLD_URL": Tally(), "NEW_URL": Tally()}

    def is_there(self, flag: str) -> bool:
        return (self.folder / flag).exists() or (self.folder / f"{flag}-{self.name}").exists()

    async def work(self) -> None:
        for url, until in (("OLD_URL", "moved"), ("NEW_URL", "over")):
            ledger = open_ledger(store_url=os.environ[url])
            async with asyncio.TaskGroup() as group:
                for _ in range(AT_ONCE):
                    group.create_task(self._clients(ledger, url, until))
            await ledger.drain()
        (self.folder / f"{self.name}.json").write_text(json.dumps(self.booked))

    async def _clients(self, ledger: Ledger, url: str, until: str) -> None:
        while not self.is_there(until):
            await self._request(ledger, self.booked[url])

    async def _request(self, ledger: Ledger, booked: "Tally[str]") -> None:
        key, team = f"{self.chance.randrange(6):016x}", f"t{self.chance.randrange(3)}"
        nanos = self.chance.randrange(10**6)
        try:
            async with ledger.reservation({"key": key, "team": team}, estimate_usd="0.002") as handle:
                await asyncio.sleep(self.chance.random() * 0.1)
                if self.chance.random() < 0.2:
                    int("it failed")
                handle.add_cost(f"{nanos / 10**9:.9f}")
        except (ValueError, BudgetRejected):
            return
        booked.update({f"key:{key}": nanos, f"team:{team}": nanos})


if __name__ == "__main__":
    asyncio.run(Worker(Path(sys.argv[1]), sys.argv[2]).work())
