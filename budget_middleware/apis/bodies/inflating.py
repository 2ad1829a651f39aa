"""Inflates compressed request bodies in pieces, up to a bound.

Gzip and deflate are zlib's. For zstd there is a module in Python 3.14 and a package before it, for brotli the extra
`brotli`; without them such a body cannot be read, and its length is all that is known of it.
"""

import sys
import zlib
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any, Final, Protocol

from budget_middleware.apis.bodies.inflater import GZIP_WBITS, MAX_MEMBERS

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

_PIECE_BYTES: Final = 262_144
# More than anybody stacks on purpose.
_MAX_CODINGS: Final = 3


class CannotInflateError(ValueError):
    """A body that cannot be inflated; the message is one clause for its sender."""


class TooLongError(CannotInflateError):
    """A body that inflates to more bytes than are taken."""


class _Decompressor(Protocol):
    """What gzip, zstd and brotli have in common here: bounded output for some input."""

    @property
    def eof(self) -> bool: ...

    def decompress(self, data: bytes, max_length: int) -> bytes: ...

    @property
    def needs_input(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...


def codings_of(values: Iterable[bytes]) -> list[bytes]:
    """The codings of `content-encoding` headers in the order in which they were applied, without `identity`."""
    names = [name.strip().lower().removeprefix(b"x-") for value in values for name in value.split(b",")]
    return [name for name in names if name and name != b"identity"]


def inflate(raw: bytes, codings: Sequence[bytes], *, max_bytes: int) -> Iterator[bytes]:
    """What a body inflates to, in pieces of bounded size. CannotInflateError if it is corrupt, longer than `max_bytes`
    after any of its codings, or in a coding that cannot be read.
    """
    if len(codings) > _MAX_CODINGS:
        raise CannotInflateError(f"it has more than {_MAX_CODINGS} content-encodings")
    pieces: Iterator[bytes] = iter((raw,))
    for coding in reversed(codings):
        pieces = _inflate_one(pieces, _maker(coding), coding.decode("latin-1"), max_bytes)
    return pieces


def _inflate_one(
    pieces: Iterator[bytes], make: Callable[[bytes], _Decompressor], coding: str, max_bytes: int
) -> Iterator[bytes]:
    n_bytes = n_members = 0
    stream: _Decompressor | None = None
    for piece in pieces:
        data = piece
        while data or (stream is not None and not stream.eof and not stream.needs_input):
            if stream is None or stream.eof:  # The next member, or frame.
                n_members += 1
                if n_members > MAX_MEMBERS:
                    raise CannotInflateError(f"its {coding} has more than {MAX_MEMBERS} members")
                stream = make(data)
            try:
                inflated = stream.decompress(data, _PIECE_BYTES)
            # Each library has errors of its own.
            except Exception:  # noqa: BLE001
                raise CannotInflateError(f"it is no {coding}, as its content-encoding says") from None
            data = stream.unused_data if stream.eof else b""
            n_bytes += len(inflated)
            if n_bytes > max_bytes:
                raise TooLongError("inflated, it is longer than BUDGET_MAX_BODY_BYTES")
            yield inflated
    if stream is None or not stream.eof:
        raise CannotInflateError(f"its {coding} is cut off")


def _maker(coding: bytes) -> Callable[[bytes], _Decompressor]:
    match coding:
        case b"gzip":
            return lambda _: _Zlib(GZIP_WBITS)
        case b"deflate":
            return _deflate
        case b"zstd":
            return lambda _: zstd.ZstdDecompressor()
        case b"br" if _brotli is not None:
            return lambda _: _Brotli()
        case b"br":
            raise CannotInflateError("brotli cannot be read without `pip install 'budget-middleware[brotli]'`")
        case _:
            name = ascii(coding.decode("latin-1"))[:40]
            raise CannotInflateError(f"its content-encoding {name} is none of gzip, deflate, zstd, br")


class _Zlib:
    """`zlib`'s decompressor in the shape of the newer ones, which keep the input that they have not used yet."""

    def __init__(self, wbits: int) -> None:
        self._stream = zlib.decompressobj(wbits)
        self._pending = b""
        self._is_full = False

    @property
    def eof(self) -> bool:
        return self._stream.eof

    @property
    def needs_input(self) -> bool:
        # A full piece may leave some output behind inside zlib, even where no input is left.
        return not self._pending and not self._is_full

    @property
    def unused_data(self) -> bytes:
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        piece = self._stream.decompress(self._pending + data, max_length)
        self._pending, self._is_full = self._stream.unconsumed_tail, len(piece) == max_length
        return piece


def _deflate(data: bytes) -> _Decompressor:
    """Deflate has a zlib header, but some clients leave it away."""
    has_header = len(data) >= 2 and data[0] & 0x0F == 8 and int.from_bytes(data[:2]) % 31 == 0
    return _Zlib(zlib.MAX_WBITS if has_header else -zlib.MAX_WBITS)


class _Brotli:
    """Brotli's decompressor in the same shape."""

    unused_data = b""

    def __init__(self) -> None:
        self._stream = _brotli.Decompressor()

    @property
    def eof(self) -> bool:
        return bool(self._stream.is_finished())

    @property
    def needs_input(self) -> bool:
        return bool(self._stream.can_accept_more_data())

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return bytes(self._stream.process(data, output_buffer_limit=max_length))


def _brotli_module() -> Any:
    try:
        import brotli
    except ImportError:
        return None
    return brotli


_brotli: Any = _brotli_module()
