"""A folder of PEFT's: `adapter_config.json` and `adapter_model.safetensors`.

Source: https://huggingface.co/docs/peft/main/en/developer_guides/checkpoint
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from litgpt.adapters.checkpoints.mapped_file import MappedFile
from litgpt.adapters.checkpoints.on_disk import stands_in
from litgpt.adapters.checkpoints.peft_settings import PeftSettings, read_settings
from litgpt.adapters.checkpoints.safetensors_header import Entry
from litgpt.adapters.checkpoints.safetensors_index import headed
from litgpt.adapters.checkpoints.small_files import read_json
from litgpt.domain.errors import DamagedFile, MissingFile, UnsafeFile, UnsupportedModel
from litgpt.domain.lora import Adapter, Lora, Pair, TrainedTokens
from litgpt.domain.lora_experts import DOWN, GATE_UP
from litgpt.domain.lora_places import is_called

if TYPE_CHECKING:
    import torch

CONFIG = "adapter_config.json"
WEIGHTS = "adapter_model.safetensors"
PICKLE = "adapter_model.bin"
PREFIX = "base_model.model."
# PEFT's own, missing or twice in files of state dicts, and other wrappers'; and the name of an adapter.
_WRAPPERS = re.compile(r"(?:(?:base_model\.model|_orig_mod|module)\.)+")
_ADAPTER = re.compile(r"(?<=\.lora_[AB])\.default\.")
# Files with a model's own weights.
_MODELS = ("model*.safetensors", "pytorch_model*.bin", "lit_model.pth", "*.gguf")

_PAIR = re.compile(
    r"(?P<module>.+)\.(?:lora_(?P<which>[AB])\.(?P<kind>weight|bias)"
    r"|lora_embedding_(?P<embedding>[AB])|lora_magnitude_vector(?P<magnitude>(?:\.weight)?))"
)
_TOKENS = ".token_adapter.trainable_tokens_delta"
# What PEFT's wrappers add to the names of a module's own tensors.
_BASE = re.compile(r"\.(?:token_adapter\.)?base_layer(?=\.)|\.modules_to_save(?:\.default)?(?=\.)")
# The tensors of a module that was trained whole, as they were before; saved where a vocabulary was resized.
_BEFORE = ".original_module."
_MOST_NAMES = 5


def is_adapter(folder: Path) -> bool:
    """Return whether there is an adapter in a folder and no model's weights; a config may be there."""
    if not (folder / CONFIG).is_file():
        return False
    return not any(next(folder.glob(pattern), None) for pattern in _MODELS)


def read_adapter(folder: Path) -> "Adapter[torch.Tensor]":
    """Return the adapter in a folder. Its tensors are views of the file.

    What is adapted is what the tensors say; `target_modules` may be a pattern.

    Raises:
        MissingFile: A file is not there.
        DamagedFile: It is cut short, or what it says of itself cannot be true.
        UnsafeFile: The tensors are a pickle.
        UnsupportedModel: It is no LoRA, or one of a kind that is not implemented.

    """
    settings = read_settings(read_json(folder / CONFIG), where=str(folder / CONFIG))
    file, entries = _headed(folder)
    parts, embeddings, others = _sorted(entries, str(file.path))
    pairs: dict[str, Pair[torch.Tensor]] = {}
    for module, found in _named(parts, settings, str(file.path)).items():
        pair = _pair(module, found, settings, file)
        pairs[module] = attrs.evolve(pair, embedding=module in embeddings)
    tokens = {name.removesuffix(_TOKENS): entry for name, entry in others.items() if name.endswith(_TOKENS)}
    ids = _token_ids(settings.lora, list(tokens), str(file.path))
    return Adapter(
        lora=settings.lora,
        pairs=pairs,
        whole={
            _BASE.sub("", name): file.tensor(name, entry, None)
            for name, entry in others.items()
            if not name.endswith(_TOKENS)
        },
        tokens={
            module: TrainedTokens(ids[module], file.tensor(f"{module}{_TOKENS}", entry, None))
            for module, entry in tokens.items()
        },
        base=settings.base,
        revision=settings.revision,
        transposed=settings.transposed,
    )


def _sorted(
    entries: Mapping[str, Entry], where: str
) -> tuple[dict[str, dict[str, Entry]], set[str], dict[str, Entry]]:
    """Return the tensors of pairs, by module and role; which of these are embeddings; all others, by name."""
    pairs: dict[str, dict[str, Entry]] = {}
    embeddings: set[str] = set()
    others: dict[str, Entry] = {}
    is_prefixed = any(PREFIX in key for key in entries)
    for key, entry in entries.items():
        if is_prefixed and PREFIX not in key:
            raise DamagedFile(where, f"{key} does not begin with {PREFIX}, as its other tensors do.")
        name = _ADAPTER.sub(".", _unwrapped(key))
        matched = _PAIR.fullmatch(name)
        if matched is None:
            if ".lora_" in name:
                raise UnsupportedModel(
                    where, f"it has the tensor {name}, of a kind of LoRA that is not implemented."
                )
            if _BEFORE not in name:
                others[name] = entry
            continue
        which = (
            "bias" if matched["kind"] == "bias" else matched["which"] or matched["embedding"] or "magnitude"
        )
        size = 1 if which in ("bias", "magnitude") else 2
        if len(entry.info.shape) != size or not entry.info.numel:
            what = "matrix" if size == 2 else "vector"
            raise DamagedFile(where, f"{name} is {list(entry.info.shape)}, which is not a {what}.")
        pairs.setdefault(matched["module"], {})[which] = entry
        if matched["embedding"]:
            embeddings.add(matched["module"])
    if alone := [module for module, found in pairs.items() if not found.keys() >= {"A", "B"}]:
        raise DamagedFile(where, f"of {', '.join(alone[:_MOST_NAMES])} an A or a B is alone.")
    if not entries:
        raise DamagedFile(where, "there is no tensor in it.")
    return pairs, embeddings, others


def _named(
    pairs: Mapping[str, dict[str, Entry]], settings: PeftSettings, where: str
) -> dict[str, dict[str, Entry]]:
    """Return pairs by what they are for: PEFT wraps the parameters of a module one around the other.

    The tensors of the outermost have the module's name, those within it `base_layer` after that.
    """
    wrapped: dict[str, dict[int, str]] = {}
    for name in pairs:
        module, depth = name, 0
        while module.endswith(".base_layer"):
            module, depth = module.removesuffix(".base_layer"), depth + 1
        wrapped.setdefault(module, {})[depth] = name
    found: dict[str, dict[str, Entry]] = {}
    for module, by_depth in wrapped.items():
        parameters = [
            f"{module}.{leaf}"
            for leaf in (GATE_UP, DOWN)
            if any(is_called(f"{module}.{leaf}", target) for target in settings.lora.target_parameters)
        ]
        names = list(reversed(parameters)) or [module]
        if sorted(by_depth) != list(range(len(names))):
            raise DamagedFile(where, f"{module} has {len(by_depth)} pairs, and {CONFIG} says {len(names)}.")
        found |= {name: pairs[by_depth[depth]] for depth, name in enumerate(names)}
    return found


def _pair(
    module: str, found: Mapping[str, Entry], settings: PeftSettings, file: MappedFile
) -> "Pair[torch.Tensor]":
    rank, rows = settings.rank_of(module), found["A"].info.shape[0]
    is_expert = module.rpartition(".")[2] in (GATE_UP, DOWN) and settings.lora.target_parameters
    if rows % rank if is_expert else rows != rank:
        said = f"{module} has the rank {rows}, and {CONFIG} says {rank}."
        raise DamagedFile(str(file.path), said)
    tensors = {which: file.tensor(f"{module}.{which}", entry, None) for which, entry in found.items()}
    bias, magnitude = tensors.get("bias"), tensors.get("magnitude")
    return Pair(tensors["A"], tensors["B"], rank, settings.alpha_of(module), bias, magnitude)


def _token_ids(lora: Lora, modules: list[str], where: str) -> dict[str, tuple[int, ...]]:
    """Return the token ids of the modules that have trained tokens."""
    found = {}
    for module in modules:
        said = next(
            (ids for name, ids in lora.trainable_token_indices if name is None or is_called(module, name)),
            None,
        )
        if said is None:
            raise DamagedFile(where, f"{module} has trained tokens, and {CONFIG} does not say which.")
        found[module] = said
    return found


def _unwrapped(key: str) -> str:
    wrappers = _WRAPPERS.match(key)
    return key[wrappers.end() :] if wrappers else key


def _headed(folder: Path) -> tuple[MappedFile, Mapping[str, Entry]]:
    path = folder / WEIGHTS
    if error := stands_in(path):
        raise error
    if not path.is_file():
        if (folder / PICKLE).is_file():
            raise UnsafeFile(str(folder / PICKLE), "Open it with peft and save it again as safetensors.")
        raise MissingFile(str(path), f"{CONFIG} is there without the weights. Copy them there too.")
    return headed(path, {})


def tensors_of(adapter: "Adapter[torch.Tensor]") -> "Iterator[tuple[str, torch.Tensor]]":
    """Yield the tensors of a file, by PEFT's names."""
    wrapped = {module.rpartition(".")[0] for module in adapter.pairs if module.endswith(f".experts.{DOWN}")}
    for module, pair in adapter.pairs.items():
        owner, _, parameter = module.rpartition(".")
        name = module
        if owner.endswith(".experts") and parameter in (GATE_UP, DOWN):
            name = f"{owner}.base_layer" if parameter == GATE_UP and owner in wrapped else owner
        if pair.embedding:
            yield f"{PREFIX}{name}.lora_embedding_A", pair.a
            yield f"{PREFIX}{name}.lora_embedding_B", pair.b
        else:
            yield f"{PREFIX}{name}.lora_A.weight", pair.a
            yield f"{PREFIX}{name}.lora_B.weight", pair.b
        if pair.bias is not None:
            yield f"{PREFIX}{name}.lora_B.bias", pair.bias
        if pair.magnitude is not None:
            yield f"{PREFIX}{name}.lora_magnitude_vector", pair.magnitude
    for tensor, value in adapter.whole.items():
        module, _, kind = tensor.rpartition(".")
        yield f"{PREFIX}{module}.base_layer.{kind}" if module in adapter.pairs else f"{PREFIX}{tensor}", value
    for module, trained in adapter.tokens.items():
        yield f"{PREFIX}{module}{_TOKENS}", trained.rows


def settings_of(adapter: Adapter[Any]) -> dict[str, object]:
    """Return what `adapter_config.json` says of an adapter."""
    lora = adapter.lora
    ranks = {module: pair.rank for module, pair in adapter.pairs.items() if pair.rank != lora.rank}
    alphas = {module: pair.alpha for module, pair in adapter.pairs.items() if pair.alpha != lora.alpha}
    tokens = {name: list(ids) for name, ids in lora.trainable_token_indices}
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": adapter.base,
        "revision": adapter.revision,
        "inference_mode": True,
        "r": lora.rank,
        "lora_alpha": int(lora.alpha) if lora.alpha == int(lora.alpha) else lora.alpha,
        "lora_dropout": lora.dropout,
        "use_rslora": lora.rslora,
        "use_dora": lora.use_dora,
        "lora_bias": lora.lora_bias,
        "target_modules": list(adapter.targets) or None,
        "target_parameters": list(lora.target_parameters) or None,
        "modules_to_save": list(lora.modules_to_save) or None,
        "trainable_token_indices": tokens.get(None, tokens) or None,
        "ensure_weight_tying": lora.ensure_weight_tying,
        "rank_pattern": ranks,
        "alpha_pattern": alphas,
        "fan_in_fan_out": adapter.transposed,
        "bias": lora.bias,
    }
