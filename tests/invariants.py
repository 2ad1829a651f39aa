"""Which tests prove which invariant: `@pytest.mark.proves("I6")`, and the table that docs/invariants.md makes of it.

python -m tests.invariants    writes docs/invariants.md anew
"""

import ast
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

TESTS = Path(__file__).parent
PAGE = TESTS.parent / "docs" / "invariants.md"

INVARIANTS: Mapping[str, str] = {
    "I1": "`reserved >= 0` and `spent - adjustments >= 0`; a negative adjust is a credit and may make `spent` negative",
    "I2": "`reserved` of a counter is the sum of its pending reservations",
    "I3": "a reservation ends exactly once, by finalize or release; the first wins. An expiry is not an ending: it "
    "gives the hold back, books the expiry charge, and leaves one late ending, which replaces that charge",
    "I4": "`spent` is the actual cost of each reservation of that window, or its expiry charge while it is only "
    "expired, plus adjustments: to the nano-dollar",
    "I5": "a refused reserve changes no counter, and no concurrent caller sees it",
    "I6": "a reserve with an estimate above 0 is admitted only if `spent + reserved + estimate <= limit` at that "
    "instant for every limited counter of the request: all or none; an estimate of 0 is always admitted. A grow is no "
    "admission: it raises what a pending reservation holds to what its answer has come to, whatever the limit",
    "I7": "nothing in flight and all leases over implies `reserved = 0`",
    "I8": "losing a reply, a request, a worker or a connection never changes another request's reservation",
    "I9": "each change of a counter is exactly one journal entry, written in the same atomic step; entries of a "
    "counter chain up to the counter itself; each entry is exported as one span",
    "I10": "doing any verb again with the same id and arguments equals doing it once; a grow to no more than is held "
    "changes nothing but the lease",
}

_HEAD = """# The invariants and their tests

What holds after every step, whatever fails, and the tests that prove it. Each such test is marked in its file with
`@pytest.mark.proves("I6")`, and this page is made from the marks: `python -m tests.invariants`.

| | invariant | proved by |
|---|---|---|
"""


def page() -> str:
    """The text of docs/invariants.md."""
    proofs = find_proofs()
    return _HEAD + "".join(
        f"| {name} | {says} | {' '.join(f'`{test}`' for test in proofs.get(name, ()))} |\n"
        for name, says in INVARIANTS.items()
    )


def find_proofs() -> Mapping[str, Sequence[str]]:
    """The names of the marked tests by invariant, each once, in the order of files and lines."""
    proofs: defaultdict[str, list[str]] = defaultdict(list)
    for path in sorted(TESTS.rglob("test_*.py")):
        text = path.read_text("utf-8")
        # Most files have no mark, and parsing takes a second in all.
        for test, invariant in _marks_in(ast.parse(text)) if ".proves(" in text else ():
            if test not in proofs[invariant]:
                proofs[invariant].append(test)
    return proofs


def _marks_in(module: ast.Module) -> Iterator[tuple[str, str]]:
    for node in ast.walk(module):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            for decorator in node.decorator_list:
                match decorator:
                    case ast.Call(func=ast.Attribute(attr="proves"), args=names):
                        yield from ((node.name, ast.literal_eval(name)) for name in names)


if __name__ == "__main__":
    PAGE.write_text(page(), "utf-8")
