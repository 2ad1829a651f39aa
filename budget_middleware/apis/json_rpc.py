"""Calls at a price each, asked for by JSON-RPC: tools by MCP, agents by A2A.

Theory of operation. A body is one message or a batch of them. A message that is surely free (`tools/list`, a
notification of the protocol, a client's answer to the server) costs nothing; every other one is a call, whatever it
looks like: a method in odd capitals, a message that is no object, a batch within a batch. Servers differ in how they
read what is odd, so a message is free only if it has nothing but the fields of its kind, and one whose fields could be
read in two ways is refused.

    request ── bind ──> RpcCalls: how many calls, of which tools or agents ──> held at the most expensive of them
    answer  ── ids of errors ──> each such call is given back; all others are booked, each at its own price
                                 (see `json_rpc_ids`: an error takes back no call that it may not be about)

Answers name calls by id alone, so the dialect of a request remembers them: there is one `RpcCalls` a request, made by
the `RpcApi` that all requests share. A call is booked unless the server says by an error that it was not done; the
error that a tool itself reports (`isError`) comes from a tool that ran.
"""

import json
import re
from collections import Counter
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from budget_middleware.apis.bad_request import BadRequestError
from budget_middleware.apis.base import Ask, Refusal
from budget_middleware.apis.bounded_json import UNWEIGHED_BYTES
from budget_middleware.apis.json_rpc_ids import CallsById
from budget_middleware.apis.paths import ends_in
from budget_middleware.apis.reading import UNREADABLE, mapping_of, parse_body, text_in
from budget_middleware.apis.seen import Seen
from budget_middleware.core.outcome import Finish
from budget_middleware.core.usage import Usage

IsPriced = Callable[[str], bool]

# Of a body that is not read the calls are counted by its length: each takes so many bytes at least.
_LEAST_CALL_BYTES: Final = 20
_MOST_NAMES: Final = 16
_READ_FIELDS: Final = frozenset({"jsonrpc", "id", "method", "params", "name"})
_REQUEST_FIELDS: Final = frozenset({"jsonrpc", "id", "method", "params"})
_ANSWER_FIELDS: Final = frozenset({"jsonrpc", "id", "result", "error"})
# JSON-RPC leaves these to servers: not done, for reasons of the server's own.
_REFUSED_CODE: Final = -32_000


class _Rpc(NamedTuple):
    """A protocol: the paths of its calls, and the methods that cost nothing."""

    name: str
    path: re.Pattern[str]
    free: frozenset[str]


_MCP: Final = _Rpc(
    "mcp",
    ends_in(r"/mcp(?:/[^/]+)?"),
    frozenset({
        *("initialize", "ping", "tools/list", "prompts/list", "resources/list", "resources/templates/list"),
        *("logging/setLevel", "resources/subscribe", "resources/unsubscribe", "notifications/initialized"),
        *("notifications/cancelled", "notifications/progress", "notifications/roots/list_changed"),
    }),
)  # fmt: skip
_A2A: Final = _Rpc(
    "a2a",
    ends_in(r"/a2a/(?P<agent>[^/]+)(?:/message/(?:send|stream))?"),
    frozenset({
        *("tasks/get", "tasks/list", "tasks/cancel", "tasks/resubscribe", "agent/getAuthenticatedExtendedCard"),
        *("tasks/pushNotificationConfig/set", "tasks/pushNotificationConfig/get"),
        *("tasks/pushNotificationConfig/list", "tasks/pushNotificationConfig/delete"),
    }),
)  # fmt: skip


class RpcApi:
    """A protocol whose calls have prices. Its requests are read by what `bind` makes for each of them."""

    ordinary_event = None
    ordinary_answer = None

    def __init__(self, rpc: _Rpc, is_priced: IsPriced) -> None:
        self.name = self.provider = rpc.name
        self._rpc = rpc
        self._is_priced = is_priced

    def matches(self, path: str) -> bool:
        return self._rpc.path.search(path) is not None

    def bind(self, raw: bytes, *, path: str, n_bytes: int) -> "RpcCalls":
        """The dialect of one request and its answer. ``raw`` is empty where too many values, or none, could be read."""
        return RpcCalls(self._rpc, self._is_priced, raw, path=path, n_bytes=n_bytes)

    def read_request(self, body: object, *, path: str, n_bytes: int, query: bytes = b"") -> Ask:  # noqa: ARG002
        """What a request is at least, for whoever compares readings of a path."""
        return RpcCalls(self._rpc, self._is_priced, b"", path=path, n_bytes=0).read_request(body, path=path, n_bytes=0)

    def ask_for_usage(self, raw: bytes, body: object) -> bytes | None:  # noqa: ARG002 - there is none
        return None

    def read_json(self, document: object, seen: Seen) -> None:
        """Nothing can be read without the request."""

    def read_event(self, data: bytes, seen: Seen, *, hide_usage: bool) -> bytes | None:  # noqa: ARG002
        return data

    def error_body(self, refusal: Refusal) -> dict[str, object]:
        return rpc_error(refusal, None)


class RpcCalls(RpcApi):
    """The calls of one request. ``is_free``: it has none."""

    def __init__(self, rpc: _Rpc, is_priced: IsPriced, raw: bytes, *, path: str, n_bytes: int) -> None:
        super().__init__(rpc, is_priced)
        self._agent = _agent_in(rpc, path)
        self._is_unclear = False
        # The models of the calls that are not known to have failed, and those that an answer can name.
        self._models: Counter[str] = Counter()
        self._by_id = CallsById()
        self._id: object = None
        self._n_results = 0
        self._is_alone = self._is_rejected = False
        document = self._parse(raw) if raw else UNREADABLE
        self._is_read = document is not UNREADABLE
        self._is_long = n_bytes > UNWEIGHED_BYTES  # It may have notifications, which are done and never answered.
        if not self._is_read:
            self._models[self._model_of(None)] = max(1, n_bytes // _LEAST_CALL_BYTES if n_bytes else 1)
        else:
            self._is_alone = isinstance(document, dict)
            self._count(document)
        self._asked = self._models.copy()

    @property
    def is_free(self) -> bool:
        return not self._asked and not self._is_unclear

    def _parse(self, raw: bytes) -> object:
        try:
            return json.loads(raw, object_pairs_hook=self._object)
        except (ValueError, RecursionError):
            return UNREADABLE

    def _object(self, pairs: list[tuple[str, object]]) -> dict[str, object]:
        """An object; some servers ignore the case of names, and which of two counts nobody knows."""
        names = [name.casefold() for name, _ in pairs]
        read = [name for name in names if name in _READ_FIELDS]
        self._is_unclear |= len(read) > len(set(read))
        return dict(pairs)

    def _count(self, document: object) -> None:
        stack = [document]
        while stack:
            message = stack.pop()
            if isinstance(message, list):
                stack += message
            elif self._costs_nothing(message):
                self._by_id.add(mapping_of(message).get("id"), None)
            else:
                self._add(message)

    def _costs_nothing(self, message: object) -> bool:
        if not isinstance(message, dict):
            return False
        if message.keys() <= _ANSWER_FIELDS and ("result" in message or "error" in message):
            return True
        method = message.get("method")
        return message.keys() <= _REQUEST_FIELDS and isinstance(method, str) and method in self._rpc.free

    def _add(self, message: object) -> None:
        fields = mapping_of(message)
        model = self._model_of(text_in(mapping_of(fields.get("params")), "name"))
        self._models[model] += 1
        self._id = fields.get("id")
        self._by_id.add(self._id, model)

    def _model_of(self, tool: str | None) -> str:
        """What a call is priced by: the name of its tool or agent if that has a price, else the protocol's."""
        named = self._agent or tool
        model = f"{self._rpc.name}/{named}"
        return model if named and self._is_priced(model) else self._rpc.name

    def read_request(self, body: object, *, path: str, n_bytes: int, query: bytes = b"") -> Ask:  # noqa: ARG002
        """So many calls, each held at the most expensive of them."""
        # What is refused passes in shadow mode, and is then asked for as what could not be read.
        refuses = body is not UNREADABLE
        if self._is_unclear and refuses:
            raise BadRequestError("a message has a field twice")
        if len(self._asked) > _MOST_NAMES and refuses:
            raise BadRequestError(f"a batch calls more than {_MOST_NAMES} tools that have prices of their own")
        model, *others = self._asked or {self._rpc.name: 1}
        usage = Usage(calls=self._asked.total())
        return Ask(model=model, other_models=tuple(others), input=usage, worst_input=usage, max_output_tokens=0)

    def read_json(self, document: object, seen: Seen) -> None:
        """Read one answer or a batch of them. What is no error leaves its call booked."""
        self._read(document, seen, is_whole=True)

    def _read(self, document: object, seen: Seen, *, is_whole: bool) -> None:
        answers = [mapping_of(each) for each in (document if isinstance(document, list) else [document])]
        answers = [answer for answer in answers if ("result" in answer) != ("error" in answer)]
        for answer in answers:
            if "result" in answer:
                self._n_results += 1
            else:
                self._models -= Counter(self._by_id.take(answer.get("id")))
                self._is_rejected |= answer.get("id") is None and (is_whole or self._is_alone)
        if answers:
            self._report(seen)

    def _report(self, seen: Seen) -> None:
        seen.readable = True
        done = self._models
        if self._is_rejected and not self._n_results:
            # Of the whole body: what has an id would have been answered under that, and what has none is never.
            done = Counter() if self._is_alone else done - Counter(self._by_id.left())
        if not self._is_read:
            n_calls = self._asked.total()
            seen.usage = Usage(calls=n_calls if self._is_long else min(self._n_results, n_calls))
        elif len(self._asked) == 1:
            seen.usage = Usage(calls=done.total())
        else:
            # Each at the price of its own; which one was quoted is not known here.
            seen.usage = Usage()
            seen.extra_calls = tuple((model, Usage(calls=n_calls)) for model, n_calls in done.items())
        seen.finish = None if done else Finish.FAILED

    def read_event(self, data: bytes, seen: Seen, *, hide_usage: bool) -> bytes | None:  # noqa: ARG002
        """An event is an answer, or says how far one is."""
        self._read(parse_body(data), seen, is_whole=False)
        return data

    def error_body(self, refusal: Refusal) -> dict[str, object]:
        """JSON-RPC's error, for the call if there was one alone."""
        is_one = self._asked.total() == 1
        return rpc_error(refusal, self._id if is_one and isinstance(self._id, str | int | float) else None)


def rpc_apis(is_priced: IsPriced) -> Iterator[RpcApi]:
    """The protocols whose calls have a price."""
    return (RpcApi(rpc, is_priced) for rpc in (_MCP, _A2A) if is_priced(rpc.name))


def rpc_error(refusal: Refusal, id_: object) -> dict[str, object]:
    """The refusal as JSON-RPC's errors look."""
    data = {"reason": str(refusal.reason)}
    return {"jsonrpc": "2.0", "id": id_, "error": {"code": _REFUSED_CODE, "message": refusal.message, "data": data}}


def _agent_in(rpc: _Rpc, path: str) -> str | None:
    found = rpc.path.search(path)
    return found["agent"] if found is not None and "agent" in rpc.path.groupindex else None
