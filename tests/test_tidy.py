"""What CONTRIBUTING.md promises of the code: short modules, short functions, and no name that was replaced."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "budget_middleware"
CODE = sorted(path for path in PACKAGE.rglob("*") if path.suffix in (".py", ".lua"))
MOST_LINES = 250
MOST_LINES_OF_A_FUNCTION = 50

LONGER_MODULES = {
    "apis/answers/answer_reader.py": "one answer's way to its reader, with the theory of it",
    "apis/counting/input.py": "one walk over a request's JSON, whose branches share their counts",
    "apis/bodies/form.py": "one reader of forms and its states",
    "core/transitions.py": "every rule of a reservation, by design in one file",
    "request/bills/bill.py": "what an answer is billed at, from all that it may tell",
    "request/exchange.py": "the ASGI messages of one request, in their order",
    "settings.py": "a table of settings",
    "testing.py": "one module for users to import",
}
"""Modules over 250 lines, each with its reason."""

LONGER_FUNCTIONS = {
    "apis/shared/openai_usage.py: _take_usage": "a table of spellings, read from top to bottom",
    "ledger/parts.py: __init__": "the wiring of a ledger",
}
"""Functions over 50 lines, each with its reason."""

REPLACED = {
    "CHANGES_TOLD": "REPORTED_CHANGES_MAX",
    "Call": "EngineCall, PlayedRequest",
    "Desk": "OperatorContext",
    "Doubt": "Contradiction",
    "FIELD_BESIDE": "FIELD_BY_PIECE",
    "Hear": "OnFreed",
    "SETTLED_S": "STABLE_S",
    "Settled": "AnswerFuture",
    "Standing": "RouteKind",
    "StoreFollower": "StoreMonitor",
    "TELLS_RECORDED": "RETURNS_RECORDED",
    "_Here": "_LoopLimits",
    "_Kept": "_LiveHolds",
    "_dearness": "_price_rank",
    "_note": "log_changes",
    "_told": "logged, reported",
    "amounts_said": "format_amounts",
    "beside": "extra, separate, by_piece",
    "complain": "print_error",
    "dearest": "most_expensive",
    "doubt": "contradiction, warning",
    "doubt_about": "warnings_for",
    "doubts_about": "warnings_for",
    "ends_in_behind": "ends_in_after",
    "figure_said": "format_figure",
    "goes_on_unread": "continues_unread",
    "hear": "on_freed, wake",
    "hear_forever": "listen_forever",
    "here": "current",
    "is_format_told": "is_format_recorded",
    "is_told_of_keys": "can_own_keys",
    "leave_untold": "defer",
    "let_go": "on_done, forget_beat",
    "look_again": "export",
    "looking_at": "pinned_to",
    "nobody": "no_payers",
    "note_refusals": "log_refusals",
    "noted_findings": "note_findings",
    "run_beside": "run_in_thread",
    "said": "format_amount",
    "say": "print_line",
    "say_json": "print_json",
    "say_rows": "print_rows",
    "server_doubts": "warnings_for",
    "settle": "wake_waiter, acknowledge, remove, write_change",
    "settle_within": "wake_waiter_within",
    "skim": "read",
    "take_told": "take_reported",
    "take_told_uses": "discard_uses",
    "tell": "report",
    "tell_untold": "export",
    "tells_of_response": "is_response_lookup",
    "told": "reported, logged, found",
    "verb_now": "verb_to_send",
    "with_pythons": "with_python_constants",
}
"""Names that the code once had, and what stands for them now: house style in CONTRIBUTING.md."""


def _name(path: Path) -> str:
    return str(path.relative_to(PACKAGE))


def _length(path: Path) -> int:
    return len(path.read_text("utf-8").splitlines())


def test_a_module_is_short_or_says_why_not():
    """And no reason is left over."""
    assert {_name(path) for path in CODE if _length(path) > MOST_LINES} == LONGER_MODULES.keys()


def _functions(path: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno is not None, "a parsed function ends somewhere"
            yield f"{_name(path)}: {node.name}", node.end_lineno - node.lineno + 1


def test_functions_are_short():
    found = dict(each for path in CODE if path.suffix == ".py" for each in _functions(path))
    assert {name for name, lines in found.items() if lines > MOST_LINES_OF_A_FUNCTION} == LONGER_FUNCTIONS.keys()


def _says_what_it_is(path: Path) -> bool:
    first = path.read_text("utf-8").lstrip('r"-# ')
    return not first or first[0].isupper() or first.startswith("`") or path.name == "__init__.py"


def test_every_module_says_what_it_is():
    assert [_name(path) for path in CODE if not _says_what_it_is(path)] == []


_NAME_OR_PROSE = re.compile(r'''"""(?s:\\.|.)*?"""|"(?s:\\.|[^"\\])*"|\'(?s:\\.|[^\'\\])*\'|#.*|([^\W\d]\w*)''')
"""A string, a comment or a name of Python, which alone is a group: `tokenize` takes eight times as long."""


def _identifiers(path: Path) -> set[str]:
    """The names in a file's code; in prose each word has its plain meaning."""
    text = path.read_text("utf-8")
    if path.suffix == ".lua":
        return set(re.findall(r"[A-Za-z_]\w*", re.sub(r"--.*", "", text)))
    return {*_NAME_OR_PROSE.findall(text)}


def test_no_replaced_name_comes_back():
    found = {(_name(path), name) for path in CODE for name in _identifiers(path) & REPLACED.keys()}
    assert {f"{module}: {name}": REPLACED[name] for module, name in found} == {}
