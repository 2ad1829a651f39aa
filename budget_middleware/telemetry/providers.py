"""Whether spans go anywhere."""

from functools import cache

from opentelemetry import trace

from budget_middleware.telemetry.harmless import harmless


@harmless
def has_tracer_provider() -> bool:
    """Whether a provider was set, in code or by ``opentelemetry-instrument``.

    None, because it cannot be known, where the environment names a provider that cannot be loaded.
    """
    return not goes_nowhere(type(trace.get_tracer_provider()))


@cache
def goes_nowhere(provider: type) -> bool:
    """Whether a provider of this type makes no spans."""
    # Providers are abstract classes' children, which `isinstance` is slow to tell apart.
    return issubclass(provider, trace.ProxyTracerProvider | trace.NoOpTracerProvider)
