"""Messages of Gemini Live; the model `plain` costs a tenth of a cent a token of output, `talk` one of input too."""

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from google.genai import live

PATH = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"


def setup(model: str = "plain", *, tokens: int = 600, **fields: Any) -> dict[str, Any]:
    config = {"maxOutputTokens": tokens, "responseModalities": ["TEXT"]}
    return {"setup": {"model": f"models/{model}", "generationConfig": config, **fields}}


def say(text: str = "", *, is_whole: bool = True) -> dict[str, Any]:
    turns = [{"role": "user", "parts": [{"text": text}]}]
    return {"clientContent": {"turns": turns, "turnComplete": is_whole}}


def sound(seconds: float = 0.1) -> dict[str, Any]:
    data = base64.b64encode(bytes(int(32_000 * seconds))).decode()
    return {"realtimeInput": {"audio": {"data": data, "mimeType": "audio/pcm;rate=16000"}}}


def tool_result() -> dict[str, Any]:
    return {"toolResponse": {"functionResponses": [{"id": "1", "name": "look", "response": {"is": "there"}}]}}


SETUP_COMPLETE: dict[str, Any] = {"setupComplete": {}}
TURN_COMPLETE: dict[str, Any] = {"serverContent": {"turnComplete": True}}
TOOL_CALL: dict[str, Any] = {"toolCall": {"functionCalls": [{"id": "1", "name": "look", "args": {}}]}}


def text(words: str = "word") -> dict[str, Any]:
    return {"serverContent": {"modelTurn": {"parts": [{"text": words}]}}}


def spoken(seconds: float = 1) -> dict[str, Any]:
    data = base64.b64encode(bytes(int(48_000 * seconds))).decode()
    part = {"inlineData": {"data": data, "mimeType": "audio/pcm;rate=24000"}}
    return {"serverContent": {"modelTurn": {"parts": [part]}}}


def usage(output: int, *, prompt: int = 0, thoughts: int = 0, **fields: Any) -> dict[str, Any]:
    counts = {"promptTokenCount": prompt, "responseTokenCount": output, "totalTokenCount": prompt + output}
    return {"usageMetadata": {**counts, **({"thoughtsTokenCount": thoughts} if thoughts else {}), **fields}}


def turn(output: int, *, prompt: int = 0, **fields: Any) -> list[dict[str, Any]]:
    """A turn from its first word to its end."""
    return [
        text(),
        {"serverContent": {"generationComplete": True}},
        TURN_COMPLETE | usage(output, prompt=prompt, **fields),
    ]


@contextmanager
def live_without_tls() -> Iterator[None]:
    """Google's client takes TLS for granted; within this it does without."""
    connect: Any = vars(live)["ws_connect"]

    def plainly(uri: str, *, additional_headers: dict[str, str], **_: object) -> object:
        return connect(uri.replace("wss:", "ws:"), additional_headers=additional_headers)

    with patch.object(live, "ws_connect", plainly):
        yield
