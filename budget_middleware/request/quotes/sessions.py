"""What a session may cost that goes around the gateway: the ceiling of a conversation that never stops.

    spoken      20 tokens a second, or as many as `max_output_tokens` allows in each turn of ten seconds
    heard       10 tokens a second
    read again  in each turn the conversation so far, from the cache, up to the window of the model
    by time     where the model has a price by the hour, that alone
    transcribed what is heard, at the price of the model that transcribes

for BUDGET_REALTIME_DIRECT_S. Without a price for all of that BUDGET_JOB_ESTIMATE_USD is held. It is what a lively
conversation comes to, and no bound: one secret may open several sessions, and who interrupts has answers begun anew.

A part of the time costs what the ceiling grows by meanwhile: later more than at first, since more is read again.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Final

from budget_middleware.apis.bodies.reading import name_in, token_count
from budget_middleware.apis.jobs.realtime_direct import PlannedSession
from budget_middleware.core.costs.estimate import LARGEST_CONTEXT_TOKENS
from budget_middleware.core.costs.pricing import Rates, Usage, UsageClass, estimate_nanos
from budget_middleware.core.costs.usage import TokensCounted, tokens_of
from budget_middleware.core.money import MAX_NANOS, ceil_div
from budget_middleware.core.units import Amounts
from budget_middleware.ledger.jobs.tickets import fact_name
from budget_middleware.prices import PriceBook
from budget_middleware.request.quotes.shown_model import short

PLANNED: Final = "call"
"""The field of a ticket's details that has what was planned of a call."""

_TURN_S: Final = 10
_SPOKEN_PER_S: Final = 20
_HEARD_PER_S: Final = 10
# The most that an answer may have where its session names no maximum.
_LONGEST_ANSWER: Final = 4_096
# What is written of speech.
_TRANSCRIBED_PER_S: Final = 4


def place_of(path: str) -> str:
    """What is kept of where a call was created: no text of a request."""
    return fact_name("place", path)


def planned_details(session: PlannedSession, *, seconds: int, path: str) -> Mapping[str, object]:
    """What is kept of a call that was created behind this path, to know later what a part of its time may cost."""
    fields = {
        "model": short(session.model),
        "transcriber": short(session.transcriber),
        "maximum": session.max_output_tokens,
        "writes": session.only_writes,
        "transcribes": session.only_transcribes,
    }
    return {PLANNED: {"at": place_of(path), "s": seconds, **{name: value for name, value in fields.items() if value}}}


def planned_session(planned: Mapping[str, object]) -> tuple[PlannedSession, int]:
    """What was planned of a call, and how many seconds."""
    session = PlannedSession(
        name_in(planned, "model") or "",
        name_in(planned, "transcriber") or "",
        max_output_tokens=token_count(planned.get("maximum")),
        only_writes=planned.get("writes") is True,
        only_transcribes=planned.get("transcribes") is True,
    )
    return session, token_count(planned.get("s")) or 1


def session_tokens(session: PlannedSession, prices: PriceBook, *, seconds: int, counted: TokensCounted) -> int:
    """The tokens of a session that lasts so long, also where nothing has a price; what is billed by time has none."""
    tokens = 0
    rates = prices.resolve(session.model) if session.model else None
    if not session.only_transcribes and not _is_by_time(rates):
        tokens += tokens_of(_talk_usage(session, seconds, window=rates.context_window if rates else None), counted)
    if session.transcriber and not _is_by_time(prices.resolve(session.transcriber)):
        tokens += seconds * (_HEARD_PER_S + _TRANSCRIBED_PER_S)
    return tokens


def _is_by_time(rates: Rates | None) -> bool:
    return rates is not None and UsageClass.AUDIO_MS in rates.by_unit


def longest_answer_ms(session: PlannedSession) -> int:
    """How long the longest answer of a session lasts, as it is spoken."""
    tokens = _LONGEST_ANSWER if session.max_output_tokens is None else session.max_output_tokens
    return tokens * 1_000 // _SPOKEN_PER_S


def unwatched_amounts(
    session: PlannedSession,
    prices: PriceBook,
    *,
    ceiling: Amounts,
    seconds: int,
    gaps_ms: Sequence[tuple[int, int]],
) -> Amounts:
    """The part of the ceiling that falls to these parts of the time: at most all of it.

    It is a proportion, so it is of the prices of the ceiling, whatever has become of them. Where nothing has a price,
    all time is alike.
    """

    def grown_to(ms: int) -> int | None:
        # Between two turns it grows evenly, so that nothing is free that is shorter.
        turn, rest_ms = divmod(ms, _TURN_S * 1_000)
        before = session_nanos(session, prices, seconds=turn * _TURN_S)
        after = session_nanos(session, prices, seconds=(turn + 1) * _TURN_S) if rest_ms else before
        return None if before is None or after is None else before * _TURN_S * 1_000 + (after - before) * rest_ms

    at_start, at_end = grown_to(0), grown_to(seconds * 1_000)
    if at_start is None or at_end is None or at_end <= at_start:
        whole, part = seconds * 1_000, sum(until_ms - from_ms for from_ms, until_ms in gaps_ms)
    else:
        whole = at_end - at_start
        part = sum((grown_to(until_ms) or 0) - (grown_to(from_ms) or 0) for from_ms, until_ms in gaps_ms)
    usd, tokens = (min(ceil_div(amount * part, whole), amount) for amount in (ceiling.usd, ceiling.tokens))
    return Amounts(usd, tokens, requests=1)


def session_nanos(session: PlannedSession, prices: PriceBook, *, seconds: int) -> int | None:
    """The ceiling of a session that lasts so long; None where the price of a part of it is not known."""
    parts: list[int | None] = []
    if not session.only_transcribes:
        parts.append(_talk_nanos(session, prices.resolve(session.model), seconds))
    if session.transcriber:
        parts.append(_transcription_nanos(prices.resolve(session.transcriber), seconds))
    known = [part for part in parts if part is not None]
    return min(sum(known), MAX_NANOS) if known and len(known) == len(parts) else None


def _talk_nanos(session: PlannedSession, rates: Rates | None, seconds: int) -> int | None:
    if rates is None:
        return None
    if UsageClass.AUDIO_MS in rates.by_unit:
        return estimate_nanos(rates, Usage(audio_ms=seconds * 1_000))
    usage = _talk_usage(session, seconds, window=rates.context_window)
    unit = UsageClass.OUTPUT if session.only_writes else UsageClass.OUTPUT_AUDIO
    nanos = estimate_nanos(rates, replace(usage, output_tokens=0), output_tokens=usage.output_tokens, output_unit=unit)
    return nanos or (0 if rates.is_free else 1)


def _talk_usage(session: PlannedSession, seconds: int, *, window: int | None) -> Usage:
    turns = ceil_div(seconds, _TURN_S)
    heard, spoken = seconds * _HEARD_PER_S, _SPOKEN_PER_S * _TURN_S
    if session.max_output_tokens is not None:
        spoken = min(spoken, session.max_output_tokens)
    again = _read_again(turns, by_turn=_HEARD_PER_S * _TURN_S + spoken, window=window)
    return Usage(
        input_tokens=heard + again,
        input_audio_tokens=heard + again,
        cached_input_tokens=again,
        cached_audio_tokens=again,
        output_tokens=turns * spoken,
    )


def _read_again(turns: int, *, by_turn: int, window: int | None) -> int:
    """The tokens of the conversation that all turns read again: each as many as those before it have left."""
    most = LARGEST_CONTEXT_TOKENS if window is None else window
    n_growing = min(turns, most // by_turn + 1) if by_turn else turns
    return by_turn * n_growing * (n_growing - 1) // 2 + (turns - n_growing) * most


def _transcription_nanos(rates: Rates | None, seconds: int) -> int | None:
    if rates is None:
        return None
    tokens = seconds * _HEARD_PER_S
    usage = Usage(input_tokens=tokens, input_audio_tokens=tokens, audio_ms=seconds * 1_000)
    written = 0 if UsageClass.AUDIO_MS in rates.by_unit else seconds * _TRANSCRIBED_PER_S
    return estimate_nanos(rates, usage, output_tokens=written) or (0 if rates.is_free else 1)
