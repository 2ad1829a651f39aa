"""Calls of traces: what was asked and answered, when, and how fast."""

import csv
import gzip
import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

INPUT_NANOS, OUTPUT_NANOS = 2_500, 10_000
"""A token's price, $2.5 and $10 per million: output costs four times as much as input nearly everywhere."""

FIRST_TOKEN_S = 0.5
TOKENS_PER_S = 50
# Of the logarithm: speeds of calls differ by about a fifth, tokens told from bytes by about a tenth.
_SPEED_SPREAD, _TOLD_SPREAD = 0.2, 0.1
# Estimates of English text are a little above what tokenizers make of it: see `make estimates`.
_TOLD_RATIO = 1.1
# The others come as streams, whose text is seen while it is written.
_WHOLE_ANSWERS = 0.25
_COLUMNS = ("t_seconds", "input_tokens", "output_tokens")


class TraceError(Exception):
    """A trace that cannot be read, in one line."""


class Record(NamedTuple):
    """A line of a trace. ``session`` is who called, where the trace tells it."""

    at_s: float
    input_tokens: int
    output_tokens: int
    session: str = ""


class Call(NamedTuple):
    """A record, and what a gateway sees of it: the input as told from its bytes, how fast and how it is answered.

    ``seconds`` pass from its admission to its answer's end.
    """

    at_s: float
    input_tokens: int
    output_tokens: int
    session: str
    told_input_tokens: int
    tokens_per_s: float
    is_stream: bool
    seconds: float
    cost_nanos: int


@dataclass(frozen=True, slots=True)
class Trace:
    """The calls of one model, in order, and their means. ``is_shifting``: made so that what was learnt misleads."""

    name: str
    calls: Sequence[Call]
    is_shifting: bool
    mean_cost_nanos: int
    mean_seconds: float
    most_output_tokens: int


def trace_of(name: str, records: Iterable[Record], *, seed: int, is_shifting: bool = False) -> Trace:
    """The same seed answers the same records at the same speeds, whatever other traces there are."""
    calls = [*_calls(records, random.Random(f"{seed} {name}"))]
    return Trace(
        name,
        calls,
        is_shifting,
        mean_cost_nanos=round(sum(call.cost_nanos for call in calls) / len(calls)),
        mean_seconds=sum(call.seconds for call in calls) / len(calls),
        most_output_tokens=max(call.output_tokens for call in calls),
    )


def _calls(records: Iterable[Record], drawing: random.Random) -> Iterator[Call]:
    for at_s, input_tokens, output_tokens, session in records:
        tokens_per_s = TOKENS_PER_S * drawing.lognormvariate(0, _SPEED_SPREAD)
        yield Call(
            at_s,
            input_tokens,
            output_tokens,
            session,
            told_input_tokens=round(input_tokens * _TOLD_RATIO * drawing.lognormvariate(0, _TOLD_SPREAD)),
            tokens_per_s=tokens_per_s,
            is_stream=drawing.random() >= _WHOLE_ANSWERS,
            seconds=FIRST_TOKEN_S + output_tokens / tokens_per_s,
            cost_nanos=input_tokens * INPUT_NANOS + output_tokens * OUTPUT_NANOS,
        )


def read_traces(folder: Path, *, seed: int) -> list[Trace]:
    """Every `*.csv` and `*.csv.gz` of a folder."""
    paths = sorted(path for path in folder.glob("*") if path.name.endswith((".csv", ".csv.gz")))
    if not paths:
        raise TraceError(f"{folder}: no *.csv and no *.csv.gz is there")
    return [trace_of(path.name.partition(".csv")[0], _records(path), seed=seed) for path in paths]


def _records(path: Path) -> list[Record]:
    try:
        with gzip.open(path, "rt", newline="") if path.suffix == ".gz" else path.open(newline="") as lines:
            records = [*map(_record, csv.DictReader(lines))]
    except (OSError, EOFError, KeyError, TypeError, ValueError) as error:
        raise TraceError(f"{path}: not lines of {','.join(_COLUMNS)}[,session] ({error!r})") from None
    if len(records) < 2 or not any(each.output_tokens for each in records):
        raise TraceError(f"{path}: has no two calls, or no answer to any")
    return sorted(records, key=lambda each: each.at_s)


def _record(row: Mapping[str, str]) -> Record:
    at_s, input_tokens, output_tokens = (row[column] for column in _COLUMNS)
    return Record(float(at_s), int(input_tokens), int(output_tokens), row.get("session") or "")
