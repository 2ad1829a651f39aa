"""What a request's input is expected to count, and at worst: text by its bytes, media by their provider's rule.

Only what is sent to the model is given here to be counted. Base64 is not text.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from budget_middleware.apis.bodies.reading import list_of
from budget_middleware.apis.counting.media import MediaRules, audio_ms, image_size, worst_audio_ms
from budget_middleware.apis.counting.parts import (
    MEDIA_MARKS,
    Content,
    MediaKind,
    Part,
    content_of,
    is_data_url,
    kind_of_mime_type,
    looks_encoded,
    part_of,
)
from budget_middleware.core.costs.estimate import BYTES_PER_TOKEN
from budget_middleware.core.costs.pricing import Usage
from budget_middleware.core.money import ceil_div

# A page of a document as providers document it, and how many bytes a page takes; a document of which only the
# address is known has a few, and a video a minute or so.
PAGE_TOKENS: Final = 2_000
PAGE_BYTES: Final = 50_000
NAMED_DOCUMENT_TOKENS: Final = 10_000
VIDEO_TOKENS: Final = 10_000
# A minute of speech, where only the address of a recording is known.
NAMED_AUDIO_BYTES: Final = 480_000
# What signs a thought is nothing that a model reads.
_SEALS: Final = frozenset({"signature", "thoughtSignature", "thought_signature"})
# What is looked at in an object where media may stand; without any of these it is text alone.
_MARKS: Final = MEDIA_MARKS | _SEALS | {"ttl"}
# The fields that lead from a message to the parts of its content. Whatever is below other fields (the schema or the
# arguments of a tool, say) is JSON of the caller's own, which the model reads as text.
_WAYS_TO_MEDIA: Final = frozenset(
    {
        *("messages", "system", "contents", "content", "parts", "output", "source"),
        *("thinking_blocks", "reasoning_details", "toolResult", "functionResponse", "function_response"),
    }
)
# Counting takes about 0.2 us for a unit, and it keeps the event loop waiting.
_MAX_WORK: Final = 50_000
_WORK_OF_CONTAINER: Final = 5
_WORK_OF_PART: Final = 50
# More than the names and types that stand beside the file in a part.
_FEW_BYTES: Final = 256
# The types of JSON values that may have text in them.
MAY_HOLD_TEXT: Final = frozenset({str, list, dict})
# Tools that a provider runs by itself, and whose results it puts into the input.
_SERVER_TOOLS: Final = ("web_", "file_search", "code_", "mcp", "tool_search", "image_generation", "advisor")


@dataclass(slots=True)
class Count:
    """What has been counted so far; `media_bytes` are those of the body that are media, not text."""

    rules: MediaRules
    text_bytes: int = 0
    tokens: int = 0
    image_tokens: int = 0
    worst_image_tokens: int = 0
    audio_ms: int = 0
    worst_audio_ms: int = 0
    media_bytes: int = 0
    hides_input: bool = False
    caches_for_an_hour: bool = False
    # What may still be done before the rest is counted by its length; below 0 that has happened.
    work_left: int = _MAX_WORK
    # Those that are not plain ASCII.
    texts: list[str] = field(default_factory=list)

    def usages(self, n_bytes: int) -> tuple[Usage, Usage]:
        """The input that is expected of a body of so many bytes, and the most that it can have.

        What was not counted is counted by that length: input of a shape that is not known, and more of it than there
        was time for. At worst there is a token for every byte that is not media; but in UTF-16 a text has fewer bytes
        than the tokenizer will be given.
        """
        text_bytes, unknown_bytes = self.text_bytes, n_bytes - self.media_bytes
        is_nothing = not (text_bytes or self.tokens or self.image_tokens or self.audio_ms)
        if self.work_left < 0 or is_nothing:
            text_bytes = max(text_bytes, unknown_bytes)
        tokens = -(-text_bytes // BYTES_PER_TOKEN) + self.tokens
        worst_tokens = max(text_bytes, unknown_bytes)
        if not (self.audio_ms or self.worst_audio_ms or self.worst_image_tokens):
            # As nearly all come: text alone.
            return Usage(tokens), Usage(worst_tokens)
        return (
            self._with_media(tokens, self.image_tokens, self.audio_ms),
            self._with_media(worst_tokens, self.worst_image_tokens, self.worst_audio_ms),
        )

    def _with_media(self, tokens: int, image_tokens: int, sound_ms: int) -> Usage:
        audio_tokens = ceil_div(sound_ms * self.rules.audio_tokens_per_s, 1000)
        return Usage(
            input_tokens=tokens + image_tokens + audio_tokens,
            input_image_tokens=image_tokens,
            input_audio_tokens=audio_tokens,
        )

    def add_image(self, head: bytes, *, is_low: bool = False) -> None:
        """Add an image that begins so; b"" if nothing of it is known."""
        tokens = self.rules.image(image_size(head), is_low)
        self.image_tokens += tokens
        self.worst_image_tokens += max(tokens, self.rules.worst_image_tokens)

    def add_audio(self, n_bytes: int, head: bytes) -> None:
        """Add a recording of so many bytes that begins so."""
        self.audio_ms += audio_ms(n_bytes, head)
        self.worst_audio_ms += worst_audio_ms(n_bytes)


def count_input(value: object, rules: MediaRules, *, texts: Iterable[object] = ()) -> Count:
    """Count a JSON value of any shape: its text, keys included, and the media at places where the APIs have them.
    `texts` are JSON values without such places.

    Keys stand for the few tokens that a format spends on each message, and in the schema of a tool they are text
    like any other. Whole numbers in an array are tokens, as the prompts of some APIs are.
    """
    count = Count(rules)
    # Stacks, not recursion: how deep a body nests is for its sender to say.
    stack: list[Iterable[object]] = [(value,)]
    below: list[object] = list(texts)
    while stack and count.work_left >= 0:
        for item in stack.pop():
            if isinstance(item, str):
                _count_text(item, count)
            elif isinstance(item, dict):
                _count_object(item, count, stack, below)
            elif isinstance(item, list):
                count.work_left -= _WORK_OF_CONTAINER + len(item)
                if not (item and type(item[0]) is int and _count_tokens(item, count)):
                    stack.append(item)
            elif type(item) is int or type(item) is float:
                count.tokens += 1
    if below:
        _count_plain(below, count)
    return count


def _count_object(item: Mapping[str, object], count: Count, stack: list[Iterable[object]], below: list[object]) -> None:
    """Count the keys of an object and its media; leave its values to be counted, in `below` if they are text alone."""
    count.work_left -= _WORK_OF_CONTAINER + 2 * len(item)
    held = () if _MARKS.isdisjoint(item) else _count_marked(item, count)
    for key, child in item.items():
        if key.isascii():
            count.text_bytes += len(key)
        else:
            _count_text(key, count)
        if key in held:
            continue
        if isinstance(child, str):
            # As nearly all are: see `_count_text`.
            if child.isascii() and not child.startswith("data:"):
                count.text_bytes += len(child)
            else:
                _count_text(child, count)
        elif key in _WAYS_TO_MEDIA:
            stack.append((child,))
        elif type(child) in MAY_HOLD_TEXT:
            below.append(child)


def _count_plain(values: list[object], count: Count) -> None:
    """Count what is text alone."""
    stack: list[Iterable[object]] = [values]
    while stack and count.work_left >= 0:
        for item in stack.pop():
            if isinstance(item, str):
                if item.isascii() and not item.startswith("data:"):
                    count.text_bytes += len(item)
                else:
                    _count_text(item, count)
            elif isinstance(item, dict):
                count.work_left -= _WORK_OF_CONTAINER + 2 * len(item)
                count.caches_for_an_hour |= item.get("ttl") == "1h"
                stack.append(item)
                # Numbers in an object are few bytes beside their names.
                stack.append([child for child in item.values() if type(child) in MAY_HOLD_TEXT])
            elif isinstance(item, list):
                count.work_left -= _WORK_OF_CONTAINER + len(item)
                if not (item and type(item[0]) is int and _count_tokens(item, count)):
                    stack.append(item)
            elif type(item) is int or type(item) is float:
                count.tokens += 1


def _count_tokens(items: list[object], count: Count) -> bool:
    """Count a list of nothing but whole numbers, each of which is a token; whether it is one."""
    is_tokens = set(map(type, items)) == {int}
    count.tokens += len(items) if is_tokens else 0
    return is_tokens


def count_base64_images(images: object, count: Count) -> None:
    """Add images that are given as plain base64, in a list."""
    for image in list_of(images):
        _count_part(Part(MediaKind.IMAGE, (), image), content_of(image), count)


def has_server_tools(tools: object) -> bool:
    """Whether some tool of a request is the provider's own."""
    if not tools:
        return False
    kinds = [tool.get("type") for tool in list_of(tools) if isinstance(tool, dict)]
    # A gateway's own have its name before theirs: `openrouter:web_search`.
    return any(isinstance(kind, str) and kind.rpartition(":")[2].startswith(_SERVER_TOOLS) for kind in kinds)


def text_bytes_of(value: object) -> int:
    """The bytes of text in a JSON value of any shape, keys included."""
    if isinstance(value, str):
        return utf8_bytes(value)
    n_bytes = 0
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, str):
            n_bytes += utf8_bytes(item)
        elif isinstance(item, list):
            stack.extend(item)
        elif isinstance(item, dict):
            stack.extend(item)
            stack.extend(item.values())
    return n_bytes


def utf8_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def _count_text(text: str, count: Count) -> None:
    # As nearly all are: ASCII has as many bytes as characters, and only what begins so is a data URL.
    if text.isascii() and not text.startswith("data:"):
        count.text_bytes += len(text)
    elif is_data_url(text) and looks_encoded(text):
        # In a place that is not known to hold media: likely a shape that is new here, and at worst text.
        part = Part(kind_of_mime_type(text[len("data:") : len("data:") + _FEW_BYTES]), (), text)
        media_bytes = count.media_bytes
        _count_part(part, content_of(text), count)
        count.media_bytes = media_bytes
    else:
        count.text_bytes += utf8_bytes(text)
        if not text.isascii():
            count.texts.append(text)


def _count_marked(item: Mapping[str, object], count: Count) -> tuple[str, ...]:
    """Count what else there is in an object than text, its media above all; the fields that hold it."""
    count.caches_for_an_hour |= item.get("ttl") == "1h"
    held: tuple[str, ...] = ()
    if (part := part_of(item)) is not None:
        content = content_of(part.payload)
        # What turns out to be no media is looked at again, and may have such parts in it at any depth.
        count.work_left -= content.n_values
        if content.is_media:
            held = part.fields
            _count_part(part, content, count)
    if _SEALS.isdisjoint(item):
        return held
    seals = tuple(name for name in _SEALS if isinstance(text := item.get(name), str) and looks_encoded(text))
    count.media_bytes += sum(len(str(item[name])) for name in seals)
    return held + seals


def _count_part(part: Part, content: Content, count: Count) -> None:
    count.work_left -= _WORK_OF_PART
    count.media_bytes += content.body_bytes if content.is_inline else 0
    count.text_bytes += content.other_bytes if content.other_bytes > _FEW_BYTES else 0
    match part.kind:
        case MediaKind.IMAGE:
            count.add_image(content.head, is_low=part.is_low)
        case MediaKind.AUDIO if content.is_inline:
            count.add_audio(content.file_bytes, content.head)
        case MediaKind.AUDIO:
            count.add_audio(NAMED_AUDIO_BYTES, b"")
            count.hides_input = True
        # How much text a document holds, and how long a video is, nobody can tell here.
        case MediaKind.DOCUMENT:
            n_pages = ceil_div(content.file_bytes, PAGE_BYTES)
            count.tokens += PAGE_TOKENS * n_pages if content.is_inline else NAMED_DOCUMENT_TOKENS
            count.hides_input = True
        case MediaKind.VIDEO:
            count.tokens += VIDEO_TOKENS
            count.hides_input = True
