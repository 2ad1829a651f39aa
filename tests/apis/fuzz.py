"""Fuzzing of all parsers by coverage, for as long as one likes: `make fuzz`.

The first bytes of an input say what it is: which API, a request or an answer, of which type, compressed or not, and
where it is cut. What it must hold is what the tests of hostile input hold. A caller's path and credential are read too,
beside what clients, routers and apps make of them.
"""

import gzip
import sys
from pathlib import Path

import atheris

with atheris.instrument_imports(
    include=[f"budget_middleware.{name}" for name in ("apis", "core.costs.pricing", "payers.credentials", "routing")]
):
    from budget_middleware.apis import APIS

from budget_middleware.apis.bodies.bad_request import BadRequestError
from budget_middleware.apis.bodies.form import Form, FormReader, UnclearFormError
from budget_middleware.apis.bodies.reading import parse_body
from tests.apis.test_dialect_answers import ANSWERS
from tests.apis.test_dialect_requests import REQUESTS
from tests.apis.test_hostile import WRITERS, dumped, read
from tests.apis.test_paths import SPELLINGS, assert_read_as_clients_do
from tests.payers.test_credentials import ACCEPTED, AMBIGUOUS, assert_no_new_key

TYPES = [*WRITERS, "text/plain"]
PATHS = ["/v1/x", "/v1beta/models/m:streamGenerateContent", "/model/m/invoke", "/openai/deployments/m/chat/completions"]
N_CHOICES = 6
CALLERS = 128
CALLER = bytes([0, CALLERS, 0, 0, 0, 0])


def fuzz_one(data: bytes) -> None:
    if len(data) < N_CHOICES:
        return
    which, kind, content_type, is_zipped, *places = data[:N_CHOICES]
    name, body = APIS[which % len(APIS)].name, data[N_CHOICES:]
    if kind >= CALLERS:
        fuzz_caller(body)
        return
    if kind % 2:
        fuzz_request(which, PATHS[content_type % len(PATHS)], body)
        return
    headers = [(b"content-encoding", b"gzip")] if is_zipped % 2 else []
    # Every other one is compressed well, the others are no gzip at all.
    sent = gzip.compress(body) if is_zipped % 4 == 1 else body
    read(name, TYPES[content_type % len(TYPES)], sent, places, *headers)


def fuzz_caller(data: bytes) -> None:
    """A path around the words of a route, and a header with a key somewhere in it."""
    before, _, after = data.decode("latin-1").partition("\0")
    assert_read_as_clients_do(f"/v1{before}/chat/completions{after}")
    assert_no_new_key(data)
    assert_no_new_key(data.replace(b"\0", b"KEY"))


def fuzz_request(which: int, path: str, body: bytes) -> None:
    api = APIS[which % len(APIS)]
    form = read_form(body)
    for document in (parse_body(body), form):
        try:
            ask = api.read_request(document, path=path, n_bytes=len(body))
        except BadRequestError:
            continue
        assert ask.hides_input or ask.input.input_tokens <= ask.worst_input.input_tokens or document is form
        if document is not form:
            api.ask_for_usage(body, document)


def read_form(body: bytes) -> Form:
    reader = FormReader(b"b")
    try:
        reader.feed(body)
        return reader.finish()
    except UnclearFormError:
        return Form()


def seeds() -> list[bytes]:
    names = [api.name for api in APIS]
    answers = [
        bytes([names.index(name), 0, TYPES.index(content_type.partition(";")[0]), 0, 7, 90]) + body
        for name, content_type, body, _ in ANSWERS.values()
        if content_type.partition(";")[0] in TYPES
    ]
    requests = [
        bytes([which, 1, 0, 0, 0, 0]) + dumped(body)
        for path, body, *_ in REQUESTS.values()
        for which, api in enumerate(APIS)
        if api.matches(path) and type(body) is dict
    ]
    paths = [CALLER + b"\0" + path.rpartition("completions")[2].encode() for path in SPELLINGS.values()]
    values = [value if isinstance(value, bytes) else str(value).encode() for value in (*AMBIGUOUS.values(), *ACCEPTED)]
    return [*answers, *requests, *paths, *(CALLER + value for value in values)]


if __name__ == "__main__":
    folder = Path(sys.argv[-1])
    for place, seed in enumerate(seeds()):
        (folder / f"seed-{place}").write_bytes(seed)
    atheris.Setup([*sys.argv[:-1], "-max_len=4096", sys.argv[-1]], fuzz_one)
    atheris.Fuzz()
