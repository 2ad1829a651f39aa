"""Accounts: who pays. Their text is `KIND:SUBJECT`, `KIND+KIND:SUBJECT+SUBJECT` (kinds sorted) or `global`.

A subject is encoded so that accounts of different payers never merge and separators never appear raw. Four
texts have a meaning of their own, and no raw subject turns into one: in limits `*` (any subject) and `search/*`
(any that begins with `search/`), `-` (every request without a subject) and `~` with 32 hex digits (the hash of a long
subject, and of no other).
"""

import hashlib
import hmac
import re
from collections.abc import Iterable, Mapping
from functools import lru_cache
from urllib.parse import quote_from_bytes, unquote_to_bytes

KEY = "key"
GLOBAL = "global"
MODEL = "model"
ABSENT = "-"
"""The subject that stands for all requests without one of that kind."""
ANY = "*"
"""In a limit: every subject."""

MASK = "***"
"""Stands in messages for what may be a token."""
WRONG_KEY = (
    "the subject of a key is 16 hex digits, which `budget-middleware key-id` prints for a token;"
    " what was given is not repeated here, since it may be a token"
)

_LIKE_TOKEN = re.compile(r"sk-|(?<![\w.-])(?![0-9.]+[a-z]{0,8}(?![\w.-]))[\w.-]{16}")

MAX_SUBJECT_BYTES = 256

PREFIX_SEGMENTS_MAX = 4
"""So many segments may stand before the star of `a/b/*`: a request looks for a pattern of each length in use."""

KIND = re.compile(r"[a-z][a-z0-9_-]*")
_SUBJECT = re.compile(r"([A-Za-z0-9._~/@:-]|%[0-9A-Fa-f]{2})+")
KEY_SUBJECT = re.compile(r"[0-9a-f]{16}")
"""What `key_id` makes of a token."""
_HASHED = re.compile(r"~[0-9a-f]{32}")
_SAFE = "/@:"
_TOKEN_PREFIX = "sk-"  # noqa: S105 - how tokens begin, not one
"""Most tokens begin so, and a kind of account may: `limit set sk-1234 10/day` is a slip."""
_WELL_KNOWN = (KEY, MODEL, GLOBAL, "team", "user", "org", "tag", "")


def encode_subject(raw: str) -> str:
    """The subject of `raw`, one for each: percent-encoded, or hashed where that exceeds MAX_SUBJECT_BYTES.

    Never fails on what a client may send, lone surrogates included; ValueError for the empty text, which is
    no subject.
    """
    if not raw:
        raise ValueError("an empty text is not the subject of an account")
    # Subjects come from clients: long ones are not kept.
    return _encode_short(raw) if len(raw) <= MAX_SUBJECT_BYTES else _encode(raw.encode("utf-8", "surrogatepass"))


@lru_cache(4_096)
def _encode_short(raw: str) -> str:
    return _encode(raw.encode("utf-8", "surrogatepass"))


def _encode(raw: bytes) -> str:
    subject = quote_from_bytes(raw, safe=_SAFE)
    if len(subject) > MAX_SUBJECT_BYTES:
        return "~" + hashlib.sha256(raw).hexdigest()[:32]
    # A client must not be able to name the placeholder's account or somebody else's hash.
    if subject == ABSENT or _HASHED.fullmatch(subject):
        return f"%{ord(subject[0]):02X}{subject[1:]}"
    return subject


def account_of(kind: str, subject: str) -> str:
    """The account of a kind and its encoded subject, which is empty for `global` only."""
    return f"{kind}:{subject}" if subject else kind


def compound_of(subjects: Mapping[str, str]) -> str:
    """The account of one or several kinds together, from each kind's encoded subject."""
    kinds = sorted(subjects)
    return account_of("+".join(kinds), "+".join(subjects[kind] for kind in kinds))


@lru_cache(4_096)
def kind_of(account: str) -> str:
    """The kind of an account; of a compound its kinds, joined with `+`."""
    return account.partition(":")[0]


def parts_of(account: str) -> tuple[tuple[str, str], ...]:
    """(kind, encoded subject) for each part of a canonical account; `global` has the empty subject."""
    kinds, _, subjects = account.partition(":")
    return tuple(zip(kinds.split("+"), subjects.split("+"), strict=True))


def parse_account(text: str) -> str:
    """The canonical account of an operator's text; ValueError, in one line, saying what is accepted."""
    parts = dict(parse_pattern(text))
    if any(part.endswith(ANY) for part in parts.values()):
        raise ValueError(
            f"{masked(text)!r} does not name one account; accepted are KIND:SUBJECT, such as team:search, {GLOBAL},"
            " and of an API key what `budget-middleware key-id` prints"
        )
    return compound_of(parts)


def parse_pattern(text: str) -> tuple[tuple[str, str], ...]:
    """(kind, subject) for each part of an account, sorted by kind. `*` and `search/*` stand for subjects as above.

    `key+model` alone means `key+model:*+*`. ValueError, in one line, saying what is accepted.
    """
    if text == GLOBAL:
        return ((GLOBAL, ""),)
    kinds_text, colon, subjects_text = text.partition(":")
    kinds = kinds_text.split("+")
    subjects = subjects_text.split("+") if colon else [ANY] * len(kinds)
    are_kinds = all(KIND.fullmatch(kind) for kind in kinds) and len(set(kinds)) == len(kinds)
    if not are_kinds or GLOBAL in kinds or len(subjects) != len(kinds):
        raise ValueError(
            f"{masked(text)!r} is not an account; accepted are KIND:SUBJECT, {GLOBAL} and compounds of different"
            " kinds, KIND+KIND:SUBJECT+SUBJECT, where a kind is a-z followed by a-z, 0-9, _ and -"
        )
    return tuple(sorted(map(_parse_part, kinds, subjects)))


def canonical_pattern(text: str) -> str:
    """The one text of a pattern under which its limits are stored; ValueError as for parse_pattern."""
    return compound_of(dict(parse_pattern(text)))


def _parse_part(kind: str, text: str) -> tuple[str, str]:
    if text in (ANY, ABSENT) or _HASHED.fullmatch(text):
        return kind, text
    prefix = text[:-1] if text.endswith("/*") else ""
    if not _SUBJECT.fullmatch(prefix or text):
        shown = MASK if kind == KEY else text[:80]
        raise ValueError(
            f"{shown!r} is not the subject of an account; accepted are A-Z a-z 0-9 . _ ~ / @ : - and"
            " other bytes percent-encoded, such as %20; in a limit, * stands for a whole subject and search/* for those"
            " that begin with search/"
        )
    if prefix:
        return kind, _parse_prefix(prefix) + ANY
    subject = _encode(unquote_to_bytes(text))
    # Some tools write a hash in upper case. It is the same key.
    return kind, subject.lower() if kind == KEY and KEY_SUBJECT.fullmatch(subject.lower()) else subject


def _parse_prefix(text: str) -> str:
    raw = unquote_to_bytes(text)
    prefix = quote_from_bytes(raw, safe=_SAFE)
    if len(prefix) > MAX_SUBJECT_BYTES:
        raise ValueError(f"{text[:80]!r} is too long; accepted are {MAX_SUBJECT_BYTES} bytes before the star")
    if prefix.count("/") > PREFIX_SEGMENTS_MAX:
        shown = f"{text[:80]}*"
        raise ValueError(f"{shown!r} has too many segments; accepted are {PREFIX_SEGMENTS_MAX} before the star")
    return prefix


def names_raw_key(parts: Iterable[tuple[str, str]]) -> bool:
    """Whether the subject of a key is not a hash, and so perhaps the token itself; or the kind looks like a token."""
    return any(
        kind.startswith(_TOKEN_PREFIX) or (kind == KEY and subject != ANY and not is_key_subject(subject))
        for kind, subject in parts
    )


def is_like_token(text: str) -> bool:
    """Whether a text that names no account may hold a token: a long word that is not a figure, or one from `sk-` on."""
    return _LIKE_TOKEN.search(text) is not None


def masked(text: str) -> str:
    """An operator's text of an account as an error may show it: without what may be a token.

    A subject of a key that is no hash is masked, and so is a text without a colon, unless it is a well-known kind.
    """
    kinds_text, colon, subjects = text.partition(":")
    kinds = kinds_text.split("+")
    if not colon:
        return text if all(kind in _WELL_KNOWN for kind in kinds) else MASK if text else text
    if not all(KIND.fullmatch(kind) for kind in kinds):
        return MASK
    is_safe = KEY not in kinds or all(
        subject == ANY or is_key_subject(subject.lower()) for subject in subjects.split("+")
    )
    return text[:80] if is_safe else f"{kinds_text[:40]}:{MASK}"


def key_id(token: str, *, secret: str = "") -> str:
    """What stands for a token: 16 hex digits of its SHA-256, or of its HMAC-SHA256 with the secret."""
    raw = token.encode("utf-8", "surrogatepass")
    if secret:
        return hmac.digest(secret.encode("utf-8", "surrogatepass"), raw, "sha256").hex()[:16]
    return hashlib.sha256(raw).hexdigest()[:16]


def is_key_subject(text: str) -> bool:
    """Whether it is the subject of some key: what `key_id` made of a token, or ABSENT."""
    return text == ABSENT or KEY_SUBJECT.fullmatch(text) is not None
