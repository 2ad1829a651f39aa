"""What each path of a WebSocket is to the guard: a session of an API, or one that BUDGET_UNMETERED speaks of."""

import pytest

from budget_middleware.apis import session_dialect_of
from budget_middleware.routing import RouteKind, Router
from budget_middleware.stores.memory.store import MemoryStore
from tests.sessions.socket import ScriptedProvider, Socket, guard_of

GOOGLE = "/ws/google.ai.generativelanguage"
SESSIONS = {
    # OpenAI, and gateways that serve its paths below one of their own.
    "/v1/responses": "openai-responses",
    "/v1/realtime": "openai-realtime",
    "/realtime": "openai-realtime",
    "/v1/realtime/translations": "openai-translations",
    "/v1/live/sessions": "openai-live",
    "/v1/live/sessions/sess_1/fork": "openai-live",
    "/v1/live/sessions/sess_1/attach": "openai-live",
    "/litellm/openai/v1/realtime/translations/": "openai-translations",
    "/openai/passthrough/v1/realtime": "openai-realtime",
    # Azure.
    "/openai/realtime": "openai-realtime",
    "/openai/v1/realtime": "openai-realtime",
    "/openai/v1/realtime/translations": "openai-translations",
    "/openai/v1/live/sessions": "openai-live",
    "/openai/v1/responses": "openai-responses",
    # OpenRouter.
    "/api/v1/responses": "openai-responses",
    # Google, and LiteLLM's names for it.
    f"{GOOGLE}.v1beta.GenerativeService.BidiGenerateContent": "gemini-live",
    f"{GOOGLE}.v1alpha.GenerativeService.BidiGenerateContentConstrained": "gemini-live",
    f"{GOOGLE}.v1beta.GenerativeService/BidiGenerateContent": "gemini-live",
    "/ws/google.cloud.aiplatform.v1beta1.LlmBidiService/BidiGenerateContent": "gemini-live",
    "/vertex_ai/live": "gemini-live",
    "/vertex-ai/live": "gemini-live",
    "/v1/vertex-ai/live": "gemini-live",
}
UNKNOWN = [
    f"{GOOGLE}.v1alpha.GenerativeService.BidiGenerateMusic",
    # xAI's and Deepgram's speech, ElevenLabs' speech and agents.
    "/v1/tts",
    "/v1/stt",
    "/v1/listen",
    "/v1/speak",
    "/v1/text-to-speech/voice/stream-input",
    "/v1/convai/conversation",
    "/v1/chat/completions",
    "/v1/files",
    "/queue",
]


@pytest.mark.parametrize("path", SESSIONS)
def test_a_session(path):
    route = Router(()).route_of({"type": "websocket", "path": path})
    dialect = session_dialect_of(route.api)
    assert dialect is not None
    assert dialect.api.name == SESSIONS[path]


@pytest.mark.parametrize("path", SESSIONS)
async def test_a_post_there_is_metered_or_refused(path):
    """What goes around the gateway is a POST to some of them."""
    route = Router(()).route_of({"type": "http", "method": "POST", "path": path})
    assert route.kind >= RouteKind.SHARED


@pytest.mark.parametrize("path", UNKNOWN)
@pytest.mark.parametrize("unmetered", ["pass", "refuse"])
async def test_any_other_path(path, unmetered, store: MemoryStore, prices, caplog):
    provider = ScriptedProvider(lambda event: [event])
    socket = Socket(guard_of(provider, prices, store, unmetered=unmetered), path=path)
    message = await socket.message()
    if unmetered == "refuse":
        assert (message["type"], message["status"]) == ("websocket.http.response.start", 403)
        assert provider.send is None
    else:
        assert message["type"] == "websocket.accept"
        assert "passes unmetered" in caplog.text
        await socket.leave()
