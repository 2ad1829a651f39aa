"""Limits on models by a name that no request is charged by: the subject of a model is its name in the price book."""

from collections.abc import Iterable, Iterator
from urllib.parse import unquote

from budget_middleware.core.limits.patterns import is_open
from budget_middleware.core.payers.accounts import ANY, MODEL, encode_subject, parts_of
from budget_middleware.prices.book import PriceBook


def warnings_for_models(patterns: Iterable[str], prices: PriceBook) -> Iterator[str]:
    """Of accounts and patterns with limits those that name a model as the price book does not; in a line each."""
    for pattern in dict.fromkeys(patterns):
        subject = dict(parts_of(pattern)).get(MODEL, ANY)
        if (charged := _charged_to(subject, prices)) != subject:
            yield f"{pattern} is no account of requests for that model: they are charged to {MODEL}:{charged}"


def _charged_to(subject: str, prices: PriceBook) -> str:
    found = None if is_open(subject) else prices.find(unquote(subject))
    return encode_subject(found.rates.model) if found is not None and found.rates.model else subject
