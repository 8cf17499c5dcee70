"""Which tokens end an answer, by a checkpoint's own configuration."""

from collections.abc import Mapping

from litgpt.domain.errors import CorruptFile
from litgpt.domain.families.multimodal import text_config
from litgpt.domain.validators import is_integer


def eos_token_ids(config: Mapping[str, object], generation_config: Mapping[str, object]) -> frozenset[int]:
    """Return every `eos_token_id` of the two: one token, a list of them, or none.

    Args:
        config: The contents of `config.json`.
        generation_config: The contents of `generation_config.json`.

    Raises:
        DamagedFile: One of them is no token.

    """
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
    tokens = [one for one in ids if is_integer(one, 0)]
    if len(tokens) != len(ids):
        raise CorruptFile(file, f"its 'eos_token_id' is {value!r}, which is no token and no list of tokens.")
    return frozenset(tokens)
