"""What jobs are sold for, where no installed list has it: videos by the second, training by the token or by the hour.

Looked up on 30 November 2026, in LiteLLM's price map (1.106.12, whose entries name the provider's page) and in copies
of the providers' pages:

- Sora: both, for developers.openai.com/api/docs/pricing; 1080p in copies of that page alone. OpenAI has shut Sora down
  on 24 September 2026, and Azure goes on to serve `sora-2-pro`
- training: copies of the same page alone, reinforcement by the hour. OpenAI lets nobody new train models
- Veo: LiteLLM's map, for ai.google.dev/gemini-api/docs/pricing and cloud.google.com/vertex-ai/generative-ai/pricing;
  where these two differ it is the higher one (Veo 2)
- xAI: LiteLLM's map, for docs.x.ai/developers/pricing

A video's other prices are by its size, as `1080p` or `4k`. Azure has no price here for training: it depends on the
region and the kind of deployment.
"""

from typing import Final

from budget_middleware.core.costs.usage import UsageClass

_SORA: Final = {
    "sora-2": ("0.1", {}),
    "sora-2-pro": ("0.3", {"1024p": "0.5", "1080p": "0.7"}),
}
_VEO_FAST: Final = {"1080p": "0.12", "4k": "0.3"}
VIDEO_USD: Final[dict[tuple[str, str], tuple[str, dict[str, str]]]] = {
    **{("openai", model): price for model, price in _SORA.items()},
    **{("azure", model): price for model, price in _SORA.items()},
    ("google", "veo-2.0-generate-001"): ("0.5", {}),
    ("google", "veo-3.0-generate-001"): ("0.4", {}),
    ("google", "veo-3.0-fast-generate-001"): ("0.1", _VEO_FAST),
    **{
        ("google", f"veo-3.1{kind}-generate-{version}"): price
        for version in ("preview", "001")
        for kind, price in {
            "": ("0.4", {"4k": "0.6"}),
            "-fast": ("0.1", _VEO_FAST),
            "-lite": ("0.05", {"1080p": "0.08"}),
        }.items()
    },
    ("x-ai", "grok-imagine-video"): ("0.05", {"720p": "0.07"}),
    ("x-ai", "grok-imagine-video-1.5"): ("0.08", {"720p": "0.14", "1080p": "0.25"}),
    ("x-ai", "grok-imagine-video-1.5-lite"): ("0.02", {"720p": "0.03", "1080p": "0.14"}),
    # No list has these, and no page was looked at.
    ("aws", "amazon.nova-reel"): ("0.08", {}),
    ("aws", "luma.ray"): ("1.5", {"540p": "0.75"}),
}
"""(provider, model) -> USD for a second of video, and for one of other sizes."""

TRAINING_USD: Final = (
    (r"(?:ft:)?gpt-4\.1-nano", UsageClass.TRAINING, "1.5"),
    (r"(?:ft:)?gpt-4\.1-mini", UsageClass.TRAINING, "5"),
    (r"(?:ft:)?gpt-4\.1(?!-)", UsageClass.TRAINING, "25"),
    (r"(?:ft:)?gpt-4\.1-2025", UsageClass.TRAINING, "25"),
    (r"(?:ft:)?gpt-4o-mini(?:-2024|\Z)", UsageClass.TRAINING, "3"),
    (r"(?:ft:)?gpt-4o(?:-2024|\Z)", UsageClass.TRAINING, "25"),
    (r"(?:ft:)?gpt-3\.5-turbo", UsageClass.TRAINING, "8"),
    (r"(?:ft:)?davinci-002", UsageClass.TRAINING, "6"),
    (r"(?:ft:)?babbage-002", UsageClass.TRAINING, "0.4"),
    (r"(?:ft:)?o4-mini(?:-2025|\Z)", UsageClass.TRAINING_MS, "100"),
)
"""OpenAI's models, by a pattern from the beginning -> USD for a million tokens or for an hour of training."""
