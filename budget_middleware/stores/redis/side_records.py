"""What a server keeps beside the books: notes for operators, facts, refusals, and sums of shadow limits."""

from collections.abc import Mapping, Sequence
from contextlib import suppress

from budget_middleware.core.limits.refusals import LoggedRefusal
from budget_middleware.core.limits.shadow import ShadowDay, day_of, days_between
from budget_middleware.stores.facts import Fact
from budget_middleware.stores.notes import Note, Topic
from budget_middleware.stores.records.refusals import pack_refusal
from budget_middleware.stores.records.shadow_sums import unpack_shadow_day
from budget_middleware.stores.redis import keys
from budget_middleware.stores.redis.reads import PAGE, RedisReads
from budget_middleware.stores.redis.replies import read_refusals


class RedisSideRecords(RedisReads):
    """Each is bounded by time or number, and no counter follows from it."""

    async def add_note(self, topic: Topic, text: str) -> None:
        now_ms = (await self.head()).now_ms
        async with self._reading() as client, client.pipeline(transaction=True) as pipe:
            pipe.hset(f"{self._prefix}{keys.NOTES}", f"{topic}|{text}", str(now_ms))
            await pipe.pexpire(f"{self._prefix}{keys.NOTES}", self._counters_ms).execute()

    async def notes(self) -> Sequence[Note]:
        since_ms = (await self.head()).now_ms - self._counters_ms
        async with self._reading() as client:
            fields = await client.hgetall(f"{self._prefix}{keys.NOTES}")
        kept: list[Note] = []
        for field, time_ms in fields.items():
            topic, _, text = field.partition("|")
            with suppress(ValueError):
                if int(time_ms) > since_ms:
                    kept.append(Note(Topic(topic), text, int(time_ms)))
        return sorted(kept, key=lambda note: (note.topic, note.text))

    async def keep_fact(self, name: str, text: str, *, keep_ms: int) -> str:
        key = f"{self._prefix}{keys.FACT}:{name}"
        async with self._reading() as client, client.pipeline(transaction=True) as pipe:
            pipe.set(key, text, px=keep_ms, nx=True)
            pipe.get(key)
            _, kept = await pipe.execute()
        return str(kept)

    async def kept_facts(self, names: Sequence[str]) -> Mapping[str, str]:
        found: dict[str, str] = {}
        for at in range(0, len(names), PAGE):
            page = names[at : at + PAGE]
            async with self._reading() as client:
                texts = await client.mget([f"{self._prefix}{keys.FACT}:{name}" for name in page])
            found |= {name: text for name, text in zip(page, texts, strict=True) if text is not None}
        return found

    async def all_facts(self) -> Sequence[Fact]:
        names = sorted({key.partition(":")[2] async for key in self._scanned(f"{keys.FACT}:*")})
        found: list[Fact] = []
        for at in range(0, len(names), PAGE):
            page = names[at : at + PAGE]
            async with self._reading() as client, client.pipeline(transaction=False) as pipe:
                for name in page:
                    pipe.get(f"{self._prefix}{keys.FACT}:{name}")
                    pipe.pttl(f"{self._prefix}{keys.FACT}:{name}")
                replies = await pipe.execute()
            kept = zip(page, replies[::2], replies[1::2], strict=True)
            found += [Fact(name, text, left_ms) for name, text, left_ms in kept if text is not None and left_ms > 0]
        return found

    async def log_refusals(self, refusals: Sequence[LoggedRefusal]) -> None:
        key = f"{self._prefix}{keys.REFUSALS}"
        async with self._reading() as client, client.pipeline(transaction=True) as pipe:
            for refusal in refusals:
                pipe.xadd(key, pack_refusal(refusal), maxlen=self._refusals_max, approximate=False)
            await pipe.pexpire(key, self._counters_ms).execute()

    async def refusals(self, *, since_ms: int = 0) -> Sequence[LoggedRefusal]:
        kept_ms = (await self.head()).now_ms - self._counters_ms
        async with self._reading() as client:
            # A record is named by when it was logged, which is after it was decided.
            records = await client.xrange(f"{self._prefix}{keys.REFUSALS}", min=str(since_ms or "-"))
        kept = [refusal for refusal in read_refusals(records) if refusal.time_ms > kept_ms]
        return sorted(kept, key=lambda refusal: refusal.time_ms)

    async def shadow_sums(self, *, since_day: str) -> Sequence[ShadowDay]:
        now_ms = (await self.head()).now_ms
        days = days_between(max(since_day, day_of(now_ms - self._counters_ms)), day_of(now_ms))
        async with self._reading() as client, client.pipeline(transaction=False) as pipe:
            for day in days:
                pipe.hgetall(f"{self._prefix}{keys.SHADOW}:{day}")
            found = await pipe.execute()
        return [unpack_shadow_day(day, fields) for day, fields in zip(days, found, strict=True) if fields]
