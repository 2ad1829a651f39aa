"""How a model's name is read. Every rule about names lives here and in the tables of `providers`, and only there.

Theory of operation. A name such as `bedrock/us.anthropic.claude-sonnet-4-5-20250929-v1:0` says three things: who
serves the model, where, and which model it is. The same model is written in many ways, so the price book asks its
sources for a list of *readings*, the most literal first, and takes the first that some source has a price for:

1. Prefixes that only show how a gateway is wired (`litellm_proxy/`, `models/`) are taken off.
2. *Who*: the host that is given (a gateway's answer), else the prefix (`groq/`, `openrouter/`), else the form of the
   name (Bedrock's `us.anthropic.…`, Vertex's `publishers/…`, `name@version`), else the API that was called, else who
   claims such names (`claude-…`). A model with open weights and no host belongs to any seller (`ANY_SELLER`).
3. *Where*: a region stays in the first reading, so that a rate of its own wins; later readings leave it out and
   carry a surcharge.
4. *Which*: the name as it is, then without what does not change a price: a version (`-v1:0`, `@default`), a full date,
   `-latest`; `4.5` is `4-5` for Claude.

What never happens: a prefix that nobody knows is not taken off, a suffix that may name another model (`-mini`,
`-0905`, `-preview`) is not taken off, a server of one's own has no published price, and a fine-tuned model never costs
what its base costs. Such names stay unresolved, and are refused where a limit binds.
"""

import re
from collections.abc import Iterator
from typing import Final, NamedTuple

from budget_middleware.prices import providers as known

_DATE: Final = re.compile(r"[-@](?:20\d{6}|20\d\d-\d\d-\d\d)$")
_VERSION: Final = re.compile(r"(?:(?:-v\d+)?:\d(?::\d+k)?|@default|@\d{3})$")
_LATEST: Final = re.compile(r"(?:-latest|@latest)$")
_QUANTISED: Final = re.compile(r"-(?:fp8|fp4|nvfp4|mxfp4|bf16|fp16|int4|int8|awq|gptq|gguf)(?:-dynamic)?$")
_FINE_TUNED: Final = re.compile(r"ft:(?P<base>[^:]+)(?::.*)?")
_ARN: Final = re.compile(r"arn:aws[\w-]*:bedrock:[^/]*/(?P<name>.+)")
_FREE: Final = ":free"


class Reading(NamedTuple):
    """One way to read a name: the model to look for at a provider, and what the price must then be changed by."""

    provider: str
    model: str
    rule: str
    # Where it runs, if the name says so. A rate that was not published for this region has a surcharge.
    region: str = ""
    is_free: bool = False


def readings_of(name: str, *, provider: str = "", host: str = "") -> tuple[Reading, ...]:
    """The readings of a name, the best first. `host`: who surely serves it; `provider`: whose API was called."""
    name = _passed_on(name.lower().strip())
    if has_no_published_price(name):
        return ()
    found: dict[tuple[str, str, str], Reading] = {}
    for seller, rest, why in _sellers(name, provider=provider, host=host):
        for reading in _readings_at(seller, rest, why):
            found.setdefault((reading.provider, reading.model, reading.region), reading)
    return tuple(found.values())


def has_no_published_price(name: str) -> bool:
    """Whether a name is one that no list can price: a server of one's own, or a router's."""
    name = _passed_on(name.lower().strip())
    return not name or is_own_server(name) or name in known.ROUTERS or name.partition("/")[2] in known.ROUTERS


def is_own_server(name: str) -> bool:
    """Whether a name says that a server of one's own serves the model."""
    return _passed_on(name.lower().strip()).partition("/")[0] in known.OWN_SERVERS


def is_same_model(asked: str, answered: str) -> bool:
    """Whether an answer names the model that was asked, maybe by another spelling or with less detail."""
    one, other = _tail(asked), _tail(answered)
    if one == other or _DATE.sub("", one) == other:
        return True
    tuned = _FINE_TUNED.fullmatch(one)
    return tuned is not None and _DATE.sub("", tuned["base"]) == _DATE.sub("", other)


def as_answered(asked: str, answered: str) -> str:
    """The answered name in place of the asked one's, if it is a version of the same model; else as it is."""
    tail = asked.rpartition("/")[2]
    model = _tail(asked)
    aws = known.AWS_NAME.fullmatch(tail.lower())
    # All before the model: prefixes, Bedrock's region and vendor.
    lead = asked[: len(asked) - len(aws["base"].partition(".")[2] if aws else tail)]
    is_version = bool(lead) and ":" not in model and _DATE.sub("", _tail(answered)) == _DATE.sub("", model)
    return lead + _tail(answered) if is_version else answered


def surcharge_of(reading: Reading, *, model: str) -> int:
    """What a region adds to a price that was published as `model`, in hundredths of a percent."""
    region = reading.region
    if not region or model.lower().startswith((f"{region}.", f"{region}/", "regional.")) or f"/{region}/" in model:
        return 0
    for provider, place, models, basis_points in known.SURCHARGES:
        if provider == reading.provider and place.match(region) and models.search(reading.model):
            return basis_points
    return 0


def _passed_on(name: str) -> str:
    while True:
        prefix, slash, rest = name.partition("/")
        if not (slash and prefix in known.PASSED_ON):
            return name
        name = rest


def _sellers(name: str, *, provider: str, host: str) -> Iterator[tuple[str, str, str]]:
    """Who may serve a name, what it is called there, and why."""
    if host:
        yield host, name, "the provider that was asked"
        if "/" in name:
            yield host, name.rpartition("/")[2], "the provider that was asked"
    if known.VERTEX_NAME.search(name):
        yield "google", name, "Vertex's path"
        return
    if arn := _ARN.search(name):
        yield "aws", arn["name"], "Bedrock's ARN"
        return
    yield from _by_prefix(name)
    if known.AWS_NAME.fullmatch(name):
        yield "aws", name, "Bedrock's form of a name"
    elif provider:
        yield provider, name, "the API that was called"
    for pattern, sellers in known.CLAIMS:
        if pattern.match(name):
            for seller in sellers:
                yield seller, name, f"a name of {seller}"
            break
    yield from _any_seller(name)


def _by_prefix(name: str) -> Iterator[tuple[str, str, str]]:
    first, slash, rest = name.partition("/")
    if not slash:
        return
    second, second_slash, further = rest.partition("/")
    both = f"{first}/{second}"
    if second_slash and both in known.PREFIXES:
        yield known.PREFIXES[both], further, f"the prefix {both}/"
    # Perplexity lists some of its models under their whole name.
    yield known.PREFIXES.get(first, first), rest, f"the prefix {first}/"


def _any_seller(name: str) -> Iterator[tuple[str, str, str]]:
    vendor, slash, tail = name.rpartition("/")
    if slash and vendor in known.OPEN_VENDORS and known.OPEN_WEIGHTS.match(tail.removeprefix("meta-")):
        yield known.ANY_SELLER, name, "no host is named: the most expensive seller"
    elif not slash and known.OPEN_WEIGHTS.match(name):
        yield known.ANY_SELLER, name, "no host is named: the most expensive seller"
        for pattern, vendor in known.VENDOR_OF:
            if pattern.match(name):
                yield known.ANY_SELLER, f"{vendor}/{name}", "no host is named: the most expensive seller"


def _readings_at(seller: str, name: str, why: str) -> Iterator[Reading]:
    """The readings of a name at one seller: with its region, then without; as it is, then without its versions."""
    if seller in known.NOT_SOLD and known.NOT_SOLD[seller].match(name):
        return
    if name.endswith(_FREE):
        yield from _free_variant(seller, name.removesuffix(_FREE), why)
        return
    place = name.partition("/")[0]
    if seller == "aws" and known.AWS_REGION.fullmatch(place):
        yield Reading(seller, name, f"{why}; region {place}", place)
    region, base = _region(seller, name)
    if region:
        why = f"{why}; region {region}"
        whole = {"azure": f"{region}/{base}", "aws": f"{region}.{base}"}.get(seller, base)
        for model, what in _versions(whole, seller):
            yield Reading(seller, model, why + what, region)
    for model, what in _versions(base, seller):
        yield Reading(seller, model, why + what, region)
    if other := known.LISTED_AS.get(seller):
        for model, what in _versions(base, seller):
            yield Reading(other, model, f"{why}; its price at Hugging Face{what}", region)


def _free_variant(seller: str, base: str, why: str) -> Iterator[Reading]:
    """OpenRouter's mark, which nobody else has: elsewhere it is a part of the name."""
    if seller == "openrouter":
        yield Reading(seller, base, f"{why}; its :free variant", is_free=True)
    elif "/" not in base and why.startswith("the prefix"):
        vendor = why.removeprefix("the prefix ").removesuffix("/")
        yield Reading("openrouter", f"{vendor}/{base}", "OpenRouter's :free variant", is_free=True)


def _region(seller: str, name: str) -> tuple[str, str]:
    if seller == "azure":
        region, slash, rest = name.partition("/")
        return (region, rest) if slash and region in known.AZURE_REGIONS else ("", name)
    if seller == "google":
        vertex = known.VERTEX_NAME.search(name)
        return (vertex["region"] or "", vertex["base"]) if vertex else ("", name)
    if seller != "aws":
        return "", name
    first, slash, rest = name.partition("/")
    place = known.AWS_REGION.fullmatch(first) if slash else None
    named = known.AWS_NAME.fullmatch(rest if place else name)
    if named is None:
        return "", rest if place else name
    area = known.AWS_AREAS.get(place["area"], place["area"]) if place else ""
    return named["region"] or area, named["base"]


def _versions(name: str, seller: str) -> Iterator[tuple[str, str]]:
    """A name as it is, then without what does not change a price; each with what was done."""
    # Its rate is the fine-tuned one, and only a book's own entry has it.
    if tuned := _FINE_TUNED.fullmatch(name):
        yield f"ft:{tuned['base']}", "; the fine-tuned rate"
        yield f"ft:{_DATE.sub('', tuned['base'])}", "; the fine-tuned rate, without its date"
        return
    if seller == "fireworks" and "/" not in name:
        name = known.FIREWORKS_PATH + name
    for variant in known.OPENROUTER_VARIANTS if seller == "openrouter" else ():
        name = name.removesuffix(variant)
    yield name, ""
    seen = {name}
    if "claude" in name and "." in name and seller != "aws":
        yield name.replace(".", "-"), "; 4.5 for 4-5"
        name = name.replace(".", "-")
    for pattern, what in ((_VERSION, "version"), (_DATE, "date"), (_LATEST, "-latest"), (_QUANTISED, "quantisation")):
        shorter = pattern.sub("", name)
        if shorter and shorter not in seen:
            seen.add(shorter)
            yield shorter, f"; without its {what}"
            name = shorter


def _tail(name: str) -> str:
    """The model in a name alone, in one spelling."""
    tail = name.lower().strip().rpartition("/")[2]
    if aws := known.AWS_NAME.fullmatch(tail):
        tail = aws["base"].partition(".")[2]
    if tail.startswith("ft:"):
        return tail
    tail = _VERSION.sub("", tail).replace("@", "-")
    return tail.replace(".", "-") if tail.startswith("claude") else tail
