"""LoRA adapters of an `LLM`: add, load, save, activate, merge and delete."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from litgpt.application.load_model import LoadedModel
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.families import family_of
from litgpt.domain.overwrite_check import adapter_content
from litgpt.domain.reference import ModelReference, absolute_name
from litgpt.domain.validation.call_signatures import public_function
from litgpt.domain.validators import local_path
from litgpt.domain.weights.mapping import ParameterSource, map_parameters
from litgpt.llm_parts.training_module import TrainingMixin

if TYPE_CHECKING:
    from torch import Tensor

    from litgpt.adapters.pytorch.lora.model_adapters import ModelAdapters
    from litgpt.domain.lora.config import BiasMode, TargetModules


class LoraMixin(TrainingMixin):
    """LoRA adapters.

    Methods that change the active adapter or the weights wait for answers of other threads, and raise
    ModelBusy while this thread has an unfinished stream.

    Attributes:
        adapters: The names of the adapters.
        active_adapter: The active adapter; None: the base model is used.
    """

    @property
    def adapters(self) -> tuple[str, ...]:
        """The names of the adapters."""
        return self._current.names if self._current is not None else ()

    @property
    def active_adapter(self) -> str | None:
        """The active adapter, merged or not; None: the base model is used."""
        return self._current.active if self._current is not None else None

    @public_function()
    def add_lora(  # noqa: PLR0913 - PEFT's options
        self,
        rank: int = 8,
        alpha: float = 16.0,
        dropout: float = 0.0,
        targets: "TargetModules | list[str] | str" = None,
        *,
        name: str = "default",
        rslora: bool = False,
        use_dora: bool = False,
        lora_bias: bool = False,
        bias: "BiasMode" = "none",
        modules_to_save: Sequence[str] = (),
        target_parameters: Sequence[str] = (),
        trainable_token_indices: Sequence[int] | Mapping[str, Sequence[int]] = (),
        ensure_weight_tying: bool = False,
    ) -> None:
        """Add a trainable adapter and activate it; all other parameters are frozen.

        The output does not change before training. The base weights may be quantized. The options correspond
        to PEFT's LoraConfig.

        Args:
            rank: LoRA rank r.
            alpha: LoRA scaling: the update is multiplied by alpha / rank.
            dropout: Dropout probability of the LoRA inputs, from 0 to below 1.
            targets: Modules to adapt, by their names in transformers or suffixes of them, such as `q_proj`,
                `embed_tokens` or `lm_head`; or `all-linear`: all linear layers except the LM head. None: the
                query and value projections.
            name: The name of the adapter.
            rslora: Whether the update is multiplied by alpha / sqrt(rank).
            use_dora: Whether the norms of weight rows are trained separately from their direction (DoRA).
            lora_bias: Whether B has a bias.
            bias: Which biases of the model are trained: "none", "all", or "lora_only": the biases of the
                target modules.
            modules_to_save: Modules that are fully trained and saved with the adapter, such as
                `embed_tokens`, `lm_head` or `norm`. PEFT compares suffixes: `norm` matches every module whose
                name ends with it.
            target_parameters: Parameters of experts and routers to adapt, such as
                `mlp.experts.gate_up_proj`, `mlp.experts.down_proj` or `mlp.gate.weight`.
            trainable_token_indices: Token ids whose rows of the embedding, and of a tied LM head, are
                trained; or a mapping from `embed_tokens` and `lm_head` to the token ids of each.
            ensure_weight_tying: Whether a tied LM head stays tied if it or the embedding is trained.

        Raises:
            NotDistributed: The model is not on a device yet.
            InvalidArgument: An argument is not valid; for targets, the message lists the valid names.
            UnsupportedOperation: Another adapter is merged, or the model runs in several processes.
        """
        from litgpt.domain.lora.config import LoraConfig

        lora = LoraConfig(
            rank=rank,
            alpha=alpha,
            dropout=dropout,
            targets=targets,
            rslora=rslora,
            use_dora=use_dora,
            lora_bias=lora_bias,
            bias=bias,
            modules_to_save=modules_to_save,
            target_parameters=target_parameters,
            trainable_token_indices=trainable_token_indices,
            ensure_weight_tying=ensure_weight_tying,
        )
        with self._lock.changing("add_lora()"):
            self._require().add(name, lora)
            self._load_adapter_weights(name)

    @public_function()
    def load_adapter(
        self,
        path: str | Path,
        name: str = "default",
        *,
        trainable: bool = False,
        revision: str | None = None,
        offline: bool | None = None,
        access_token: str | None = None,
    ) -> None:
        """Load an adapter saved by this library or PEFT, and activate it.

        Args:
            path: The folder, with `adapter_config.json` and `adapter_model.safetensors`; or a repository on
                the Hub.
            name: The name of the adapter.
            trainable: Whether to continue its training; all other parameters are frozen then.
            revision: A branch, tag or commit of the repository.
            offline: Whether to use local files only; None: the value of HF_HUB_OFFLINE.
            access_token: Hugging Face token; None: the token that huggingface_hub finds.

        Raises:
            NotDistributed: The model is not on a device yet.
            ModelNotFound: Neither a folder nor a repository of this name was found.
            MissingFile: A file of the adapter is missing.
            InvalidCheckpoint: The adapter belongs to another model.
            UnsupportedModel: The adapter is not a LoRA adapter, or has options that are not implemented.
            UnsupportedOperation: Another adapter is merged, or the model runs in several processes.
        """
        with self._lock.using():
            self._require(weights=False)
        where = str(path) if isinstance(path, Path) else path
        adapter = self._services.read_adapter(ModelReference(where, revision, offline, access_token))
        with self._lock.changing("load_adapter()"):
            self._require(weights=trainable).load(name, adapter, trainable=trainable)

    @public_function()
    def set_adapter(self, name: str | None) -> None:
        """Activate another adapter, without copying weights.

        Args:
            name: The name of the adapter; None: use the base model.

        Raises:
            NotDistributed: The model is not on a device yet.
            InvalidArgument: The adapter does not exist.
            UnsupportedOperation: An adapter is merged.
        """
        with self._lock.changing("set_adapter()"):
            self._require(weights=False).activate(name)

    @public_function()
    def save_adapter(self, out_dir: str | Path, name: str | None = None, *, overwrite: bool = False) -> Path:
        """Save an adapter in PEFT's format, for PEFT and `load_adapter`; return the folder.

        Args:
            out_dir: The folder.
            name: The name of the adapter; None: the active adapter.
            overwrite: Whether to replace an adapter for another model, or of another rank, in the folder.

        Raises:
            WouldOverwrite: The folder contains a model, or another adapter and `overwrite` is False.
            NotDistributed: The model is not on a device yet.
            InvalidArgument: The adapter does not exist.
            UnsupportedOperation: The folder is not writable.
        """
        return self._save_adapter(local_path("out_dir", out_dir), name, overwrite=overwrite)

    @public_function()
    def merge_adapter(self, *, for_good: bool = False) -> None:
        """Add the active adapter to the model's weights, so that it does not slow down the forward pass.

        Args:
            for_good: Whether the merge is permanent. Otherwise the original rows of the changed weights are
                kept in CPU memory for `unmerge_adapter`.

        Raises:
            NotDistributed: The model is not on a device yet.
            UnsupportedOperation: No adapter is active, an adapter is merged, or the weights are quantized.
        """
        with self._lock.changing("merge_adapter()"):
            self._require().merge(permanent=for_good)

    def unmerge_adapter(self) -> None:
        """Restore the weights from before the merge, bit for bit; the adapter stays active.

        Raises:
            NotDistributed: The model is not on a device yet.
            UnsupportedOperation: No adapter is merged.
        """
        with self._lock.changing("unmerge_adapter()"):
            self._require().unmerge()

    @public_function()
    def delete_adapter(self, name: str) -> None:
        """Delete an adapter and free its memory; if it was active, the base model is used.

        Args:
            name: The name of the adapter.

        Raises:
            NotDistributed: The model is not on a device yet.
            InvalidArgument: The adapter does not exist.
            UnsupportedOperation: The adapter is merged.
        """
        with self._lock.changing("delete_adapter()"):
            self._require(weights=False).delete(name)

    @property
    def _has_untied(self) -> bool:
        """Whether an adapter unties the LM head from the embedding."""
        return self._current is not None and self._current.unties_head

    def _save_adapter(
        self, folder: Path, name: str | None = None, *, files: Mapping[str, bytes] = {}, overwrite: bool
    ) -> Path:
        """Save an adapter, and further files by name, in a folder."""
        with self._lock.using():
            adapters = self._require(weights=False)
            which = adapters.active if name is None else name
            if which is None:
                there = ", ".join(map(repr, adapters.names)) or "none: add_lora() makes one"
                expected = f"that of an adapter, since none is active. There are {there}"
                raise InvalidArgument("name", name, expected)
            base = absolute_name(self._loaded.checkpoint.name)
            saved = attrs.evolve(adapters.export(which), base_model=base)
        new = adapter_content(saved.base_model, saved.config)
        with self._services.overwrite_guard.guard(folder, new, self._report, overwrite=overwrite):
            self._services.write_adapter(folder, saved, files)
        return folder

    def _require(self, *, weights: bool = True) -> "ModelAdapters":
        """Return the adapters of this model; `weights`: on a network that has its weights.

        Adapters of a native model are otherwise attached to a network without weights until `model` is used.
        """
        from litgpt.adapters.pytorch.lora.model_adapters import ModelAdapters
        from litgpt.adapters.pytorch.lora.skeleton import skeleton
        from litgpt.adapters.pytorch.runtime.fork_guard import check_fork

        check_fork()
        if self._placed is None or ((weights or not self._uses_native_engine) and self.model is None):
            raise self._not_distributed()
        found = self._current
        if found is None:
            written, model_type = written_as(self._loaded)
            network = self._network or skeleton(self._loaded.architecture, self._placed.placement.dtype)
            found = self._adapters = ModelAdapters.from_model(network, written, model_type)
        return found


def written_as(loaded: "LoadedModel[Tensor]") -> tuple[tuple[ParameterSource, ...], str]:
    """Return the mapping to transformers' tensors, including the LM head, and the model type."""
    if loaded.is_bridged:
        return loaded.weight_sources, loaded.architecture.family
    family = family_of(loaded.checkpoint.name, loaded.checkpoint.config)
    return tuple(
        map_parameters(attrs.evolve(loaded.architecture, tie_word_embeddings=False), family.weights)
    ), family.model_type
