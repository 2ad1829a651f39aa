"""Runs docs/tutorial.md as its reader would: every block, in one shell, in order.

python -m tests.tutorial    runs it with the `budget-middleware` of PATH; the wheel is tried so
"""

import re
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

PAGE = Path(__file__).parents[1] / "docs" / "tutorial.md"

INSTALL = 'sh title="install"'
"""Whoever runs the page has installed the package, in one way or the other."""

_FOLDER = "/tmp/budget-tutorial"
_PORT = "8000"
_BLOCK = re.compile(r"^```([^\n]*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)
_VARIABLE = (
    (re.compile(r"\d{4}-\d\d-\d\dT[\d:.]+\+00:00"), "TIME"),
    (re.compile(r"\d{4}-\d\d-\d\d"), "DAY"),
    (re.compile(r"\b[0-9a-f]{32}\b"), "ID"),
    (re.compile(r"key:[0-9a-f]{16}"), "KEY"),
)


@dataclass(frozen=True)
class Block:
    """One block of code of the page: what kind it is, and its text."""

    kind: str
    text: str


def blocks() -> list[Block]:
    return [Block(kind, text) for kind, text in _BLOCK.findall(PAGE.read_text("utf-8"))]


def run(folder: Path) -> Iterator[tuple[Block, str]]:
    """Each block of a shell that shows its output, and what it printed in ``folder``."""
    port = _free_port()
    script, shown = ["set -eu"], list[str]()
    page = blocks()
    for block, after in zip(page, [*page[1:], Block("", "")], strict=True):
        text = block.text.replace(_PORT, port).replace(_FOLDER, str(folder))
        if block.kind.startswith("python"):
            name = block.kind.partition('title="')[2].rstrip('"')
            script.append(f"cat > {name} <<'END_OF_FILE'\n{text}END_OF_FILE")
        elif block.kind == "sh":
            script += [f"echo '=={len(shown)}=='", text]
            shown.append(after.text if after.kind == "" else "")
    done = subprocess.run(["bash", "-c", "\n".join(script)], capture_output=True, text=True, timeout=120, check=False)
    if done.returncode:
        raise RuntimeError(f"the tutorial ended with {done.returncode}: {done.stdout}{done.stderr}")
    printed = re.split(r"^==\d+==\n", done.stdout, flags=re.MULTILINE)[1:]
    yield from zip((Block("", text) for text in shown), printed, strict=True)


def without_variables(text: str) -> str:
    """The text without times, hashes and ids, which are others at each run."""
    for pattern, name in _VARIABLE:
        text = pattern.sub(name, text)
    return "\n".join(" ".join(line.split()) for line in text.strip().splitlines())


def _free_port() -> str:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return str(listener.getsockname()[1])


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        for block, printed in run(Path(folder)):
            if block.text and not without_variables(printed).startswith(without_variables(block.text)):
                sys.exit(f"docs/tutorial.md shows\n{block.text}\nand it printed\n{printed}")


if __name__ == "__main__":
    main()
