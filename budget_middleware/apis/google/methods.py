"""Where Google's servers have the methods that generate: beside a model, and as methods of a service.

A service is what gRPC calls; for browsers the same servers answer its methods over HTTP, behind `$rpc`. There the body
alone names the model. One in binary is not read, so nobody knows its model, and a limit of money refuses it.
"""

import re
from typing import Final

from budget_middleware.apis.routes.paths import ends_in, ends_in_after

# A tuned model, or an endpoint of one's own, stands where the model does.
_AT_MODELS: Final = ends_in_after(
    ("/models/", "/tunedModels/", "/dynamic/", "/endpoints/"),
    "(?P<model>.+):(?=[a-z])(?:generateContent|streamGenerateContent|embedContent|batchEmbedContents)",
)
_AT_SERVICES: Final = ends_in(
    r"/google\.(?:ai\.generativelanguage|cloud\.aiplatform)\.v[0-9a-z]{1,12}\.(?:Generative|Prediction)Service"
    "/(?!Bidi|Count|Compute)[a-z]+"
)
GENERATES: Final = re.compile(f"{_AT_MODELS.pattern}|{_AT_SERVICES.pattern}", _AT_MODELS.flags)
