"""Parses the text of settings into values.

Parsers take the text of one variable and raise `ValueError`: with a one-line message where the text has
parts, so that the wrong part is named, else without one, and the error says what the setting accepts.
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Literal
from zoneinfo import ZoneInfo

from pydantic import (
    AfterValidator,
    AllowInfNan,
    BeforeValidator,
    PlainValidator,
    SecretStr,
    Strict,
    StringConstraints,
)

from budget_middleware.apis import APIS
from budget_middleware.apis.jobs.webhooks import WebhookPath, parse_webhooks
from budget_middleware.apis.json_rpc.protocols import RPC_PROTOCOLS
from budget_middleware.core.alerts.plan import AlertPlan, parse_alerts
from budget_middleware.core.limits.grammar import parse_limits
from budget_middleware.core.limits.limits import LimitRule, names_no_key
from budget_middleware.core.payers.accounts import WRONG_KEY
from budget_middleware.core.payers.sources import AccountSource, parse_sources
from budget_middleware.prices import UnknownModel, parse_unknown_model
from budget_middleware.setting_files import text_or_file
from budget_middleware.store_urls import checked_store_url
from budget_middleware.stores.sharded.shard_map import ShardMap, parse_shard_by

TRACE_URL_ACCEPTED = "an http(s) address with {trace_id} in it, and {span_id} if wanted"

_HEADER_NAME = r"[A-Za-z0-9!#$%&'*+.^_`|~-]+"
_API_NAMES = (*(api.name for api in APIS), *(protocol.name for protocol in RPC_PROTOCOLS))
ROUTES_ACCEPTED = f"/PATH/SUFFIX=API for one more, -/PATH/SUFFIX for one less, by ';'; API: {', '.join(_API_NAMES)}"


class Mode(StrEnum):
    """What a refusal does: it is answered, it is only recorded, or nothing is metered at all."""

    ENFORCE = "enforce"
    SHADOW = "shadow"
    OFF = "off"


class Unmetered(StrEnum):
    """What happens to a POST or a WebSocket handshake on a route that nobody here meters."""

    PASS = "pass"  # noqa: S105 - a word, not a secret
    REFUSE = "refuse"


class LiteLLMPrices(StrEnum):
    """When LiteLLM's own price map is a source of prices."""

    AUTO = "auto"
    INSTALLED = "installed"
    OFF = "off"


class TraceContext(StrEnum):
    """What the trace context in a caller's headers is to our spans."""

    PARENT = "parent"
    LINK = "link"
    IGNORE = "ignore"


class SpansPer(StrEnum):
    """What gets a span of its own: each change of a counter, or each verb, with the changes as its events."""

    COUNTER = "counter"
    VERB = "verb"


class OnStoreError(StrEnum):
    """What happens to a request while the store cannot answer."""

    LOCAL = "local"
    OPEN = "open"
    CLOSED = "closed"


class OnLimit(StrEnum):
    """What happens to a stream that outgrows its hold where this passes a limit."""

    PASS = "pass"  # noqa: S105 - a word, not a secret
    STOP = "stop"


class StoreCheck(StrEnum):
    """What becomes of a start whose store cannot do all that is needed."""

    WARN = "warn"
    FAIL = "fail"
    OFF = "off"


@dataclass(frozen=True, slots=True)
class RouteRule:
    """Requests whose path ends in `suffix` are metered as `api`, or not at all where `api` is None.

    A segment `*` of the suffix stands for any one segment.
    """

    suffix: str
    api: str | None


def redact_url(url: str) -> str:
    """Return `url` without what may be a password: user part, secret query values, a port of letters."""
    url = re.sub(r"^([a-z+]*://)?.*@", r"\1***@", url, flags=re.DOTALL)
    url = re.sub(r"(?i)([?&][^=&]*(?:pass|user|secret|token)[^=&]*=)[^&]*", r"\1***", url)
    return re.sub(r"(//[^/?\[\]]*):(?!\d*(?:[/?,]|$)).*", r"\1:***", url, flags=re.DOTALL)


def _file(value: str) -> Path | None:
    if value and not Path(value).is_file():
        found = "it is no file" if Path(value).exists() else "there is no such file"
        raise ValueError(f"{found}; accepted: the path of a file")
    return Path(value) if value else None


def _folder(value: str) -> Path | None:
    if value and Path(value).exists() and not Path(value).is_dir():
        raise ValueError("it is no folder; accepted: the path of a folder")
    return Path(value) if value else None


def _zone(value: str) -> ZoneInfo:
    try:
        return ZoneInfo(value)
    except (KeyError, ValueError, OSError):  # A folder of the zone database, such as "Europe", is an OSError.
        raise ValueError from None


def _limits(value: str) -> tuple[LimitRule, ...]:
    if not value.startswith("@"):
        return _on_hashed_keys(parse_limits(value))
    try:
        text = Path(value[1:]).read_text(encoding="utf-8")
    except OSError as unreadable:
        raise ValueError(f"cannot read the file: {unreadable.strerror}") from None
    except UnicodeDecodeError:
        raise ValueError("the file is not UTF-8 text") from None
    rules = parse_limits(text)
    # Nobody names a file to have no limits; it is being written, or was cut.
    if not rules:
        raise ValueError("the file names no limit; accepted: a file of at least one")
    return _on_hashed_keys(rules)


def _on_hashed_keys(rules: tuple[LimitRule, ...]) -> tuple[LimitRule, ...]:
    for number, rule in enumerate(rules, start=1):
        # It would bind nobody, and what was meant to be limited would not be.
        if names_no_key(rule):
            raise ValueError(f"limit {number}: {WRONG_KEY}")
    return rules


def _alerts(value: str) -> AlertPlan | None:
    plan = parse_alerts(text_or_file(value))
    if plan is None and value.startswith("@"):
        raise ValueError("the file names nobody to be told; accepted: a file of at least one entry")
    return plan


def _routes(value: str) -> tuple[RouteRule, ...]:
    return tuple(_route(entry.strip()) for entry in re.split(r"[;,]", value) if entry.strip())


def _route(entry: str) -> RouteRule:
    match = re.fullmatch(r"-(?P<less>/[^\s=?#]+)|(?P<more>/[^\s=?#]+)=(?P<api>\S+)", entry)
    if match is None:
        raise ValueError(f"{entry!r}: accepted: {ROUTES_ACCEPTED}")
    if match["api"] and match["api"] not in _API_NAMES:
        raise ValueError(f"{entry!r}: there is no API {match['api']!r}; accepted: {', '.join(_API_NAMES)}")
    suffix = match["less"] or match["more"]
    if not suffix.replace("*", "").strip("/"):
        raise ValueError(f"{entry!r}: accepted is a path with a segment besides *")
    return RouteRule(suffix=suffix, api=match["api"])


def _priority(value: str) -> str | None:
    match = re.fullmatch(rf"(?:header:({_HEADER_NAME}))?", value)
    if match is None:
        raise ValueError
    return match[1].lower() if match[1] else None


def _sendable(token: SecretStr) -> SecretStr:
    if re.fullmatch(r"[!-~]*", token.get_secret_value()) is None:
        raise ValueError
    return token


def trace_url_template(value: str) -> str | None:
    """The template of a trace's address; nothing for no template. Raises ValueError in one line."""
    if not value:
        return None
    is_address = value.startswith(("http://", "https://")) and value.isprintable() and " " not in value
    if not is_address or "{trace_id}" not in value:
        raise ValueError(f"accepted: {TRACE_URL_ACCEPTED}")
    return value


def _parsed_by(parse: Callable[[str], object]) -> PlainValidator:
    def parse_text(value: object) -> object:
        if not isinstance(value, str):
            raise ValueError("accepted: the text that the variable would hold")  # noqa: TRY004 - as pydantic asks
        return parse(value)

    return PlainValidator(parse_text)


def _words(meanings: Mapping[str, object]) -> BeforeValidator:
    return BeforeValidator(lambda value: meanings.get(str(value).lower(), value))


Flag = Annotated[bool, Strict(), _words({"0": False, "1": True, "false": False, "true": True})]
Switch = Annotated[bool, Strict(), _words({"off": False, "on": True, "false": False, "true": True})]
ExhaustedStatus = Annotated[Literal[429, 402], _words({"429": 429, "402": 402})]
Seconds = Annotated[float, AllowInfNan(False)]
Spreads = Annotated[float, AllowInfNan(False)]
StoreUrl = Annotated[str, _parsed_by(checked_store_url)]
Limits = Annotated[tuple[LimitRule, ...], _parsed_by(_limits)]
Accounts = Annotated[tuple[AccountSource, ...], _parsed_by(parse_sources)]
Alerts = Annotated[AlertPlan | None, _parsed_by(_alerts)]
Webhooks = Annotated[tuple[WebhookPath, ...], _parsed_by(lambda value: parse_webhooks(text_or_file(value)))]
Routes = Annotated[tuple[RouteRule, ...], _parsed_by(_routes)]
UnknownModelPrice = Annotated[UnknownModel, _parsed_by(parse_unknown_model)]
Zone = Annotated[ZoneInfo, _parsed_by(_zone)]
TraceUrl = Annotated[str | None, _parsed_by(trace_url_template)]
OptionalFolder = Annotated[Path | None, _parsed_by(_folder)]
OptionalFile = Annotated[Path | None, _parsed_by(_file)]
ShardBy = Annotated[ShardMap | None, _parsed_by(parse_shard_by)]
HeaderName = Annotated[str, StringConstraints(pattern=f"^{_HEADER_NAME}$", to_lower=True)]
Priority = Annotated[str | None, _parsed_by(_priority)]
AdminToken = Annotated[SecretStr, AfterValidator(_sendable)]
