"""What a session may cost that goes around the gateway: the ceiling of a conversation that never stops.

    spoken      20 tokens a second, or as many as `max_output_tokens` allows in each turn of ten seconds
    heard       10 tokens a second
    read again  in each turn the conversation so far, from the cache, up to the window of the model
    by time     where the model has a price by the hour, that alone
    transcribed what is heard, at the price of the model that transcribes

for BUDGET_REALTIME_DIRECT_S. Without a price for all of that BUDGET_JOB_ESTIMATE_USD is held. It is what a lively
conversation comes to, and no bound: one secret may open several sessions, and who interrupts has answers begun anew.
"""

from typing import Final

from budget_middleware.apis.openai_realtime_direct import PlannedSession
from budget_middleware.core.estimate import LARGEST_CONTEXT_TOKENS
from budget_middleware.core.money import MAX_NANOS, ceil_div
from budget_middleware.core.pricing import Rates, Usage, UsageClass, estimate_nanos
from budget_middleware.prices import PriceBook

_TURN_S: Final = 10
_SPOKEN_PER_S: Final = 20
_HEARD_PER_S: Final = 10
# What is written of speech.
_TRANSCRIBED_PER_S: Final = 4


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
    turns = ceil_div(seconds, _TURN_S)
    heard, spoken = seconds * _HEARD_PER_S, _SPOKEN_PER_S * _TURN_S
    if session.max_output_tokens is not None:
        spoken = min(spoken, session.max_output_tokens)
    again = _read_again(turns, by_turn=_HEARD_PER_S * _TURN_S + spoken, window=rates.context_window)
    usage = Usage(
        input_tokens=heard + again,
        input_audio_tokens=heard + again,
        cached_input_tokens=again,
        cached_audio_tokens=again,
    )
    unit = UsageClass.OUTPUT if session.only_writes else UsageClass.OUTPUT_AUDIO
    return estimate_nanos(rates, usage, output_tokens=turns * spoken, output_unit=unit) or (0 if rates.is_free else 1)


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
