"""An alert as each receiver wants it: the body and the headers of a POST. Pure.

Names of accounts come from clients. JSON escapes what they hold; Slack's markup is escaped besides, and direction marks
and control characters are shown as escapes, so that a name cannot pretend to be another text.
"""

import base64
import hashlib
import hmac
import json
import unicodedata
from typing import Any, NamedTuple

from budget_middleware.core.alerts.alerts import Alert, Severity, pack_alert
from budget_middleware.core.alerts.plan import Receiver, Shape

_SUMMARY_MAX = 1_000
_MARKS = {Severity.CRITICAL: ":rotating_light:", Severity.ERROR: ":red_circle:", Severity.WARNING: ":warning:"}


class Post(NamedTuple):
    """What is sent."""

    body: bytes
    headers: dict[str, str]


def post_of(alert: Alert, receiver: Receiver, *, ledger: str, attempt: int, time_s: int) -> Post:
    """The POST for a receiver. ``time_s`` (Unix, now) is signed too, so that an old one cannot be sent again."""
    match receiver.shape:
        case Shape.SLACK:
            return Post(_json(_slack(alert)), {})
        case Shape.PAGERDUTY:
            return Post(_json(_pagerduty(alert, receiver.secret.decode(), ledger)), {})
        case Shape.WEBHOOK:
            body = _json({"type": f"budget.{alert.rule}", "ledger": ledger, **pack_alert(alert)})
            return Post(body, {"webhook-attempt": str(attempt), **_signature(alert.id, body, receiver.secret, time_s)})


def signature(id_: str, body: bytes, secret: bytes, time_s: int) -> str:
    """As standardwebhooks.com has it: HMAC-SHA256 of the id, the time and the body."""
    digest = hmac.new(secret, f"{id_}.{time_s}.".encode() + body, hashlib.sha256).digest()
    return f"v1,{base64.b64encode(digest).decode()}"


def _signature(id_: str, body: bytes, secret: bytes, time_s: int) -> dict[str, str]:
    headers = {"webhook-id": id_, "webhook-timestamp": str(time_s)}
    return {**headers, "webhook-signature": signature(id_, body, secret, time_s)} if secret else headers


def shown(text: str) -> str:
    """A text of which each character is seen: controls and marks of direction are written as escapes."""
    return "".join(
        letter if unicodedata.category(letter) not in ("Cc", "Cf", "Cs", "Zl", "Zp") else f"\\u{ord(letter):04x}"
        for letter in text
    )[:_SUMMARY_MAX]


def _slack(alert: Alert) -> dict[str, Any]:
    text = shown(alert.summary).replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return {"text": f"{_MARKS.get(alert.severity, ':information_source:')} {text}", "mrkdwn": False}


def _pagerduty(alert: Alert, routing_key: str, ledger: str) -> dict[str, Any]:
    return {
        "routing_key": routing_key,
        "event_action": "trigger",
        "dedup_key": alert.topic or alert.id,
        "payload": {
            "summary": shown(alert.summary),
            "source": f"budget-middleware/{ledger}",
            "severity": str(alert.severity),
            "component": ledger,
            "group": shown(alert.account) or ledger,
            "class": f"budget.{alert.rule}",
            "custom_details": {"alert_id": alert.id, **alert.facts},
        },
    }


def _json(value: dict[str, Any]) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()
