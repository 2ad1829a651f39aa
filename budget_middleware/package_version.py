"""The version of this package."""

from importlib import metadata


def package_version() -> str:
    """As it is installed; empty where it runs from a source tree alone."""
    try:
        return metadata.version("budget-middleware")
    except metadata.PackageNotFoundError:
        return ""
