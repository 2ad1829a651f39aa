"""What BUDGET_ALERTS says: who is alerted, and to what. A URL in it may hold a secret, and is shown without it."""

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass, field
from enum import StrEnum
from urllib.parse import urlsplit

ALERTS_ACCEPTED = (
    "by ';': https://HOST/PATH#SECRET, slack+https://HOST/PATH, pagerduty://ROUTING_KEY, log;"
    " thresholds=80,100, forecast=on, hold=1h, audit=03:00, audit=off; or @/PATH of a file of them"
)
PAGERDUTY_HOST = "events.pagerduty.com"

_HOUR_MS = 3_600_000
_HOLD = re.compile(r"([1-9][0-9]{0,3})([mh])")
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):([0-5][0-9])")
_URL = re.compile(r"(?:(slack|pagerduty)\+)?(https?://[!-~]+)")


class Shape(StrEnum):
    """How a receiver wants to be told."""

    WEBHOOK = "webhook"
    SLACK = "slack"
    PAGERDUTY = "pagerduty"


@dataclass(frozen=True, slots=True)
class Receiver:
    """Somebody to be told over HTTP. ``secret`` signs a webhook, or is the routing key of PagerDuty; "" for none.

    ``name`` says which one it is without its secrets: its host, and some digits of a hash of all.
    """

    shape: Shape
    url: str = field(repr=False)
    secret: bytes = field(default=b"", repr=False)
    name: str = field(init=False)

    def __post_init__(self) -> None:
        digits = hashlib.sha256(self.url.encode() + b"\n" + self.secret).hexdigest()[:6]
        object.__setattr__(self, "name", f"{self.shape}:{urlsplit(self.url).hostname}#{digits}")


@dataclass(frozen=True, slots=True)
class AlertPlan:
    """Who is told, and of what. ``percents`` go for limits without an ``!alert`` of their own.

    ``old_hold_ms`` is the age of a hold that is told, ``audit_minute`` of the day when counters
    are audited; None: never.
    """

    receivers: tuple[Receiver, ...] = ()
    percents: tuple[int, ...] = ()
    has_forecast: bool = True
    old_hold_ms: int | None = _HOUR_MS
    audit_minute: int | None = 180


def parse_alerts(text: str) -> AlertPlan | None:
    """The plan that a text is; None for none. ValueError, in one line that has nothing of a URL."""
    entries = [entry for line in text.splitlines() for entry in _entries(line)]
    receivers: dict[str, Receiver] = {}
    named: dict[str, str] = {}
    for number, entry in enumerate(entries, start=1):
        name, equals, value = entry.partition("=")
        if entry == "log":
            continue
        if equals and re.fullmatch(r"[a-z]+", name):
            if name in named or not _is_option(name, value):
                raise ValueError(f"entry {number}, {name}: accepted: {ALERTS_ACCEPTED}")
            named[name] = value
        else:
            receiver = _receiver(entry, number)
            receivers[receiver.name] = receiver
    if not entries:
        return None
    hold = named.get("hold", "1h")
    audit = named.get("audit", "03:00")
    return AlertPlan(
        tuple(receivers.values()),
        percents=tuple(sorted({int(each) for each in named["thresholds"].split(",")})) if "thresholds" in named else (),
        has_forecast=named.get("forecast", "on") == "on",
        old_hold_ms=None if hold == "off" else _hold_ms(hold),
        audit_minute=None if audit == "off" else int(audit[:2]) * 60 + int(audit[3:]),
    )


def _entries(line: str) -> list[str]:
    line = "" if line.lstrip().startswith("#") else line
    return [entry for entry in map(str.strip, line.split(";")) if entry]


def _is_option(name: str, value: str) -> bool:
    match name:
        case "thresholds":
            return all(each.isdecimal() and len(each) <= 3 and 1 <= int(each) <= 100 for each in value.split(","))
        case "forecast":
            return value in ("on", "off")
        case "hold":
            return value == "off" or _HOLD.fullmatch(value) is not None
        case "audit":
            return value == "off" or _CLOCK.fullmatch(value) is not None
    return False


def _hold_ms(text: str) -> int:
    return int(text[:-1]) * (60_000 if text.endswith("m") else _HOUR_MS)


def _receiver(entry: str, number: int) -> Receiver:
    wrong = ValueError(
        f"entry {number}, which is not repeated here since it may hold a secret: accepted: {ALERTS_ACCEPTED}"
    )
    if key := re.fullmatch(r"pagerduty://([A-Za-z0-9]+)(?:@([A-Za-z0-9.-]+))?", entry):
        return Receiver(Shape.PAGERDUTY, f"https://{key[2] or PAGERDUTY_HOST}/v2/enqueue", key[1].encode())
    found = _URL.fullmatch(entry)
    if found is None:
        raise wrong
    shape = Shape(found[1]) if found[1] else Shape.WEBHOOK
    url, _, fragment = found[2].partition("#")
    try:
        parts = urlsplit(url)
        is_sound = bool(parts.hostname) and (parts.port is None or parts.port > 0) and parts.username is None
    except ValueError:
        is_sound = False
    # Without its routing key PagerDuty would refuse all, and Slack takes no signature.
    if not is_sound or (shape is Shape.SLACK and fragment) or (shape is Shape.PAGERDUTY and not fragment):
        raise wrong
    return Receiver(shape, url, _secret(fragment) if shape is Shape.WEBHOOK else fragment.encode())


def _secret(text: str) -> bytes:
    """As standardwebhooks.com has it: ``whsec_`` and base64, or any other text as it is."""
    if text.startswith("whsec_"):
        try:
            return base64.b64decode(text.removeprefix("whsec_"), validate=True)
        except binascii.Error:
            pass
    return text.encode()
