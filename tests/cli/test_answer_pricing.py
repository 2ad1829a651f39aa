"""`price --answer`: the bill of a saved answer, of whichever API, and one line for what is none."""

import gzip
import json
from decimal import Decimal
from pathlib import Path

import pytest

from budget_middleware.cli.saved_answers import MAX_BYTES, read_saved_answer
from tests.apis.test_dialect_answers import ANSWERS
from tests.cli.conftest import RunCli

CHAT: dict = {
    "id": "chatcmpl-1",
    "object": "chat.completion",
    "model": "gpt-4o-2024-08-06",
    "choices": [{"index": 0, "finish_reason": "stop", "message": {"role": "assistant", "content": "canary"}}],
    "usage": {
        "prompt_tokens": 1_000,
        "completion_tokens": 300,
        "total_tokens": 1_300,
        "prompt_tokens_details": {"cached_tokens": 900},
    },
}


@pytest.fixture
def save(tmp_path: Path):
    def save_it(answer: object) -> str:
        path = tmp_path / "answer"
        path.write_bytes(answer if isinstance(answer, bytes) else json.dumps(answer).encode())
        return str(path)

    return save_it


def test_a_saved_answer_line_by_line(cli: RunCli, save):
    ran = cli("price", "--answer", save(CHAT))
    assert (ran.code, ran.err) == (0, "")
    assert ran.out == (
        "gpt-4o-2024-08-06 (openai-chat)\n"
        "unit          count  rate_usd  per             usd  source\n"
        "input           100      2.50  1M tokens  0.00025   genai-prices\n"
        "cached_input    900      1.25  1M tokens  0.001125  genai-prices\n"
        "output          300     10.00  1M tokens  0.003     genai-prices\n"
        "sum                                       0.004375\n"
    )


def test_as_json_it_adds_up(cli: RunCli, save):
    told = cli("price", "--answer", save(CHAT), "--json").json
    assert (told["api"], told["asked"], told["model"]) == ("openai-chat", "gpt-4o-2024-08-06", "gpt-4o")
    parts = [*(line["usd"] for line in told["lines"]), told["omitted"]["usd"], told["rounding_usd"]]
    assert sum(map(Decimal, parts)) == Decimal(told["cost_usd"]) == Decimal("0.004375")


# Not told by their shape: subtitles and sound have none, and others are as other APIs have it.
# A translation is billed by what was sent, and its answers say nothing of that.
SILENT = {"speech", "subtitles", "translation"}
SHAPELESS = {*SILENT, "bedrock openai", "rerank by tokens"}


@pytest.mark.parametrize("name", sorted(ANSWERS.keys() - SHAPELESS))
def test_every_api_is_known_by_its_answers(save, name: str):
    api, _, body, seen = ANSWERS[name]
    answer = read_saved_answer(save(body), api="")
    assert answer.api.name == api
    assert answer.seen == seen


@pytest.mark.parametrize("name", sorted(ANSWERS.keys() - SILENT))
def test_an_api_that_is_named_is_believed(save, name: str):
    api, _, body, seen = ANSWERS[name]
    assert read_saved_answer(save(body), api=api).seen == seen


STREAM = b"".join(
    b"data: " + json.dumps(chunk).encode() + b"\n\n"
    for chunk in (
        {"object": "chat.completion.chunk", "model": "gpt-4o", "choices": [{"index": 0, "delta": {"content": "hi"}}]},
        {"object": "chat.completion.chunk", "model": "gpt-4o", "choices": [], "usage": CHAT["usage"]},
    )
)
FORMS = {
    "a stream": STREAM + b"data: [DONE]\n\n",
    "with windows line ends": STREAM.replace(b"\n", b"\r\n"),
    "with headers": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/2 200\r\ncontent-type: text/event-stream\r\n\r\n" + STREAM,
    "pretty": json.dumps(CHAT, indent=2).encode(),
    "with a mark of its order": b"\xef\xbb\xbf" + json.dumps(CHAT).encode(),
    "compressed": gzip.compress(json.dumps(CHAT).encode()),
    "compressed, with headers": b"HTTP/1.1 200 OK\ncontent-encoding: gzip\n\n" + gzip.compress(STREAM),
}


@pytest.mark.parametrize("form", FORMS)
def test_however_it_was_saved(cli: RunCli, save, form: str):
    assert cli("price", "--answer", save(FORMS[form]), "--json").json["cost_usd"] == "0.004375"


def test_it_may_come_by_stdin(cli: RunCli):
    assert cli("price", "--answer", "-", "--json", stdin=json.dumps(CHAT)).json["cost_usd"] == "0.004375"


def test_the_model_that_was_asked_counts_as_in_a_gateway(cli: RunCli, save, tmp_path: Path):
    own = tmp_path / "prices.toml"
    own.write_text('[models."prod-chat"]\ninput = 1\noutput = 2\n')
    for words in (("--model", "prod-chat"), ("prod-chat",)):
        ran = cli("price", *words, "--answer", save(CHAT), BUDGET_PRICES=str(own))
        assert ran.out.startswith("prod-chat (openai-chat), answered by gpt-4o-2024-08-06\n")
        assert ran.out.splitlines()[-1].split() == ["sum", "0.0016"]


@pytest.mark.parametrize("api", ["/v1/rerank", "rerank"])
def test_a_path_or_a_name_says_whose_it_is(cli: RunCli, save, api: str):
    answer = {"model": "rerank-2.5", "data": [], "usage": {"total_tokens": 1_000_000}}
    ran = cli("price", "--answer", save(answer), "--api", api)
    assert ran.out.startswith("rerank-2.5 (rerank)\n")
    assert ran.out.splitlines()[-1].split() == ["sum", "0.05"]


def test_a_path_names_the_model(cli: RunCli, save):
    answer = {"usage": {"inputTokens": 100_000, "outputTokens": 0}, "stopReason": "end_turn"}
    path = "/model/anthropic.claude-sonnet-4-5-20250929-v1:0/converse"
    assert cli("price", "--answer", save(answer), "--api", path, "--json").json["cost_usd"] == "0.33"


def test_costs_that_are_believed_say_so(cli: RunCli, save):
    usage = {**CHAT["usage"], "cost": 0.25}  # type: ignore[dict-item]
    ran = cli("price", "--answer", save({**CHAT, "usage": usage}))
    assert ran.out.splitlines()[-2].split() == ["sum", "0.25"]
    assert ran.out.splitlines()[-1] == "Booked at the cost that the answer itself names; the usage is only counted."
    headed = b"HTTP/1.1 200 OK\r\nX-LiteLLM-Response-Cost: 0.125\r\n\r\n" + json.dumps(CHAT).encode()
    ran = cli("price", "--answer", save(headed))
    assert ran.out.splitlines()[-2].split() == ["sum", "0.125"]
    assert "Booked at the cost that the gateway's header names" in ran.out


def test_a_usage_that_contradicts_itself_says_so(cli: RunCli, save):
    usage = {"prompt_tokens": 10, "completion_tokens": 20, "total_tokens": 1}
    ran = cli("price", "--answer", save({**CHAT, "usage": usage}))
    assert ran.out.splitlines()[-1] == (
        "The usage contradicts itself (total_below_parts): booked at the larger reading."
    )


def test_what_has_no_price_says_so(cli: RunCli, save, tmp_path: Path):
    own = tmp_path / "prices.toml"
    own.write_text('[models."search"]\ninput = 1\noutput = 2\n')
    usage = {"prompt_tokens": 1_000_000, "completion_tokens": 500_000, "num_search_queries": 2}
    ran = cli("price", "search", "--answer", save({**CHAT, "usage": usage}), BUDGET_PRICES=str(own))
    *_, searches, total, note = ran.out.splitlines()
    assert searches.split() == ["web_search", "2", "-", "each", "-", "-"]
    assert total.split() == ["sum", "2.00"]
    assert note == "No price is listed for web_search: counted, and not billed."


def test_nothing_of_an_answer_is_printed_but_names_and_figures(cli: RunCli, save):
    for words in ((), ("--json",)):
        ran = cli("price", "--answer", save(CHAT), *words)
        assert "canary" not in ran.out + ran.err


NO_PRICE = (
    "no-such-model has no price: BUDGET_UNKNOWN_MODEL=reject answers 400 where a limit binds the request, else books 0;"
    " give it a price in BUDGET_PRICES, or set BUDGET_UNKNOWN_MODEL to IN/OUT"
)
NO_USAGE = (
    "FILE: an answer of openai-chat that reports no usage: a gateway would book the input and output that it reads,"
    " or the estimate"
)
WRONG = {
    "empty": (b"", 2, "FILE: it is empty; accepted is the body of an answer, as curl saves it"),
    "blank": (b" \n", 2, "FILE: it is empty; accepted is the body of an answer, as curl saves it"),
    "text": (b"hello world", 2, "FILE: it is no answer of any API that is metered"),
    "a list of numbers": (b"[1, 2]", 2, "FILE: it is no answer of any API that is metered"),
    "other JSON": (b'{"a": {"b": 1}}', 2, "FILE: it is no answer of any API that is metered"),
    "noise": (bytes(range(256)) * 9, 2, "FILE: it is no answer of any API that is metered"),
    "half an answer": (json.dumps(CHAT).encode()[:-9], 2, "FILE: it is no answer of any API that is metered"),
    "deep": (b"[" * 100_000, 2, "FILE: it is no answer of any API that is metered"),
    "half of something compressed": (
        gzip.compress(json.dumps(CHAT).encode())[:-9],
        2,
        "FILE: it is compressed and cannot be read: its gzip is cut off",
    ),
    "too long": (
        json.dumps(CHAT).encode().ljust(MAX_BYTES + 1),
        2,
        f"FILE: it is longer than {MAX_BYTES} bytes, the most that is read of an answer",
    ),
    "a bomb": (
        gzip.compress(b" " * (MAX_BYTES + 1)),
        2,
        f"FILE: uncompressed it is longer than {MAX_BYTES} bytes, the most that is read",
    ),
    "no usage": (
        json.dumps({**CHAT, "usage": None}).encode(),
        1,
        NO_USAGE,
    ),
    "an error": (
        b'{"error": {"message": "no"}}',
        1,
        "FILE: it is an error without a usage: a gateway books nothing for it",
    ),
    "no price": (json.dumps({**CHAT, "model": "no-such-model"}).encode(), 1, NO_PRICE),
    "no model": (
        json.dumps({**CHAT, "model": None}).encode(),
        1,
        "the answer names no model: give the requested one with --model",
    ),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_cannot_be_priced_is_told_in_a_line(cli: RunCli, save, name: str):
    body, code, line = WRONG[name]
    file = save(body)
    ran = cli("price", "--answer", file)
    assert (ran.code, ran.out) == (code, "")
    assert ran.err == f"budget-middleware: {line.replace('FILE', file)}\n"


def test_a_file_that_is_not_there_is_told_in_a_line(cli: RunCli, tmp_path: Path):
    ran = cli("price", "--answer", str(tmp_path / "none"))
    assert (ran.code, ran.err) == (2, f"budget-middleware: {tmp_path / 'none'}: No such file or directory\n")
    ran = cli("price", "--answer", str(tmp_path))
    assert (ran.code, ran.err) == (2, f"budget-middleware: {tmp_path}: Is a directory\n")


def test_an_api_that_is_none_is_told_in_a_line(cli: RunCli, save):
    for api in ("chat", "/v1/nothing"):
        ran = cli("price", "--answer", save(CHAT), "--api", api)
        assert (ran.code, ran.out, ran.err.count("\n")) == (2, "", 1)
        assert ran.err.startswith(
            f"budget-middleware: --api {api}: accepted are a path such as /v1/messages, and openai-"
        )


def test_a_tool_that_has_no_price_is_said_to_be_missing(cli: RunCli, save):
    ran = cli(
        "price", "--answer", save(CHAT | {"usage": CHAT["usage"] | {"server_tool_use": {"web_search_requests": 2}}})
    )
    assert (ran.code, ran.err) == (0, "")
    assert "web_search" in ran.out
    executed = {"role": "assistant", "content": "canary", "executed_tools": [{"type": "python"}]}
    choices = [{"index": 0, "finish_reason": "stop", "message": executed}]
    ran = cli("price", "groq/openai/gpt-oss-120b", "--answer", save(CHAT | {"choices": choices}))
    assert ran.code == 0
    assert "code_execution has no price, and is missing from this bill: give it one in BUDGET_PRICES\n" in ran.err
