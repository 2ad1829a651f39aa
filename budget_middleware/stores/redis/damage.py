"""Which records of a server are not sound: all of them are looked at, for `audit` and `doctor`."""

from collections.abc import AsyncIterator, Sequence
from contextlib import suppress

from budget_middleware.core.damage import Damage, Flaw
from budget_middleware.stores.errors import StoreRefused
from budget_middleware.stores.redis import keys
from budget_middleware.stores.redis.reads import JOURNALS, PAGE, RedisReads
from budget_middleware.stores.redis.replies import read_entries, read_refusals


class RedisDamage(RedisReads):
    """The script `examine` judges each key; entries, refusals and limits are unsound if they cannot be read here."""

    async def damage(self, *, mend: bool = False) -> Sequence[Damage]:
        # Totals are looked at last: they follow from the leases. Where nobody wrote any, that is wrong too.
        names = sorted({name async for name in self._scanned("*")} - {keys.TOTALS})
        flaws: set[tuple[str, str]] = set()
        for page in (*(names[at : at + PAGE] for at in range(0, len(names), PAGE)), [keys.TOTALS]):
            reply = await self._call("examine", "", "1" if mend else "0", *page)
            flaws |= set(zip(reply[1::2], reply[::2], strict=True))
        found = [Damage(f"{self._prefix}{key}", Flaw(flaw)) for key, flaw in sorted(flaws)]
        # Where these are of another type altogether, that is reported already.
        with suppress(StoreRefused):
            found += [
                Damage(f"{self._prefix}{keys.LIMITS} {field}", Flaw.UNREADABLE)
                async for page in self._limit_pages()
                for field in page.unreadable
            ]
        for name, unreadable in (
            *((each, self._unreadable_entries) for each in JOURNALS),
            (keys.REFUSALS, self._unreadable_refusals),
        ):
            with suppress(StoreRefused):
                found += [
                    Damage(f"{self._prefix}{name} {at}", Flaw.UNREADABLE)
                    async for at in unreadable(f"{self._prefix}{name}")
                ]
        return found

    async def _unreadable_entries(self, key: str) -> AsyncIterator[str]:
        """The scores of the journal's records that cannot be read."""
        after = "-inf"
        while True:
            async with self._reading() as client:
                page = await client.zrangebyscore(key, after, "+inf", start=0, num=PAGE, withscores=True)
            if not page:
                return
            for record, score in page:
                after = f"({score:.17g}"
                if not read_entries([record]):
                    yield f"{score:.17g}"

    async def _unreadable_refusals(self, key: str) -> AsyncIterator[str]:
        """The ids of the refusals that cannot be read."""
        after = "-"
        while True:
            async with self._reading() as client:
                records = await client.xrange(key, after, "+", PAGE)
            if not records:
                return
            for id_, fields in records:
                after = f"({id_}"
                if not read_refusals([(id_, fields)]):
                    yield id_
