"""Pages of the documentation that are made of the code's own tables: states, headers and errors, options of commands.

python -m tests.reference_pages    writes docs/states.md, docs/states.svg, docs/http.md and docs/commands.md anew
"""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from budget_middleware.apis import APIS
from budget_middleware.apis.protocol.base import Api, Reason, Refusal
from budget_middleware.cli.entry import _parser
from budget_middleware.core.statuses import OPS, Op, State, Status
from budget_middleware.core.transitions import ENDINGS, EXTENSIONS
from budget_middleware.core.units import Unit
from budget_middleware.request.headers.refusals import retry_headers

DOCS = Path(__file__).parents[1] / "docs"

MADE = "This page is made of the code: `python -m tests.reference_pages`."

BECOMES: Mapping[Status, State] = {
    Status.FINALIZED: State.FINALIZED,
    Status.FINALIZED_LATE: State.FINALIZED,
    Status.FINALIZED_UNRESERVED: State.FINALIZED,
    Status.RELEASED: State.RELEASED,
    Status.RELEASED_LATE: State.RELEASED,
    Status.RELEASED_UNKNOWN: State.RELEASED,
}
"""What a reservation is after an ending that changed it; tests hold it against the rules themselves."""

HEADERS: Mapping[str, str] = {
    "x-budget-reservation-id": "the reservation of this request: `explain ID`, `release ID`",
    "x-budget-estimate-usd": "what was held for it at first",
    "x-budget-cost-usd": "what it cost, on an answer whose whole body is one message",
    "x-budget-usage": "the classes of tokens that were billed, on such an answer",
    "x-budget-price-source": "the price lists that were billed by, on such an answer",
    "x-budget-remaining-usd": "what is left of the tightest limit of the caller's own accounts",
    "x-budget-warning": "soft limits that this request went over",
    "x-budget-wait-s": "how long it waited for budget that others held",
    "x-budget-ledger": "the ledger, for a guard in front of this one",
    "x-budget-unprotected": "`1`: it was served while the store gave no answer",
}
"""The headers of metered answers."""

STATUSES: Mapping[Reason, tuple[str, str]] = {
    Reason.SPENT: ("`BUDGET_EXHAUSTED_STATUS`", "a limit is spent: no retry succeeds in this window"),
    Reason.HELD: ("`BUDGET_EXHAUSTED_STATUS`", "others' requests in flight hold what is left: a retry may succeed"),
    Reason.RATE: ("429", "tokens or requests of a minute or an hour are used up, until it ends"),
    Reason.UNAVAILABLE: ("503", "the store gives no answer, with `BUDGET_ON_STORE_ERROR=closed`"),
    Reason.BUSY: ("503", "this worker has too much in hand: `BUDGET_MAX_WAITING`, `BUDGET_MAX_BODIES_BYTES`"),
    Reason.BAD_REQUEST: ("400", "the request cannot be read or priced"),
    Reason.TOO_SLOW: ("408", "the body stalled: `BUDGET_BODY_TIMEOUT_S`"),
    Reason.AMBIGUOUS_CREDENTIALS: ("400", "two credentials that differ, or one that can be read in two ways"),
    Reason.UNKNOWN_MODEL: ("400", "a model without a price, with `BUDGET_UNKNOWN_MODEL=reject`"),
    Reason.UNMETERED: ("403", "a route that is not known, with `BUDGET_UNMETERED=refuse`"),
    Reason.MISCONFIGURED: ("500", "a setting cannot be used, and the server started all the same"),
    Reason.STOPPED: ("in the stream", "a stream outgrew a limit, with `BUDGET_ON_LIMIT=stop`"),
}
"""The HTTP status of each refusal, and when it comes."""


def pages() -> Mapping[str, str]:
    """The text of each page by its name."""
    return {"states.md": states_page(), "states.svg": states_svg(), "http.md": http_page(), "commands.md": commands()}


# States and verbs.


def transitions() -> list[tuple[str, str, str]]:
    """Every arrow of the picture: from, to, what it is called."""
    arrows = [("none", str(State.PENDING), str(Op.RESERVE)), (str(State.PENDING), str(State.EXPIRED), "lease over")]
    for (_, state), status in ENDINGS.items():
        if status in BECOMES:
            arrows.append((str(state or "none"), str(BECOMES[status]), str(status)))
    return arrows


def states_page() -> str:
    states = [None, *State]
    ops = sorted({op for op, _ in ENDINGS}, key=list(Op).index)
    head = ["| verb | " + " | ".join(f"`{state}`" if state else "unknown id" for state in states) + " |"]
    head.append("|---" * (len(states) + 1) + "|")
    endings = ["| `" + op + "` | " + " | ".join(_cell(ENDINGS[op, state]) for state in states) + " |" for op in ops]
    extend = "| `extend`, `grow` | " + " | ".join(_cell(EXTENSIONS[state]) for state in states) + " |"
    entries = [f"| `{status}` | `{op}` |" for status, op in OPS.items()]
    return "\n".join(
        [
            "# States and verbs",
            "",
            f"What a reservation may become, and what each verb answers. {MADE}",
            "",
            "![Every state of a reservation, and the status with which it gets there](states.svg)",
            "",
            "In bold is what changes something; every other answer returns what is recorded.",
            "",
            *head,
            *endings,
            extend,
            "",
            "A pending reservation is `grown` by `grow`. [Why it is so](how-it-works.md#the-states-of-a-reservation).",
            "",
            "## Which verb a journal entry is of",
            "",
            "| status in the journal | verb |",
            "|---|---|",
            *entries,
            "",
        ]
    )


def _cell(status: Status) -> str:
    return f"**`{status}`**" if status in BECOMES or status is Status.EXTENDED else f"`{status}`"


_PLACES = {
    "none": (20, 110),
    "pending": (240, 110),
    "expired": (240, 240),
    "finalized": (520, 20),
    "released": (520, 240),
}
_BOX = (130, 36)


def states_svg() -> str:
    """The states as boxes and one arrow for each pair, with every status on it."""
    labels: dict[tuple[str, str], list[str]] = {}
    for start, end, label in transitions():
        labels.setdefault((start, end), []).append(label)
    drawn = [*map(_arrow, labels, labels.values()), *map(_state, _PLACES)]
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 670 300" font-family="sans-serif" font-size="12">\n'
        '<rect width="670" height="300" fill="#fff"/>\n'
        '<defs><marker id="head" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="8" markerHeight="8" orient="auto">'
        '<path d="M0 0 8 4 0 8z" fill="#456"/></marker></defs>\n' + "\n".join(drawn) + "\n</svg>\n"
    )


def _state(name: str) -> str:
    (x, y), (width, height) = _PLACES[name], _BOX
    return (
        f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" fill="#eef" stroke="#456"/>'
        f'<text x="{x + width / 2:g}" y="{y + 23}" text-anchor="middle">{escape(name)}</text>'
    )


def _arrow(ends: tuple[str, str], names: Sequence[str]) -> str:
    (x1, y1), (x2, y2) = (_edge(ends[0], ends[1]), _edge(ends[1], ends[0]))
    share = 0.5 if x1 == x2 or ends[1] == "pending" else 0.3 if ends[0] == "none" else 0.62
    x, y = x1 + (x2 - x1) * share, y1 + (y2 - y1) * share
    text = escape(", ".join(names))
    place = f'x="{x:g}" y="{y - 5:g}" text-anchor="middle"'
    return (
        f'<path d="M{x1:g} {y1:g}L{x2:g} {y2:g}" stroke="#456" marker-end="url(#head)"/>'
        # A white edge first, so that it can be read where lines cross it.
        f'<text {place} stroke="#fff" stroke-width="4">{text}</text><text {place} fill="#223">{text}</text>'
    )


def _edge(name: str, other: str) -> tuple[float, float]:
    """Where an arrow leaves or reaches a box: at the side that looks at the other one."""
    (x, y), (width, height), (other_x, other_y) = _PLACES[name], _BOX, _PLACES[other]
    if other_x == x:
        return x + width / 2, y + (height if other_y > y else 0)
    if name == "none" and other_y != y:
        return x + width / 2, y + (height if other_y > y else 0)
    return x + (width if other_x > x else 0), y + height / 2 + (8 if other_y > y else -8 if other_y < y else 0)


# Headers and errors.


def http_page() -> str:
    families = _families()
    retries = [
        f"| `{reason}` | {status} | {_retries(reason)} | {when} |" for reason, (status, when) in STATUSES.items()
    ]
    errors = [f"| `{reason}` | {_codes(families, reason)} |" for reason in Reason]
    return "\n".join(
        [
            "# HTTP headers and errors",
            "",
            f"What the middleware adds to answers, and what it answers itself. {MADE}",
            "",
            "## Headers of metered answers",
            "",
            "| header | meaning |",
            "|---|---|",
            *(f"| `{name}` | {meaning} |" for name, meaning in HEADERS.items()),
            "",
            "Besides these: `ratelimit` and `ratelimit-policy`, and [those of the API](units.md#headers) for rates.",
            "`BUDGET_HEADERS=off` drops them, and answers of 401 and 403 have none.",
            "A handshake of a WebSocket gets `x-budget-outer-session` for a guard behind this one.",
            "[When a request is refused](configuration.md#when-a-request-is-refused) says who sees figures.",
            "",
            "## Refusals",
            "",
            "| reason | status | retry headers | when |",
            "|---|---|---|---|",
            *retries,
            "",
            "## Their bodies",
            "",
            "Each has the shape of the caller's own API, for its SDK to raise its own error. What names the reason:",
            "",
            "| reason | " + " | ".join(_family_name(apis) for apis in families.values()) + " |",
            "|---" * (len(families) + 1) + "|",
            *errors,
            "",
        ]
    )


def _families() -> dict[str, list[Api]]:
    """The APIs whose errors look alike."""
    families: dict[str, list[Api]] = {}
    for api in APIS:
        families.setdefault(repr(api.error_body(_refusal(Reason.SPENT))), []).append(api)
    return families


def _family_name(apis: Sequence[Api]) -> str:
    return (
        "OpenAI's, and all others" if apis[0].name.startswith("openai") else ", ".join(f"`{api.name}`" for api in apis)
    )


def _refusal(reason: Reason) -> Refusal:
    status = STATUSES[reason][0]
    unit = Unit.TOKENS if reason is Reason.RATE else Unit.USD
    return Refusal(status=int(status) if status.isdecimal() else 429, reason=reason, message="…", unit=unit)


def _codes(families: Mapping[str, Sequence[Api]], reason: Reason) -> str:
    return " | ".join(_code(apis[0].error_body(_refusal(reason))) for apis in families.values())


def _code(body: Any) -> str:
    """What names the reason in an error: all its strings and numbers, but for the message."""
    named = [f"`{name}: {value}`" for name, value in _leaves(body) if value not in ("…", None) and name != "param"]
    return " ".join(named) or "the message only"


def _leaves(body: Any) -> Iterator[tuple[str, Any]]:
    for name, value in body.items():
        if isinstance(value, dict):
            yield from _leaves(value)
        elif not isinstance(value, list):
            yield name, value


def _retries(reason: Reason) -> str:
    if reason is Reason.STOPPED:
        return "none"
    headers = retry_headers(reason, call_s=0, retry_after_s=None)
    if reason is Reason.RATE:
        return "`retry-after`: until the window ends; `x-should-retry: true` up to 60 s"
    if reason is Reason.HELD:
        return "`x-should-retry: true` `retry-after`: 1 to 30 s, as calls took lately"
    return " ".join(f"`{name.decode()}: {value.decode()}`" for name, value in headers)


# Commands.


def commands() -> str:
    lines = ["# Options of commands", "", f"What each command takes; [cli.md](cli.md) says what it is for. {MADE}", ""]
    for name, parser in _commands(_parser(), ()):
        lines += [f"## `{name}`", "", _plain(parser.description or ""), "", "| | |", "|---|---|"]
        lines += [f"| {_spelling(action)} | {_plain(action.help or '')} |" for action in _arguments(parser)]
        lines.append("")
    return "\n".join(lines)


def _commands(parser: argparse.ArgumentParser, words: Sequence[str]) -> Iterator[tuple[str, argparse.ArgumentParser]]:
    below = [action for action in parser._actions if isinstance(action, argparse._SubParsersAction)]
    if not below:
        yield " ".join(words), parser
    for action in below:
        for word, inner in action.choices.items():
            yield from _commands(inner, (*words, word))


def _arguments(parser: argparse.ArgumentParser) -> list[argparse.Action]:
    return [action for action in parser._actions if action.help != argparse.SUPPRESS and action.dest != "help"]


def _spelling(action: argparse.Action) -> str:
    value = action.metavar or ("|".join(map(str, action.choices)) if action.choices else action.dest.upper())
    if isinstance(value, tuple):  # What follows the first word may be left out.
        value = " ".join((value[0], *(f"[{word}]" for word in value[1:])))
    value = value.replace("|", "\\|")
    if not action.option_strings:
        return f"`{value}`"
    takes = "" if action.nargs == 0 else f" {value}"
    return ", ".join(f"`{option}{takes}`" for option in action.option_strings)


def _plain(text: str) -> str:
    """Help as Markdown: `%%` is how argparse spells a percent sign, and a bar would end the cell."""
    return text.replace("%%", "%").replace("|", "\\|").replace("*", "\\*").replace("<", "&lt;")


if __name__ == "__main__":
    for page, text in pages().items():
        (DOCS / page).write_text(text, "utf-8")
