"""Every way in which a router or an upstream may read the path of one request.

An app that passes requests on builds a URL from the path that its server decoded. There `%3F` has become the `?` that
ends a path, `/x/%2e%2e` a step back, and the server that answers in the end may decode once more. So a path has several
readings, and what costs money in any of them costs money. A reading is the path as it came, or normalised:

    as sent (raw_path), as the server gives it (path)
         decoded, and cut at `?`, `#`, `;`, white space and control characters, in any order, until it stays the same;
         each of them without the parameters of segments, without dot segments, empty segments and dots at an end

Ordinary paths have nothing of that and are their own only reading. Decoding is bounded: a path that is not at rest
after so many characters is read by nobody, and is not read here either.
"""

import re
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import unquote

MOST_CHARS: Final = 8_192
"""How many characters of odd paths are looked at: more than servers accept, few enough for a millisecond."""

_ODD: Final = re.compile(r"[%?#;\\\s\x00-\x1f\x7f]|//|\.(?:/|\Z)|/\.")
_ENDS_OF_PATH: Final = tuple(map(re.compile, (r"[?#]", r"[?#\s\x00-\x1f\x7f]", r"[?#;\s\x00-\x1f\x7f]")))
# What parsers of URLs leave out wherever it stands.
_LEFT_OUT: Final = re.compile(r"[\x00-\x1f\x7f]")
_SLASHES: Final = str.maketrans("\\", "/")
# The letters of a route are ASCII, and some routers do not tell capitals apart.
_FLAGS: Final = re.IGNORECASE | re.ASCII | re.DOTALL


def ends_in(route: str) -> re.Pattern[str]:
    """The pattern of paths that end in a route, behind any prefix. Its time is linear if the route's own is."""
    return re.compile(rf"{route}/*+\Z", _FLAGS)


def ends_in_after(starts: Sequence[str], route: str) -> re.Pattern[str]:
    """The same behind one of `starts`, where the route may hold anything.

    Only one place is looked at: where a path has the earliest of `starts` for the first time.
    """
    before = "|".join(f".*?{start}" for start in starts)
    return re.compile(rf"\A(?>{before}){route}/*+\Z", _FLAGS)


def readings_of(path: str, *, raw_path: bytes = b"", root_path: str = "") -> tuple[str, ...] | None:
    """All readings of a path, beginning with the path itself; None if they are too many or too long to look at.

    `raw_path` counts where it is the same path before decoding: layers that rewrite a path leave it behind.
    `root_path` is where the app is mounted, which belongs before a path that does not begin with it.
    """
    whole = path if path.startswith(root_path) else root_path + path
    if whole == path and b"%" not in raw_path and is_plain(path):
        return (path,)
    if b"%" in raw_path and len(raw_path) > MOST_CHARS:
        return None
    readings: dict[str, None] = {}
    n_chars = 0
    sent = raw_path.decode("latin-1")
    stages = [whole, sent] if "%" in sent and unquote(sent).endswith(path) else [whole]
    # It grows while it is read: the server that answers in the end may have cut before decoding, or decoded before
    # cutting.
    for text in stages:
        n_chars += len(text)
        if n_chars > MOST_CHARS and not is_plain(text):
            return None
        readings[text] = None
        readings.update(dict.fromkeys(_normalised(text)))
        stages += [further for further in dict.fromkeys((unquote(text), *_cuts(text))) if further not in stages]
    return tuple(readings)


def is_plain(path: str) -> bool:
    """Whether a path has no reading but itself."""
    return _ODD.search(path) is None


def _cuts(text: str) -> Iterator[str]:
    """What is left of a path where parsers end it."""
    for part in dict.fromkeys((text, _LEFT_OUT.sub("", text))):
        for end in _ENDS_OF_PATH:
            yield end.split(part, 1)[0]


def _normalised(text: str) -> Iterator[str]:
    if is_plain(text):
        return
    yield _without_dots(text.translate(_SLASHES).split("/"), merges=True)
    yield _without_dots(text.split("/"), merges=False)


def _without_dots(segments: Sequence[str], *, merges: bool) -> str:
    """The path without dot segments and what some servers leave out of a segment: its parameters, dots at its end.

    Of what is empty then, servers that merge slashes know nothing; to RFC 3986 it is a segment to step back over.
    """
    kept: list[str] = []
    for segment in segments:
        name = segment.partition(";")[0]
        if (name if merges else segment) == "..":
            del kept[-1:]
        elif (name := name.rstrip(". ")) or not (merges or segment == "."):
            kept.append(name)
    return "/" + "/".join(filter(None, kept))
