"""Load YAML of plain values, with a limit on alias expansion."""

import yaml

from litgpt.domain.validation.untrusted_files import MAX_DEPTH

MAX_NODES = 100_000
"""Maximum number of values after alias expansion; LitGPT's `model_config.yaml` has a few hundred."""


def load_plain_yaml(text: str) -> object:
    """Return the value of a YAML document; tags of Python objects are rejected.

    LitGPT's files contain aliases, so aliases are supported. Nested aliases grow exponentially, so the size
    after expansion is checked before anything is built.

    Raises:
        ValueError: After expansion, there are more than `MAX_NODES` values, too deep a nesting, or a cycle.
        yaml.YAMLError: The document is not YAML of plain values.
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
                raise ValueError(f"the alias *{event.anchor} refers to a value that contains it")
            total += sizes.get(event.anchor, 1)
        elif isinstance(event, yaml.NodeEvent):
            total += 1
            if isinstance(event, yaml.CollectionStartEvent):
                opened.append((event.anchor, total - 1))
        if total > MAX_NODES or len(opened) > MAX_DEPTH:  # PyYAML's run time is quadratic in the depth
            raise ValueError(
                f"it has more than {MAX_NODES} values or {MAX_DEPTH} levels after alias expansion"
            )
