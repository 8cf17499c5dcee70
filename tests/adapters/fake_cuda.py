"""CUDA devices without a GPU: fake tensors with a device, a dtype and a shape, but no contents.

torch's `FakeTensorMode` applies each operator's rules, so an operator whose arguments are on different
devices raises; here a CPU-only operator raises too. No numbers are computed. `.item()` and `.tolist()`
raise as well: on a GPU they would synchronize.

    with fake_cuda():
        backward(on_cuda(model).loss(ids, ids))
"""

import ctypes
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor, nn
from torch._subclasses.fake_tensor import FakeTensorMode
from torch.overrides import TorchFunctionMode
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

ModuleT = TypeVar("ModuleT", bound=nn.Module)

# Indexes into c10's table of device guards (c10/core/DeviceType.h).
_CUDA, _META = 1, 14


@contextmanager
def fake_cuda() -> Iterator[FakeTensorMode]:
    """Allow tensors to be created on, and moved to, `cuda:0`, `cuda:1` and so on.

    A real CPU tensor that meets fake ones is treated as a CPU tensor.
    """
    overwrite = torch.__future__.get_overwrite_module_params_on_conversion()
    torch.__future__.set_overwrite_module_params_on_conversion(True)
    one_device = _OneDevice()  # type: ignore[no-untyped-call]
    try:
        with _guard(), FakeTensorMode(allow_non_fake_inputs=True) as mode, one_device, _Truth():
            yield mode
    finally:
        torch.__future__.set_overwrite_module_params_on_conversion(overwrite)


def on_cuda(module: ModuleT, device: str = "cuda:0", dtype: torch.dtype | None = None) -> ModuleT:
    """Return a module moved by its own `to`; a parameter that is shared stays shared.

    Tensors that a module holds outside of parameters and buffers are not moved, as on a GPU.
    """
    places: dict[Tensor, list[tuple[nn.Module, str]]] = {}
    for part in module.modules():
        for name, parameter in part.named_parameters(recurse=False):
            places.setdefault(parameter, []).append((part, name))
    module.to(device=device, dtype=dtype)
    for (first, name), *others in places.values():
        for other, alias in others:
            setattr(other, alias, getattr(first, name))
    return module


def backward(loss: Tensor) -> None:
    """Run backward node by node: the engine of `loss.backward()` requires the streams of a real device.

    Each leaf that requires gradients gets one in `grad`.
    """
    assert loss.grad_fn is not None
    arrived: dict[Any, dict[int, Tensor]] = {loss.grad_fn: {0: torch.ones_like(loss)}}
    for node in _in_order(loss.grad_fn):
        inputs = arrived.pop(node, {})
        if not inputs:
            continue
        if hasattr(node, "variable"):
            leaf, gradient = node.variable, inputs[0]
            leaf.grad = gradient if leaf.grad is None else leaf.grad + gradient
            continue
        gradients = [inputs.get(at) for at in range(len(node._input_metadata))]
        in_python = isinstance(node, torch.autograd.function.BackwardCFunction)
        if in_python:
            gradients = [
                torch.zeros(value.shape, dtype=value.dtype, device=value.device)
                if gradient is None
                else gradient
                for value, gradient in zip(node._input_metadata, gradients, strict=True)
            ]
            results = node.apply(*gradients)
        else:
            results = node(*gradients)
        results = results if isinstance(results, tuple) else (results,)
        for gradient, (after, at) in zip(results, node.next_functions, strict=False):
            if after is not None and gradient is not None:
                pending, addend = arrived.setdefault(after, {}), _like(gradient, after._input_metadata[at])
                pending[at] = addend if at not in pending else pending[at] + addend


def _like(gradient: Tensor, expected: Any) -> Tensor:
    """Return a gradient with the shape and dtype of its target, as torch's engine does."""
    assert gradient.device == expected.device, f"a gradient on {gradient.device} for {expected.device}"
    return gradient.sum_to_size(*expected.shape).to(expected.dtype)


def _in_order(root: Any) -> list[Any]:
    """Return the nodes of a graph in topological order."""
    done: list[Any] = []
    seen: set[Any] = set()
    stack: list[tuple[Any, bool]] = [(root, False)]
    while stack:
        node, left = stack.pop()
        if left:
            done.append(node)
        elif node not in seen:
            seen.add(node)
            stack.append((node, True))
            stack += [(after, False) for after, _ in node.next_functions if after is not None]
    return done[::-1]


class _Truth(TorchFunctionMode):
    """Answers `if tensor:` with True, as for the number of target tokens, which is never 0 here."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Any = (), kwargs: Any = None
    ) -> Any:
        if func is Tensor.__bool__:
            return True
        return func(*args, **(kwargs or {}))


class _OneDevice(TorchDispatchMode):
    """Refuses what fake tensors let pass: CPU-only operators, and mixed devices in custom operators."""

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        kwargs = kwargs or {}
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        devices = {tensor.device for tensor in tensors}
        name = func._schema.name
        if any(device.type == "cuda" for device in devices):
            assert not name.endswith(("_for_cpu", "_weight_int8pack_mm", "_dynamic")), f"{name} is of CPUs"
            assert name.startswith("aten::") or len(devices) == 1, f"{name} was given {devices}"
        return func(*args, **kwargs)


@contextmanager
def _guard() -> Iterator[None]:
    """Give a torch build without CUDA the meta device's guard for CUDA devices."""
    library = ctypes.CDLL(str(Path(torch.__file__).parent / "lib" / "libc10.so"))
    table = (ctypes.c_void_p * (_META + 1)).in_dll(library, "_ZN3c104impl26device_guard_impl_registryE")
    cuda_guard = table[_CUDA]
    if cuda_guard is None:
        table[_CUDA] = table[_META]
    try:
        yield
    finally:
        table[_CUDA] = cuda_guard
