"""What each LLM API's requests and answers say. One small module an API, all of the same shape.

    answers/                                      an answer on its way: its facts are gathered, its bytes go on
    jobs/                                         work that goes on after the answer
    anthropic/  aws/  google/  openai/  …         dialects: a folder for each family of APIs
    own/                                          dialects of the user's own, checked and isolated
    shared/  counting/                            what dialects share; what inputs and outputs count
    json_rpc/                                     tools and agents, whose calls have prices
    protocol/                                     the vocabulary of all: Api, Ask, Seen, sessions
    routes/  bodies/  streams/                    paths and models; bytes as values; bytes as events

The names below are public: a dialect of your own derives from `JsonApi` (`docs/own-dialect.md`).
"""

from typing import Final

from budget_middleware.apis.anthropic.messages import AnthropicMessages
from budget_middleware.apis.aws.bedrock import Bedrock
from budget_middleware.apis.bodies.bad_request import BadRequestError
from budget_middleware.apis.google.decisions import GeminiDecisions
from budget_middleware.apis.google.gemini import Gemini
from budget_middleware.apis.google.interactions import GeminiInteractions
from budget_middleware.apis.google.live.call import GeminiLive
from budget_middleware.apis.google.live.session import GeminiLiveSession
from budget_middleware.apis.google.predict import GooglePredict
from budget_middleware.apis.ollama import Ollama
from budget_middleware.apis.openai.audio import OpenAISpeech, OpenAITranscriptions
from budget_middleware.apis.openai.chat import OpenAIChat
from budget_middleware.apis.openai.completions import OpenAICompletions
from budget_middleware.apis.openai.containers import OpenAIContainers
from budget_middleware.apis.openai.embeddings import OpenAIEmbeddings
from budget_middleware.apis.openai.images import OpenAIImages
from budget_middleware.apis.openai.realtime.call import OpenAIRealtime
from budget_middleware.apis.openai.realtime.live import OpenAILive, OpenAILiveSession
from budget_middleware.apis.openai.realtime.session import OpenAIRealtimeSession
from budget_middleware.apis.openai.realtime.translations import OpenAITranslations, OpenAITranslationsSession
from budget_middleware.apis.openai.responses import OpenAIResponses
from budget_middleware.apis.openai.responses_session import OpenAIResponsesSession
from budget_middleware.apis.protocol.base import Api, Ask, Refusal
from budget_middleware.apis.protocol.ordinary import OrdinaryEvent
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.protocol.session_events import SessionDialect
from budget_middleware.apis.rerank import Rerank
from budget_middleware.apis.routes.free import is_free_route
from budget_middleware.apis.routes.paths import ends_in
from budget_middleware.apis.shared.json_api import JsonApi
from budget_middleware.core.costs.usage import Usage

__all__ = [
    "APIS",
    "Api",
    "Ask",
    "BadRequestError",
    "JsonApi",
    "OrdinaryEvent",
    "Refusal",
    "Seen",
    "Usage",
    "api_at",
    "ends_in",
    "is_free_route",
]

# No path belongs to two of them.
APIS: Final[tuple[Api, ...]] = (
    OpenAIChat(),
    OpenAIResponses(),
    AnthropicMessages(),
    Gemini(),
    GeminiInteractions(),
    GeminiDecisions(),
    GeminiLive(),
    GooglePredict(),
    OpenAIEmbeddings(),
    OpenAICompletions(),
    OpenAIImages(),
    OpenAIContainers(),
    OpenAISpeech(),
    OpenAITranscriptions(),
    Rerank(),
    Ollama(),
    Bedrock(),
    OpenAIRealtime(),
    OpenAITranslations(),
    OpenAILive(),
)


_SESSION_DIALECTS: Final[tuple[SessionDialect, ...]] = (
    OpenAIResponsesSession(),
    OpenAIRealtimeSession(),
    OpenAITranslationsSession(),
    OpenAILiveSession(),
    GeminiLiveSession(),
)


def session_dialect_of(api: Api | None) -> SessionDialect | None:
    """How an API has calls on a WebSocket, if it has."""
    return next((each for each in _SESSION_DIALECTS if api is not None and each.api.name == api.name), None)


def api_at(path: str) -> Api | None:
    """The API whose call a POST to this path is, if any."""
    return next((api for api in APIS if api.matches(path)), None)
