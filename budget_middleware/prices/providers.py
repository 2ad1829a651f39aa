"""Who sells models, and how their names are written: the tables that `spelling` reads. Data only.

A provider is named as `genai-prices` names it. To teach the price book another prefix, region or vendor, add a row.
"""

import re
from typing import Final

ANY_SELLER: Final = "*"
"""In place of a provider: the name does not say who serves the model, and several may."""

# Prefix of a model's name -> provider, where the two differ or where LiteLLM's map needs it. The longest prefix counts.
PREFIXES: Final = {
    "ai21_chat": "ai21",
    "aws": "aws",
    "amazon-bedrock": "aws",
    "azure_ai": "azure",
    "azure_openai": "azure",
    "azure_text": "azure",
    "bedrock": "aws",
    "bedrock/converse": "aws",
    "bedrock/converse_like": "aws",
    "bedrock/invoke": "aws",
    "bedrock_converse": "aws",
    "bedrock_mantle": "aws",
    "codestral": "mistral",
    "cohere_chat": "cohere",
    "copilot": "github-copilot",
    "fireworks": "fireworks",
    "fireworks_ai": "fireworks",
    "gemini": "google",
    "github_copilot": "github-copilot",
    "google": "google",
    "google_ai_studio": "google",
    "google-ai-studio": "google",
    "google-vertex": "google",
    "jina_ai": "jina",
    "huggingface/cerebras": "huggingface_cerebras",
    "huggingface/fireworks-ai": "huggingface_fireworks-ai",
    "huggingface/groq": "huggingface_groq",
    "huggingface/hyperbolic": "huggingface_hyperbolic",
    "huggingface/nebius": "huggingface_nebius",
    "huggingface/novita": "huggingface_novita",
    "huggingface/nscale": "huggingface_nscale",
    "huggingface/ovhcloud": "huggingface_ovhcloud",
    "huggingface/sambanova": "huggingface_sambanova",
    "huggingface/together": "huggingface_together",
    "minimax": "minimax",
    "minimaxai": "minimax",
    "mistralai": "mistral",
    "moonshot": "moonshotai",
    "moonshotai": "moonshotai",
    "openai/responses": "openai",
    "text-completion-codestral": "mistral",
    "text-completion-openai": "openai",
    "together": "together",
    "together_ai": "together",
    "together-ai": "together",
    "vertex": "google",
    "vertex_ai": "google",
    "vertex_ai_beta": "google",
    "voyage": "voyageai",
    "x-ai": "x-ai",
    "xai": "x-ai",
    "z-ai": "zai",
    "zai": "zai",
    "zai-org": "zai",
    "zhipu": "zhipuai",
}
# Prefixes that only say how a gateway reaches another name.
PASSED_ON: Final = ("litellm", "litellm_proxy", "models")
# Servers of one's own: nobody publishes what they cost, however well known the model is.
OWN_SERVERS: Final = frozenset({
    "custom", "custom_openai", "docker_model_runner", "hosted_vllm", "llamafile", "lemonade", "llama_cpp",
    "lm_studio", "ollama", "ollama_chat", "openai_like", "sagemaker", "sagemaker_chat", "triton", "vllm",
    "xinference"
})  # fmt: skip
# Names behind which another model answers: what they cost is known when the answer names it.
ROUTERS: Final = frozenset({"model-router", "auto", "openrouter/auto", "openrouter/fusion", "router"})

# A bare name -> who sells it, the first that fits. Models with open weights are not here: anybody may serve them.
CLAIMS: Final = tuple(
    (re.compile(pattern), providers)
    for pattern, providers in (
        (r"ft:(?:gpt-|o\d|davinci|babbage)", ("openai",)),
        (r"(?:chat)?gpt-(?!oss)|o[1345](?:-|$)|codex-|computer-use|tts-1|whisper-1$|dall-e|sora-", ("openai",)),
        (r"text-(?:embedding-(?:3|ada)|davinci|curie|ada)|davinci-002|babbage-002|omni-moderation", ("openai",)),
        (r"claude-[\w.-]+@", ("google", "anthropic")),
        (r"claude-", ("anthropic",)),
        (r"gemini-|imagen-|veo-|text-embedding-00\d|text-multilingual-embedding", ("google",)),
        (r"deep-research-|antigravity-", ("google",)),
        (r"grok-", ("x-ai",)),
        (r"deepseek-(?:chat|reasoner|flash|v\d[\w.-]*-(?:flash|pro|exp|terminus)|v3\.2)", ("deepseek",)),
        (r"(?:mi|code|dev|magi|mini)stral|mixtral|pixtral|voxtral|open-mi[sx]tral", ("mistral",)),
        (r"command-|command$|c4ai-|(?:embed|rerank)-(?:english|multilingual|v\d)", ("cohere",)),
        (r"voyage-|rerank-(?:lite-)?\d", ("voyageai",)),
        (r"jina-", ("jina",)),
        (r"sonar|r1-1776|pplx-", ("perplexity",)),
        (r"kimi-|moonshot-", ("moonshotai",)),
        (r"glm-", ("zai", "zhipuai")),
        (r"minimax-", ("minimax",)),
        (r"jamba", ("ai21",)),
        (r"qwen[\d.]*-(?:coder-|vl-)?(?:max|plus|turbo|flash)", ("dashscope",)),
        (r"accounts/fireworks/", ("fireworks",)),
        (r"@cf/", ("cloudflare",)),
        (r"databricks-|system\.ai\.", ("databricks",)),
        (r"eleven_", ("elevenlabs",)),
    )
)  # fmt: skip
# Models that several hosts sell at prices of their own: by the vendor before the slash, or by the bare name.
OPEN_VENDORS: Final = frozenset({
    "alibaba", "deepseek", "deepseek-ai", "google", "meta", "meta-llama", "microsoft", "minimaxai", "mistralai",
    "moonshotai", "nousresearch", "nvidia", "openai", "qwen", "zai-org", "z-ai"
})  # fmt: skip
OPEN_WEIGHTS: Final = re.compile(
    r"gpt-oss|llama|qwen|qwq|mixtral|gemma|phi-|deepseek-(?:r1|v3)|kimi-k2|glm-|minimax-m|nemotron|hermes|whisper-large"
)
# What a book lists at a vendor that only gives it away: the price is another's.
NOT_SOLD: Final = {"openai": re.compile(r"gpt-oss")}
# What a host sells at a price of its own, where a book passes on that of the maker.
PRICED_APART: Final = {"azure": re.compile(r"gpt-oss|deepseek|kimi|moonshot")}
# The vendor that a bare name of theirs is listed under where hosts write one.
VENDOR_OF: Final = tuple(
    (re.compile(pattern), vendor)
    for pattern, vendor in (("gpt-oss", "openai"), ("llama", "meta-llama"), ("qwen|qwq", "qwen"), ("gemma", "google"))
)

# Bedrock: a name is `[REGION.]VENDOR.MODEL[-vN:N]`, and inference profiles put a group of regions before it.
AWS_NAME: Final = re.compile(
    r"(?:(?P<region>us-gov|us|eu|apac|ap|jp|au|ca|in|sa|me|af|il|mx|uk|kr|global)\.)?"
    r"(?P<base>(?:ai21|amazon|anthropic|cohere|deepseek|google|meta|minimax|mistral|moonshotai|nvidia|openai|qwen"
    r"|stability|twelvelabs|writer|zai)\.[a-z0-9].*)"
)
AWS_REGION: Final = re.compile(r"(?P<area>us-gov|[a-z]{2})-[a-z]+-\d")
# The group of regions of a profile that sells what is called in a region of it.
AWS_AREAS: Final = {"us-gov": "us-gov", "us": "us", "eu": "eu", "ap": "apac", "ca": "ca", "sa": "sa"}
VERTEX_NAME: Final = re.compile(
    r"(?:projects/[^/]+/locations/(?P<region>[^/]+)/)?publishers/(?P<vendor>[^/]+)/models/(?P<base>.+)"
)
AZURE_REGIONS: Final = frozenset({"eu", "us", "us-gov", "global", "global-standard"})
# Which host serves it, or what it is told besides; OpenRouter reports the cost with the answer.
OPENROUTER_VARIANTS: Final = (":floor", ":nitro", ":exacto", ":online", ":thinking", ":beta")

# (provider, region pattern, model pattern) -> surcharge in hundredths of a percent, where the book has no rate of the
# region's own. The first row that fits counts; Bedrock's are the dearest that it asks in such a region.
SURCHARGES: Final = tuple(
    (provider, re.compile(region), re.compile(model), basis_points)
    for provider, region, model, basis_points in (
        ("aws", "us-gov", "", 2000),
        ("aws", "us|global", "", 0),
        ("aws", "", r"anthropic|openai", 1000),
        ("aws", "sa", "", 6800),
        ("aws", "", "", 3200),
        ("azure", "global|global-standard", "", 0),
        ("azure", "us-gov", "", 2500),
        ("azure", "", "", 1000),
        ("google", "global", "", 0),
        ("google", "", r"claude-(?:opus|sonnet|haiku|fable|mythos)-(?:4-[5-9]|[5-9])", 1000),
        ("google", "", "", 0),
    )
)
# Host -> where else its price is listed: Hugging Face passes a host's price on.
LISTED_AS: Final = {
    "cerebras": "huggingface_cerebras",
    "fireworks": "huggingface_fireworks-ai",
    "groq": "huggingface_groq",
    "hyperbolic": "huggingface_hyperbolic",
    "nebius": "huggingface_nebius",
    "novita": "huggingface_novita",
    "nscale": "huggingface_nscale",
    "ovhcloud": "huggingface_ovhcloud",
    "sambanova": "huggingface_sambanova",
    "together": "huggingface_together",
}
FIREWORKS_PATH: Final = "accounts/fireworks/models/"

# Provider -> how LiteLLM's map begins its names. "": bare, which counts where the entry names the provider.
LITELLM_PREFIXES: Final = {
    "anthropic": ("", "anthropic/"),
    "ai21": ("",),
    "aws": ("", "bedrock/", "bedrock_mantle/"),
    "azure": ("azure/", "azure_ai/"),
    "cohere": ("", "cohere/"),
    "deepseek": ("deepseek/", ""),
    "fireworks": ("fireworks_ai/", "fireworks_ai/accounts/fireworks/models/"),
    "github-copilot": ("github_copilot/",),
    "google": ("vertex_ai/", "gemini/", ""),
    "moonshotai": ("moonshot/",),
    "openai": ("", "openai/"),
    "together": ("together_ai/", ""),
    "voyageai": ("voyage/",),
    "x-ai": ("xai/",),
}
LITELLM_PROVIDERS: Final = {
    "aws": ("bedrock", "bedrock_converse"),
    "google": ("vertex_ai", "gemini"),
    "cohere": ("cohere", "cohere_chat"),
    "openai": ("openai", "text-completion-openai"),
    "together": ("together_ai",),
}
