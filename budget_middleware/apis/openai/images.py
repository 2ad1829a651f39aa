"""OpenAI images: generations, edits and variations, billed by the token or by the image."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from budget_middleware.apis.bodies.form import files_in
from budget_middleware.apis.bodies.reading import list_of, mapping_of, name_in, whole_number
from budget_middleware.apis.counting.input import Count
from budget_middleware.apis.protocol.base import Ask
from budget_middleware.apis.protocol.seen import Seen
from budget_middleware.apis.routes.paths import ends_in
from budget_middleware.apis.shared.failures import read_failure
from budget_middleware.apis.shared.json_api import JsonApi
from budget_middleware.apis.shared.openai_usage import read_openai_usage
from budget_middleware.core.costs.pricing import Usage, UsageClass

MAX_IMAGES: Final = 10

# Output tokens of an image by quality and size, as OpenAI lists them; "auto" may be any of them, and no size is listed
# first: then it may be the largest.
_TOKENS: Final = {
    "low": {"": 408, "1024x1024": 272, "1024x1536": 408, "1536x1024": 400},
    "medium": {"": 1_584, "1024x1024": 1_056, "1024x1536": 1_584, "1536x1024": 1_568},
    "high": {"": 6_240, "1024x1024": 4_160, "1024x1536": 6_240, "1536x1024": 6_208},
}
_PARTIAL_IMAGE_TOKENS: Final = 100


class OpenAIImages(JsonApi):
    """`POST …/images/generations`, `…/images/edits` and `…/images/variations`."""

    name = "openai-images"
    provider = "openai"
    path = ends_in("/images/(?:generations|edits|variations)")
    input_fields = ("image", "images", "input_image")

    def unread_units(self, n_bytes: int) -> dict[str, int]:  # noqa: ARG002 - however long it is
        """An image."""
        return {"images": 1}

    def read_ask(self, body: Mapping[str, object], *, path: str, n_bytes: int) -> Ask:
        """Read a request: tokens for those models that count them, images for the others."""
        ask = super().read_ask(body, path=path, n_bytes=n_bytes)
        images = self.choices(body)
        return replace(
            ask,
            input=replace(ask.input, images=images),
            worst_input=replace(ask.worst_input, images=images),
            output_unit=UsageClass.OUTPUT_IMAGE,
            modes=_modes(body),
        )

    def count(self, body: Mapping[str, object]) -> Count:
        """Count the prompt, and the images that are sent as files of a form."""
        count = super().count(body)
        for file in files_in(body):
            count.add_image(file.head)
            count.media_bytes += file.n_bytes
        return count

    def max_output_tokens(self, body: Mapping[str, object]) -> int | None:
        """The tokens of one image, with the partial ones that are asked for."""
        tokens = image_tokens(body.get("quality"), body.get("size"))
        return tokens + _PARTIAL_IMAGE_TOKENS * (whole_number(body, "partial_images", at_most=MAX_IMAGES) or 0)

    def choices(self, body: Mapping[str, object]) -> int:
        """The number of images."""
        return whole_number(body, "n", at_most=MAX_IMAGES) or 1

    def read_json(self, document: object, seen: Seen) -> None:
        """Read the usage of the models that count tokens; for the others, the request says how many images."""
        answer = mapping_of(document)
        read_failure(answer, seen)
        seen.has_results |= bool(answer.get("data") or answer.get("b64_json"))
        read_openai_usage(answer, seen, draws=True)
        # Sold by the image, those count that came, which may be fewer than were asked for.
        if seen.usage is None and (images := len(list_of(answer.get("data")))):
            seen.take_usage(Usage(images=images))


def image_tokens(quality: object, size: object) -> int:
    """The output tokens of one image; the most of what is listed where quality or size are not."""
    by_size = _TOKENS.get(quality if isinstance(quality, str) else "", _TOKENS["high"])
    return by_size.get(size if isinstance(size, str) else "", by_size[""])


def _modes(body: Mapping[str, object]) -> tuple[str, ...]:
    """What the price of an image depends on: its size, its quality, and both together."""
    size, quality = name_in(body, "size"), name_in(body, "quality")
    both = f"{quality}/{size}" if size and quality else None
    return tuple(filter(None, (size, quality, both)))
