"""The torch module that an `LLM` becomes when it is used as one."""

import threading
from collections.abc import Iterator
from functools import cache
from typing import Any, Self

from torch import nn

from litgpt.domain.progress import Notice
from litgpt.llm_parts.base import BaseLLM, build_network, built_version, is_native
from litgpt.llm_parts.training_module import ADAPTER, TrainingMixin

_MODEL_PREFIX = "model."
_CLASS = object.__dict__["__class__"]

_changing = threading.RLock()  # reentrant, as the garbage collector may use another LLM meanwhile


class LLMModule(TrainingMixin, nn.Module):
    """The methods of an `LLM` as a torch module, for optimizers, strategies and training loops.

    A native model builds its torch network when one of its modules or parameters is asked for.
    """

    __class__ = _CLASS
    __call__ = nn.Module.__call__
    __setattr__ = nn.Module.__setattr__

    def __getattr__(self, name: str) -> Any:
        """Build the torch network of a native model when it is first accessed."""
        placed: Any = self.__dict__.get("_placed")
        if name != "model" or self._network is not None or not is_native(placed):
            return nn.Module.__getattr__(self, name)
        network = placed.network
        if self._adapters is not None:
            self._adapters = self._adapters.moved_to(network)
        self.model, self._built = network, (network, built_version(network))
        return network

    def named_modules(
        self,
        memo: set[nn.Module] | None = None,
        prefix: str = "",
        remove_duplicate: bool = True,  # noqa: FBT001, FBT002 - torch's signature
    ) -> Iterator[tuple[str, nn.Module]]:
        """Return the modules, also for `parameters`; a native model builds its torch network.

        Args:
            memo: Modules that are left out.
            prefix: Prefix of the names.
            remove_duplicate: Whether a module with several names is returned once.
        """
        build_network(self)
        modules: Iterator[tuple[str, nn.Module]] = super().named_modules(memo, prefix, remove_duplicate)
        return modules

    def load_state_dict(self, *arguments: Any, **options: Any) -> Any:
        """Load weights as torch modules do, after active answers have ended."""
        with self._lock.changing("load_state_dict()"):
            return super().load_state_dict(*arguments, **options)

    def _apply(self, *arguments: Any, **options: Any) -> Self:
        """Convert or move all weights, for `to`, `half` and similar methods."""
        with self._lock.changing("Moving or converting it"):
            build_network(self)
            super()._apply(*arguments, **options)  # type: ignore[no-untyped-call]
            return self

    def _fqn_modifiers(self) -> dict[str, str]:
        """Name the module level that state dicts omit, for torch.distributed.checkpoint."""
        return {} if self.model is None else {name: "model" for name, _ in self.model.named_children()}

    def _restore_model_level(self, state: dict[str, Any], prefix: str, *_: object) -> None:
        """Rename `llm.lm_head.weight` to `llm.model.lm_head.weight`, and build the model if necessary."""
        if self.model is None:
            self._build_to_load(state, prefix)
        if self.model is None:
            return
        if self._placed and not self._is_trainable:  # distribute() placed it
            self._is_loaded = any(key.startswith(prefix) for key in state)
        for name in [key for key in state if key.startswith(prefix)]:
            if not name.startswith(f"{prefix}{_MODEL_PREFIX}"):
                state[f"{prefix}{_MODEL_PREFIX}{name.removeprefix(prefix)}"] = state.pop(name)

    def _build_to_load(self, state: dict[str, Any], prefix: str) -> None:
        """Build the model for `load_from_checkpoint`, which loads weights before `setup`.

        Adapter weights are removed from the state dict and kept until `add_lora` creates the adapter.
        """
        names = [name for name in state if name.startswith(prefix)]
        if not names:
            return
        self.trainer_setup()
        self._is_loaded = True
        there = self.state_dict()
        for name in names:
            own = name.removeprefix(prefix)
            if own not in there and ADAPTER.search(own):
                self._adapter_weights[own] = state.pop(name)
        if self._adapter_weights:
            needed = "call add_lora() with the settings that it was trained with; it takes them over"
            self._report(Notice(f"The checkpoint has the weights of a LoRA adapter: {needed}."))


def become_module(llm: BaseLLM) -> type[Any]:
    """Make a module of an `LLM`, unless it is one; return a subclass of its class.

    `isinstance` asks for `__class__` only after `type(llm)` did not match, and ignores an answer equal to it.
    """
    with _changing:
        if "_modules" not in llm.__dict__:
            llm.__dict__.update(nn.Module().__dict__)
            # Called on the class: `llm` must not become a module for other threads before it has its hooks.
            module: Any = nn.Module
            module.register_state_dict_pre_hook(llm, build_network)
            module.register_state_dict_post_hook(llm, _hide_model_level)
            restore = LLMModule._restore_model_level  # noqa: SLF001 - of this module
            module._register_load_state_dict_pre_hook(llm, restore, with_module=True)  # noqa: SLF001
        cls: Any = type(llm)
        if not issubclass(cls, LLMModule):
            cls = _subclass(cls, LLMModule)
            _CLASS.__set__(llm, cls)
        return _subclass(cls)


@cache
def _subclass(*bases: Any) -> type[Any]:
    """Return a class derived from `bases`, with the name of the first."""
    first = bases[0]
    namespace = {"__doc__": first.__doc__, "__module__": first.__module__, "__qualname__": first.__qualname__}
    return type(first.__name__, bases, namespace)


def _hide_model_level(_: nn.Module, state: dict[str, Any], prefix: str, __: object) -> None:
    """Rename `llm.model.lm_head.weight` to `llm.lm_head.weight`, as in LitGPT."""
    for name in [key for key in state if key.startswith(f"{prefix}{_MODEL_PREFIX}")]:
        state[prefix + name.removeprefix(f"{prefix}{_MODEL_PREFIX}")] = state.pop(name)
