"""Read and describe PEFT adapter folders: `adapter_config.json` and `adapter_model.safetensors`.

Source: https://huggingface.co/docs/peft/main/en/developer_guides/checkpoint
"""

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs

from litgpt.adapters.checkpoints.files.file_checks import missing_file_error
from litgpt.adapters.checkpoints.files.mmap_file import MmapFile
from litgpt.adapters.checkpoints.files.safetensors_header import TensorEntry
from litgpt.adapters.checkpoints.hf.config_files import read_json
from litgpt.adapters.checkpoints.hf.safetensors_index import open_shard
from litgpt.adapters.checkpoints.peft.config import PeftConfig, parse_peft_config
from litgpt.adapters.checkpoints.peft.folder_files import (
    CONFIG_FILE,
    PICKLE_FILE,
    WEIGHTS_FILE,
    has_model_weights,
)
from litgpt.domain.errors import CorruptFile, MissingFile, UnsafeFile, UnsupportedModel
from litgpt.domain.lora.config import LoraAdapter, LoraConfig, LoraWeights, TrainedTokens
from litgpt.domain.lora.expert_targets import DOWN, GATE_UP, UP
from litgpt.domain.lora.targets import matches_name

if TYPE_CHECKING:
    import torch

PREFIX = "base_model.model."
# Prefixes of PEFT and of other wrappers, which state dicts may lack or repeat; and the adapter's name.
_WRAPPERS = re.compile(r"(?:(?:base_model\.model|_orig_mod|module)\.)+")
_ADAPTER = re.compile(r"(?<=\.lora_[AB])\.default\.")

_LORA_KEY = re.compile(
    r"(?P<module>.+)\.(?:lora_(?P<which>[AB])\.(?P<kind>weight|bias)"
    r"|lora_embedding_(?P<embedding>[AB])|lora_magnitude_vector(?P<magnitude>(?:\.weight)?))"
)
_TRAINABLE_TOKENS = ".token_adapter.trainable_tokens_delta"
# Name components that PEFT's wrappers insert into the names of a module's own tensors.
_BASE_LAYER = re.compile(r"\.(?:token_adapter\.)?base_layer(?=\.)|\.modules_to_save(?:\.default)?(?=\.)")
# The original tensors of a module in `modules_to_save`; saved if the vocabulary was resized.
_ORIGINAL_MODULE = ".original_module."
_MAX_NAMES = 5


def _not_an_adapter(folder: Path) -> str:
    if has_model_weights(folder):
        return f"{folder} is a model, not an adapter. Load it with LLM.load."
    nested = folder / "adapter"
    instead = f" Use {nested}." if (nested / CONFIG_FILE).is_file() else ""
    return f"{folder} is not an adapter.{instead}"


def read_adapter(folder: Path) -> "LoraAdapter[torch.Tensor]":
    """Return the adapter in a folder. Its tensors are views of the file.

    The adapted modules are taken from the tensor names, because `target_modules` may be a pattern.

    Raises:
        MissingFile: `adapter_config.json` or the weights are missing.
        CorruptFile: A file is truncated or contradicts itself.
        UnsafeFile: The weights are a pickle.
        UnsupportedModel: It is not a LoRA adapter, or uses an unsupported variant.
    """
    if not (folder / CONFIG_FILE).exists() and not (folder / CONFIG_FILE).is_symlink():
        raise MissingFile(str(folder / CONFIG_FILE), _not_an_adapter(folder))
    settings = parse_peft_config(read_json(folder / CONFIG_FILE), location=str(folder / CONFIG_FILE))
    file, entries = _open_weights(folder)
    parts, embeddings, others = _group_tensors(entries, str(file.path))
    pairs: dict[str, LoraWeights[torch.Tensor]] = {}
    for module, entries_by_role in _resolve_names(parts, settings, str(file.path)).items():
        pair = _pair(module, entries_by_role, settings, file)
        pairs[module] = attrs.evolve(pair, embedding=module in embeddings)
    tokens = {
        name.removesuffix(_TRAINABLE_TOKENS): entry
        for name, entry in others.items()
        if name.endswith(_TRAINABLE_TOKENS)
    }
    ids = _token_ids(settings.config, list(tokens), str(file.path))
    return LoraAdapter(
        config=settings.config,
        weights=pairs,
        modules_to_save={
            _BASE_LAYER.sub("", name): file.tensor(name, entry, None)
            for name, entry in others.items()
            if not name.endswith(_TRAINABLE_TOKENS)
        },
        trained_tokens={
            module: TrainedTokens(ids[module], file.tensor(f"{module}{_TRAINABLE_TOKENS}", entry, None))
            for module, entry in tokens.items()
        },
        base_model=settings.base_model,
        revision=settings.revision,
        fan_in_fan_out=settings.fan_in_fan_out,
    )


def _group_tensors(
    entries: Mapping[str, TensorEntry], location: str
) -> tuple[dict[str, dict[str, TensorEntry]], set[str], dict[str, TensorEntry]]:
    """Return LoRA tensors by module and role, the modules that are embeddings, and other tensors by name."""
    pairs: dict[str, dict[str, TensorEntry]] = {}
    embeddings: set[str] = set()
    others: dict[str, TensorEntry] = {}
    is_prefixed = any(PREFIX in key for key in entries)
    for key, entry in entries.items():
        if is_prefixed and PREFIX not in key:
            raise CorruptFile(location, f"{key} does not start with {PREFIX}, unlike its other tensors.")
        name = _ADAPTER.sub(".", _unwrapped(key))
        matched = _LORA_KEY.fullmatch(name)
        if matched is None:
            if ".lora_" in name:
                raise UnsupportedModel(
                    location, f"it has the tensor {name}, which belongs to an unsupported LoRA variant."
                )
            if _ORIGINAL_MODULE not in name:
                others[name] = entry
            continue
        role = (
            "bias" if matched["kind"] == "bias" else matched["which"] or matched["embedding"] or "magnitude"
        )
        ndim = 1 if role in ("bias", "magnitude") else 2
        if len(entry.info.shape) != ndim or not entry.info.numel:
            expected = "matrix" if ndim == 2 else "vector"
            raise CorruptFile(location, f"{name} has shape {list(entry.info.shape)}; expected a {expected}.")
        pairs.setdefault(matched["module"], {})[role] = entry
        if matched["embedding"]:
            embeddings.add(matched["module"])
    incomplete = [
        module for module, entries_by_role in pairs.items() if not entries_by_role.keys() >= {"A", "B"}
    ]
    if incomplete:
        raise CorruptFile(location, f"lora_A or lora_B is missing for {', '.join(incomplete[:_MAX_NAMES])}.")
    if not entries:
        raise CorruptFile(location, "it contains no tensors.")
    return pairs, embeddings, others


def _resolve_names(
    pairs: Mapping[str, dict[str, TensorEntry]], settings: PeftConfig, location: str
) -> dict[str, dict[str, TensorEntry]]:
    """Return LoRA tensors by the name of the adapted module or parameter.

    PEFT nests the wrappers of a module's parameters. The tensors of the outermost wrapper have the module's
    name; each inner wrapper appends `.base_layer`.
    """
    wrapped: dict[str, dict[int, str]] = {}
    for name in pairs:
        module, depth = name, 0
        while module.endswith(".base_layer"):
            module, depth = module.removesuffix(".base_layer"), depth + 1
        wrapped.setdefault(module, {})[depth] = name
    resolved: dict[str, dict[str, TensorEntry]] = {}
    for module, by_depth in wrapped.items():
        parameters = [
            f"{module}.{leaf}"
            for leaf in (GATE_UP, UP, DOWN)
            if any(matches_name(f"{module}.{leaf}", target) for target in settings.config.target_parameters)
        ]
        names = list(reversed(parameters)) or [module]
        if sorted(by_depth) != list(range(len(names))):
            raise CorruptFile(
                location,
                f"{module} has {len(by_depth)} LoRA pairs, but {CONFIG_FILE} specifies {len(names)}.",
            )
        resolved |= {name: pairs[by_depth[depth]] for depth, name in enumerate(names)}
    return resolved


def _pair(
    module: str, entries: Mapping[str, TensorEntry], settings: PeftConfig, file: MmapFile
) -> "LoraWeights[torch.Tensor]":
    rank, rows = settings.rank_of(module), entries["A"].info.shape[0]
    is_expert = module.rpartition(".")[2] in (GATE_UP, UP, DOWN) and settings.config.target_parameters
    if rows % rank if is_expert else rows != rank:
        reason = f"{module} has rank {rows}, but {CONFIG_FILE} specifies {rank}."
        raise CorruptFile(str(file.path), reason)
    tensors = {role: file.tensor(f"{module}.{role}", entry, None) for role, entry in entries.items()}
    bias, magnitude = tensors.get("bias"), tensors.get("magnitude")
    return LoraWeights(tensors["A"], tensors["B"], rank, settings.alpha_of(module), bias, magnitude)


def _token_ids(config: LoraConfig, modules: list[str], location: str) -> dict[str, tuple[int, ...]]:
    token_ids = {}
    for module in modules:
        indices = next(
            (
                ids
                for name, ids in config.trainable_token_indices
                if name is None or matches_name(module, name)
            ),
            None,
        )
        if indices is None:
            reason = f"{module} has trained tokens, but {CONFIG_FILE} does not list their token ids."
            raise CorruptFile(location, reason)
        token_ids[module] = indices
    return token_ids


def _unwrapped(key: str) -> str:
    wrappers = _WRAPPERS.match(key)
    return key[wrappers.end() :] if wrappers else key


def _open_weights(folder: Path) -> tuple[MmapFile, Mapping[str, TensorEntry]]:
    path = folder / WEIGHTS_FILE
    if error := missing_file_error(path):
        raise error
    if not path.is_file():
        if (folder / PICKLE_FILE).is_file():
            raise UnsafeFile(str(folder / PICKLE_FILE), "Load it with peft and save it as safetensors.")
        raise MissingFile(str(path), f"the folder has {CONFIG_FILE} but no weights. Copy the weights too.")
    return open_shard(path, {})


def to_peft_tensors(adapter: "LoraAdapter[torch.Tensor]") -> "Iterator[tuple[str, torch.Tensor]]":
    """Yield the tensors of `adapter_model.safetensors` under PEFT's names."""
    wrapped = {module.rpartition(".")[0] for module in adapter.weights if module.endswith(f".experts.{DOWN}")}
    for module, pair in adapter.weights.items():
        owner, _, parameter = module.rpartition(".")
        name = module
        if owner.endswith(".experts") and parameter in (GATE_UP, UP, DOWN):
            name = f"{owner}.base_layer" if parameter in (GATE_UP, UP) and owner in wrapped else owner
        if pair.embedding:
            yield f"{PREFIX}{name}.lora_embedding_A", pair.lora_A
            yield f"{PREFIX}{name}.lora_embedding_B", pair.lora_B
        else:
            yield f"{PREFIX}{name}.lora_A.weight", pair.lora_A
            yield f"{PREFIX}{name}.lora_B.weight", pair.lora_B
        if pair.bias is not None:
            yield f"{PREFIX}{name}.lora_B.bias", pair.bias
        if pair.magnitude is not None:
            yield f"{PREFIX}{name}.lora_magnitude_vector", pair.magnitude
    for tensor, value in adapter.modules_to_save.items():
        module, _, kind = tensor.rpartition(".")
        yield (
            f"{PREFIX}{module}.base_layer.{kind}" if module in adapter.weights else f"{PREFIX}{tensor}",
            value,
        )
    for module, trained in adapter.trained_tokens.items():
        yield f"{PREFIX}{module}{_TRAINABLE_TOKENS}", trained.rows


def to_peft_config(adapter: LoraAdapter[Any]) -> dict[str, object]:
    """Return the content of `adapter_config.json`."""
    lora = adapter.config
    ranks = {module: pair.rank for module, pair in adapter.weights.items() if pair.rank != lora.rank}
    alphas = {module: pair.alpha for module, pair in adapter.weights.items() if pair.alpha != lora.alpha}
    tokens = {name: list(ids) for name, ids in lora.trainable_token_indices}
    return {
        "peft_type": "LORA",
        "task_type": "CAUSAL_LM",
        "base_model_name_or_path": adapter.base_model,
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
        "fan_in_fan_out": adapter.fan_in_fan_out,
        "bias": lora.bias,
    }
