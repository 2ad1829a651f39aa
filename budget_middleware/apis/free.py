"""POSTs that are known, and cost nothing: they pass without a reservation."""

import re
from typing import Final

_FREE: Final = re.compile(
    r"/moderations$"
    r"|/tokenize(?:/count)?$|/detokenize$|/count_tokens$|/count-tokens$|/responses/input_tokens$|:countTokens$|:computeTokens$"
    r"|/responses/[^/]+/cancel$"
    # What a batch costs is known long after its creation, which books nothing.
    r"|/batches(?:/[^/]+/cancel)?$|:batchGenerateContent$|:asyncBatchEmbedContent$"
    r"|/files$|/uploads(?:/[^/]+/(?:parts|complete|cancel))?$"
    r"|/api/show$"
)


def is_free_route(path: str) -> bool:
    """Whether a POST to this path is known to cost nothing, behind any prefix."""
    return _FREE.search(path.rstrip("/")) is not None
