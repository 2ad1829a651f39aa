"""Reads a config of LiteLLM's: YAML, with the line of each setting."""

from collections.abc import Iterator
from typing import Any

from budget_middleware.operations.litellm_import.values import Config

MOST_VALUES = 1_000_000
"""A few lines of aliases that name aliases can stand for more values than any memory holds."""

SECTIONS = frozenset(("model_list", "litellm_settings", "general_settings", "router_settings", "environment_variables"))


def read_config(file: str, text: str) -> Config:
    """The config in a text; ValueError, in one line, for what is none, or without the library that reads YAML."""
    try:
        import yaml
    except ModuleNotFoundError:
        raise ValueError(f"{file}: YAML cannot be read without `pip install 'budget-middleware[import]'`") from None
    try:
        root = yaml.compose(text, Loader=yaml.SafeLoader)
        n_values = _n_written_out(root, {}) if root is not None else 0
        is_bounded = n_values <= MOST_VALUES
        tree = yaml.safe_load(text) if is_bounded else None
        lines = dict(_lines(root, ())) if root is not None and is_bounded else {}
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        # Only where: the parser's words quote the file, which may hold keys.
        mark = getattr(error, "problem_mark", None)
        raise ValueError(f"{file}: this is not YAML{f', at line {mark.line + 1}' if mark else ''}") from None
    if not is_bounded:
        raise ValueError(f"{file}: with its aliases written out it has more than {MOST_VALUES:,} values")
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


def _n_written_out(node: Any, known: dict[int, int]) -> int:
    """How many values a node stands for where each alias is written out; ``known`` are those of nodes by their id."""
    if isinstance(node.value, str):
        return 1
    if id(node) not in known:
        parts = (part for entry in node.value for part in (entry if isinstance(entry, tuple) else (entry,)))
        known[id(node)] = 1 + sum(_n_written_out(part, known) for part in parts)
    return known[id(node)]
