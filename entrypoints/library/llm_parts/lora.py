"""LoRA adapters of an `LLM`: add, load, save, activate, merge and delete."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import attrs
from torch import Tensor

from litgpt.adapters.pytorch.lora.model_adapters import ModelAdapters
from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.adapters.pytorch.runtime.fork_guard import check_fork
from litgpt.application.concurrency.model_lock import ModelLock
from litgpt.application.load_model import LoadedModel
from litgpt.container import container
from litgpt.domain.errors import InvalidArgument, NotDistributed
from litgpt.domain.families import family_of
from litgpt.domain.lora.config import BiasMode, LoraConfig, TargetModules
from litgpt.domain.overwrite_check import adapter_content
from litgpt.domain.progress import Reporter
from litgpt.domain.reference import ModelReference, absolute_name
from litgpt.domain.validation.call_signatures import public_function
from litgpt.domain.validators import local_path
from litgpt.domain.weights.mapping import ParameterSource, map_parameters


class LoraMixin:
    """LoRA adapters.

    Methods that change the active adapter or the weights wait for answers of other threads, and raise
    ModelBusy while this thread has an unfinished stream.

    Attributes:
        adapters: The names of its adapters.
        active_adapter: The active adapter; None: the base model is used.

    """

    model: GPT | None
    _loaded: LoadedModel[Tensor]
    _lock: ModelLock
    _report: Reporter
    _adapters: ModelAdapters | None = None

    if TYPE_CHECKING:

        def _load_adapter_weights(self, adapter: str) -> None:
            """Load the weights of an adapter from a checkpoint."""

    @property
    def adapters(self) -> tuple[str, ...]:
        """The names of the model's adapters."""
        return self._current.names if self._current is not None else ()

    @property
    def active_adapter(self) -> str | None:
        """The adapter that is in use, merged or not; None: the model is as it was loaded."""
        return self._current.active if self._current is not None else None

    @public_function()
    def add_lora(  # noqa: PLR0913 - PEFT's options
        self,
        rank: int = 8,
        alpha: float = 16.0,
        dropout: float = 0.0,
        targets: TargetModules | list[str] | str = None,
        *,
        name: str = "default",
        rslora: bool = False,
        use_dora: bool = False,
        lora_bias: bool = False,
        bias: BiasMode = "none",
        modules_to_save: Sequence[str] = (),
        target_parameters: Sequence[str] = (),
        trainable_token_indices: Sequence[int] | Mapping[str, Sequence[int]] = (),
        ensure_weight_tying: bool = False,
    ) -> None:
        """Add a trainable adapter and activate it; all other parameters are frozen.

        The output does not change before training. The base weights may be quantized. The options are those
        of PEFT's LoraConfig.

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
            bias: Which of the model's own biases are trained: "none", "all" or "lora_only", those of the
                targets.
            modules_to_save: Modules that are trained whole and saved with the adapter, such as
                `embed_tokens`, `lm_head` or `norm`. PEFT compares ends of names: `norm` means every module
                whose name ends so.
            target_parameters: Parameters of experts and routers that it is for, such as
                `mlp.experts.gate_up_proj`, `mlp.experts.down_proj` or `mlp.gate.weight`.
            trainable_token_indices: Tokens whose rows of the embedding are trained, and of a head that is the
                embedding; or a mapping of `embed_tokens` and `lm_head` to tokens of each.
            ensure_weight_tying: Whether a head that is the embedding stays so where one of them is trained.

        Raises:
            NotDistributed: The model is not on a device yet.
            InvalidArgument: An argument cannot be right; of targets, the error lists those that there are.
            UnsupportedOperation: Another adapter is merged, or the model is computed by several processes.

        """
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
        """Load an adapter that this library or PEFT saved, and make it active.

        Args:
            path: The folder, with `adapter_config.json` and `adapter_model.safetensors`; or a repository on
                the Hub.
            name: What to call it.
            trainable: Whether it is to learn on; it alone has gradients then.
            revision: A branch, tag or commit of the repository.
            offline: True never asks the Hub; None does as HF_HUB_OFFLINE says.
            access_token: What the Hub knows you by; None is what huggingface_hub finds.

        Raises:
            NotDistributed: The model is not on a device yet.
            ModelNotFound: There is neither such a folder nor such a repository.
            MissingFile: A file is not there.
            InvalidCheckpoint: It is for another model.
            UnsupportedModel: The adapter is not a LoRA adapter, or has options that are not implemented.
            UnsupportedOperation: Another adapter is merged, or the model is computed by several processes.

        """
        with self._lock.using():
            self._require()
        where = str(path) if isinstance(path, Path) else path
        found = container.read_adapter()(ModelReference(where, revision, offline, access_token))
        with self._lock.changing("load_adapter()"):
            self._require().load(name, found, trainable=trainable)

    @public_function()
    def set_adapter(self, name: str | None) -> None:
        """Make another adapter the active one, at once and without a copy.

        Args:
            name: What it was called when it was added or loaded; None: use none.

        Raises:
            NotDistributed: The model is not on a device yet.
            InvalidArgument: The adapter does not exist.
            UnsupportedOperation: An adapter is merged.

        """
        with self._lock.changing("set_adapter()"):
            self._require().activate(name)

    @public_function()
    def save_adapter(self, out_dir: str | Path, name: str | None = None, *, overwrite: bool = False) -> Path:
        """Save an adapter as PEFT does, in a small folder that PEFT and `load_adapter` open; return that.

        Args:
            out_dir: The folder.
            name: Which; None is the active one.
            overwrite: Whether to replace another adapter in the folder: one for another model, or of another
                rank.

        Raises:
            WouldOverwrite: The folder holds another adapter and `overwrite` is not set, or it holds a model.
            NotDistributed: The model is not on a device yet.
            InvalidArgument: The adapter does not exist.
            UnsupportedOperation: The folder cannot be written to.

        """
        return self._save_adapter(local_path("out_dir", out_dir), name, overwrite=overwrite)

    @public_function()
    def merge_adapter(self, *, for_good: bool = False) -> None:
        """Add the active adapter to the model's weights: it costs no time then.

        Args:
            for_good: Whether it is not to be undone. Otherwise the rows of the weights that change are kept
                on the CPU, in memory, for `unmerge_adapter`.

        Raises:
            NotDistributed: The model is not on a device yet.
            UnsupportedOperation: No adapter is active, one is merged, or the weights are quantized.

        """
        with self._lock.changing("merge_adapter()"):
            self._require().merge(permanent=for_good)

    def unmerge_adapter(self) -> None:
        """Bring back the weights that were before the merge, to the bit. The adapter is active as it was.

        Raises:
            NotDistributed: The model is not on a device yet.
            UnsupportedOperation: No adapter is merged.

        """
        with self._lock.changing("unmerge_adapter()"):
            self._require().unmerge()

    @public_function()
    def delete_adapter(self, name: str) -> None:
        """Take an adapter away and free its memory. If it is the active one, none is then.

        Args:
            name: What it was called when it was added or loaded.

        Raises:
            NotDistributed: The model is not on a device yet.
            InvalidArgument: The adapter does not exist.
            UnsupportedOperation: It is merged.

        """
        with self._lock.changing("delete_adapter()"):
            self._require().delete(name)

    @property
    def _has_untied(self) -> bool:
        """Whether an adapter makes a head that was the embedding differ from it."""
        return self._current is not None and self._current.unties_head

    @property
    def _current(self) -> ModelAdapters | None:
        found = self._adapters  # a model that was placed anew has none
        return found if found is not None and found.model is self.model else None

    def _save_adapter(
        self, folder: Path, name: str | None = None, *, files: Mapping[str, bytes] = {}, overwrite: bool
    ) -> Path:
        """Save an adapter, and other files with it, by name."""
        with self._lock.using():
            adapters = self._require()
            which = adapters.active if name is None else name
            if which is None:
                there = ", ".join(map(repr, adapters.names)) or "none: add_lora() makes one"
                expected = f"that of an adapter, since none is active. There are {there}"
                raise InvalidArgument("name", name, expected)
            base = absolute_name(self._loaded.checkpoint.name)
            saved = attrs.evolve(adapters.export(which), base_model=base)
        new = adapter_content(saved.base_model, saved.config)
        with container.overwrite_guard().guard(folder, new, self._report, overwrite=overwrite):
            container.write_adapter()(folder, saved, files)
        return folder

    def _require(self) -> ModelAdapters:
        check_fork()
        if self.model is None:
            raise NotDistributed
        found = self._current
        if found is None:
            written, model_type = written_as(self._loaded)
            found = self._adapters = ModelAdapters.from_model(self.model, written, model_type)
        return found


def written_as(loaded: LoadedModel[Tensor]) -> tuple[tuple[ParameterSource, ...], str]:
    """Return how transformers writes a model's tensors, the head among them, and the name of its family."""
    family = family_of(loaded.checkpoint.name, loaded.checkpoint.config)
    return tuple(
        map_parameters(attrs.evolve(loaded.architecture, tie_word_embeddings=False), family.weights)
    ), family.model_type
