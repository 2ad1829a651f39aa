"""The payers of a request: the subject of each kind of account, of which a request may have several tags."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from budget_middleware.core.payers.accounts import encode_subject

TAG = "tag"
"""The one kind of which a request may have several subjects."""

TAGS_MAX = 16
"""Each tag is one more account, whose counters the store looks at in the same atomic step."""

PayerSubjects = str | tuple[str, ...] | None
"""The encoded subjects of one kind: None where a request has none, a tuple where it has several."""

Payers = Mapping[str, PayerSubjects]
"""By kind, in the order in which the kinds are configured."""

SinglePayers = Mapping[str, str | None]
"""Payers with one subject of each kind at most."""


class TooManyTagsError(ValueError):
    """More tags than one request may have; the message is one line for whoever sent or wrote them.

    ``first`` are the subjects of as many as one may have, in the order written: for who must not refuse the request.
    """

    def __init__(self, tags: Sequence[str]) -> None:
        super().__init__(f"{len(tags)} different tags are too many; one request may have {TAGS_MAX}")
        self.first = encode_tags(tags[:TAGS_MAX])


def encode_named(kind: str, named: str | Sequence[str]) -> PayerSubjects:
    """The subjects that an operator or a source in code names: one text, or for tags a list. TooManyTagsError."""
    if kind == TAG and not isinstance(named, str):
        return encode_tags(named)
    if not isinstance(named, str):
        raise TypeError(f"a subject of {kind} is a text, not {type(named).__name__}")
    return encode_subject(named)


def encode_tags(tags: Iterable[str]) -> PayerSubjects:
    """The subjects of tags, each once and sorted, so that requests with the same tags are alike. TooManyTagsError."""
    distinct = list(dict.fromkeys(listed_tags(tags)))
    if len(distinct) > TAGS_MAX:
        raise TooManyTagsError(distinct)
    subjects = tuple(sorted(map(encode_subject, distinct)))
    return subjects if len(subjects) > 1 else next(iter(subjects), None)


def listed_tags(texts: Iterable[str]) -> list[str]:
    """Texts that are one tag each; blank ones are none."""
    return [tag for text in texts if (tag := text.strip())]


def first_account(payers: Payers) -> str:
    """Whose answers a request's is expected to be like: the first of its accounts; "" if it has none of its own."""
    for kind, subjects in payers.items():
        if subjects is not None:
            return f"{kind}:{subjects if isinstance(subjects, str) else subjects[0]}"
    return ""


def single_payers(payers: Payers) -> Sequence[SinglePayers]:
    """The payers with one tag at a time: an account or a pattern concerns a request by one subject of each kind."""
    tags = payers.get(TAG)
    # Nothing else is several.
    single: Any = payers
    return [{**single, TAG: tag} for tag in tags] if isinstance(tags, tuple) else (single,)


def each_of(subjects: PayerSubjects) -> Sequence[str | None]:
    """The subjects of one kind, one by one; None alone where there is none."""
    return subjects if isinstance(subjects, tuple) else (subjects,)
