"""Recordings: what a real client and a provider said to one another, and what a guard between them has to book.

One file for each API and wire, `recorded/API.WIRE.json`:

    api, wire    which API it is, and how it was spoken: `document`, `stream`, `session` (a WebSocket), `job`
    client       the SDK and its version that spoke
    booked       what the key of the whole recording pays: `cost_usd`, an exact decimal string, and `usage`, the classes
                 that its bills count
    exchanges    in their order, each one of
                 {"request": {method, path, query, headers, body}, "response": {status, headers, body: [chunks]}}
                 {"session": {path, query, headers, events: [[who, event], ...]}}   who: "client" or "server"

Bytes that are no text are {"base64": ...}. Only headers in KEPT_HEADERS are kept, and no query that names a key: there
are no credentials in a recording, whatever the client sent.
"""

import base64
import json
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

RECORDED = Path(__file__).parent / "recorded"
PRICES = Path(__file__).parent / "prices.toml"
KEY = "sk-recorded"
KEPT_HEADERS = frozenset({"accept", "anthropic-beta", "anthropic-version", "content-type", "openai-beta"})
_SECRETS = frozenset({"key", "api_key", "api-key", "access_token"})


@dataclass(frozen=True, slots=True)
class Recording:
    """One file. ``exchanges`` are as they stand in it."""

    api: str
    wire: str
    client: str
    booked: Mapping[str, Any]
    exchanges: list[dict[str, Any]]

    @property
    def name(self) -> str:
        return f"{self.api}.{self.wire}"

    def write(self) -> None:
        text = json.dumps(asdict(self), indent=1, ensure_ascii=False)
        (RECORDED / f"{self.name}.json").write_text(f"{text}\n", "utf-8")


def recordings() -> Mapping[str, Recording]:
    """All that there are, by name."""
    found = [Recording(**json.loads(path.read_text("utf-8"))) for path in sorted(RECORDED.glob("*.json"))]
    return {each.name: each for each in found}


def written(data: bytes) -> Any:
    """Bytes as they stand in a file."""
    try:
        text = data.decode()
    except UnicodeDecodeError:
        text = "\0"
    return {"base64": base64.b64encode(data).decode()} if "\0" in text else text


def read(value: Any) -> bytes:
    return base64.b64decode(value["base64"]) if isinstance(value, dict) else str(value).encode()


def scrubbed_headers(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    named = ((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers)
    return {name: value for name, value in named if name in KEPT_HEADERS}


def scrubbed_query(query: bytes) -> str:
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
    return urlencode([(name, value) for name, value in pairs if name.lower() not in _SECRETS])
