"""Determine transformers' tokenizer class of a folder, and the class's default special tokens.

Source: `AutoTokenizer.from_pretrained` and `TOKENIZER_MAPPING_NAMES` of transformers 5.24.
"""

from collections.abc import Mapping

_GENERIC_CLASSES = frozenset({"TokenizersBackend", "PythonBackend", "PreTrainedTokenizer"})

_BY_MODEL_TYPE: Mapping[str, str] = {
    **dict.fromkeys(("gpt2", "gpt_neo", "gptj", "opt", "phi", "starcoder2"), "GPT2Tokenizer"),
    **dict.fromkeys(("gpt_neox", "mpt", "olmo", "olmoe"), "GPTNeoXTokenizer"),
    **dict.fromkeys(("qwen2", "qwen2_moe", "qwen3", "qwen3_moe", "qwen3_next"), "Qwen2Tokenizer"),
    **dict.fromkeys(
        ("qwen3_5", "qwen3_5_moe", "qwen3_5_text", "qwen3_5_moe_text"),
        "Qwen3_5Tokenizer",
    ),
    **dict.fromkeys(
        ("mistral", "mistral3", "mixtral", "ministral", "ministral3", "phi3"), "TokenizersBackend"
    ),
}
_MISLABELED_MODEL_TYPES = frozenset({"qwen2", "qwen3_5", "qwen3_5_moe", "qwen3_5_moe_text", "phi3"})
"""Models whose published `tokenizer_class` is wrong."""

_GPT2 = dict.fromkeys(("unk_token", "bos_token", "eos_token"), "<|endoftext|>")
_QWEN2 = dict.fromkeys(("unk_token", "eos_token", "pad_token"), "<|endoftext|>")

DEFAULT_SPECIAL_TOKENS: Mapping[str, Mapping[str, str]] = {
    "GPT2Tokenizer": _GPT2,
    "CodeGenTokenizer": _GPT2,
    "GPTNeoXTokenizer": {**_GPT2, "pad_token": "<|padding|>"},
    "Qwen2Tokenizer": _QWEN2,
    "Qwen3_5Tokenizer": _QWEN2,
    "BertTokenizer": {
        "unk_token": "[UNK]",
        "sep_token": "[SEP]",
        "pad_token": "[PAD]",
        "cls_token": "[CLS]",
        "mask_token": "[MASK]",
    },
}
"""Default special tokens of each class."""

TEKKEN_SPECIAL_TOKENS: Mapping[str, str] = {"unk_token": "<unk>", "bos_token": "<s>", "eos_token": "</s>"}
"""Names of the first tokens of a `tekken.json` in mistral-common, which adds `<s>` before a text."""


def tokenizer_class(config: Mapping[str, object], model: Mapping[str, object]) -> str | None:
    """Return the class without the suffix `Fast`; None if neither config names one, or a generic one."""
    model_type = str(model.get("model_type"))
    named = config.get("tokenizer_class") or model.get("tokenizer_class")
    registered = _BY_MODEL_TYPE.get(model_type)
    if not isinstance(named, str) or model_type in _MISLABELED_MODEL_TYPES:
        named = registered
    short = named.removesuffix("Fast") if named else None
    if short == "LlamaTokenizer" and registered in _GENERIC_CLASSES:
        return None
    return None if short in _GENERIC_CLASSES else short
