"""Reads a config of LiteLLM's: YAML, with the line of each setting."""

from collections.abc import Iterator
from typing import Any

from budget_middleware.operations.litellm_import.values import Config

SECTIONS = frozenset(("model_list", "litellm_settings", "general_settings", "router_settings", "environment_variables"))


def read_config(file: str, text: str) -> Config:
    """The config in a text; ValueError, in one line, for what is none, or without the library that reads YAML."""
    try:
        import yaml
    except ModuleNotFoundError:
        raise ValueError(f"{file}: YAML cannot be read without `pip install 'budget-middleware[import]'`") from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        tree = yaml.safe_load(text)
        lines = dict(_lines(root, ())) if root is not None else {}
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        # Only where: the parser's words quote the file, which may hold keys.
        mark = getattr(error, "problem_mark", None)
        raise ValueError(f"{file}: this is not YAML{f', at line {mark.line + 1}' if mark else ''}") from None
    if not isinstance(tree, dict) or not SECTIONS & tree.keys():
        raise ValueError(f"{file}: it has none of {', '.join(sorted(SECTIONS))}, so it is no config of LiteLLM")
    return Config(file, tree, lines)


def _lines(node: Any, path: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], int]]:
    if isinstance(node.value, str):
        return
    for at, entry in enumerate(node.value):
        name_node, value = entry if isinstance(entry, tuple) else (entry, entry)
        name = str(name_node.value) if isinstance(entry, tuple) else str(at)
        # Of a setting that stands twice the last one is in force, as in LiteLLM.
        yield (*path, name), name_node.start_mark.line + 1
        yield from _lines(value, (*path, name))
