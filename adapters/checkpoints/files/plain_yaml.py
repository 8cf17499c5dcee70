"""YAML of plain values, in which aliases cannot multiply."""

import yaml

from litgpt.domain.validation.untrusted_files import MAX_DEPTH

MAX_NODES = 100_000
"""Values once every alias is written out; a `model_config.yaml` of LitGPT has a few hundred."""


def load_plain_yaml(text: str) -> object:
    """Return the value of a YAML text; tags that name Python objects are refused.

    LitGPT writes a list that two settings share once, and an alias for the second. An alias to a node with
    aliases in it doubles with each level, so that a file of a thousand bytes takes all time and memory: what
    the aliases add up to is counted before anything is built.

    Raises:
        ValueError: Written out, it has more than `MAX_NODES` values, nests too deeply or contains itself.
        yaml.YAMLError: It is not YAML of plain values.

    """
    _check_size(text)
    return yaml.safe_load(text)


def _check_size(text: str) -> None:
    sizes: dict[str | None, int] = {}
    opened: list[tuple[str | None, int]] = []
    total = 0
    for event in yaml.parse(text, yaml.SafeLoader):
        if isinstance(event, yaml.CollectionEndEvent):
            anchor, before = opened.pop()
            sizes[anchor] = total - before
        elif isinstance(event, yaml.AliasEvent):
            if event.anchor in {anchor for anchor, _ in opened}:
                raise ValueError(f"the alias *{event.anchor} stands for a value that contains it")
            total += sizes.get(event.anchor, 1)
        elif isinstance(event, yaml.NodeEvent):
            total += 1
            if isinstance(event, yaml.CollectionStartEvent):
                opened.append((event.anchor, total - 1))
        if total > MAX_NODES or len(opened) > MAX_DEPTH:  # PyYAML's time is quadratic in the depth
            raise ValueError(
                f"it has more than {MAX_NODES} values or {MAX_DEPTH} levels, aliases written out"
            )
