"""Read the end-of-sequence tokens of a checkpoint's configuration."""

from collections.abc import Mapping

from litgpt.domain.errors import CorruptFile
from litgpt.domain.families.multimodal import text_config
from litgpt.domain.validators import is_integer


def eos_token_ids(config: Mapping[str, object], generation_config: Mapping[str, object]) -> frozenset[int]:
    """Return the union of `eos_token_id`, a token or a list of tokens, of both configs."""
    return (
        _token_ids("config.json", text_config(config))
        | _token_ids("config.json", config)
        | _token_ids("generation_config.json", generation_config)
    )


def _token_ids(file: str, config: Mapping[str, object]) -> frozenset[int]:
    value = config.get("eos_token_id")
    if value is None:
        return frozenset()
    ids = list(value) if isinstance(value, (list, tuple)) else [value]
    tokens = [token for token in ids if is_integer(token, 0)]
    if len(tokens) != len(ids):
        raise CorruptFile(
            file, f"'eos_token_id' is {value!r}, which is not a token id or a list of token ids."
        )
    return frozenset(tokens)
