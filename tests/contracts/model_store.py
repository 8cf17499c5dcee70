"""Contract tests of the port ModelStore, for all adapters and the fake."""

from collections.abc import Mapping
from typing import Any, ClassVar, get_args

import pytest

from litgpt.domain.errors import InvalidArgument, ModelNotFound
from litgpt.domain.ports import Checkpoint, ModelStore
from litgpt.domain.progress import null_reporter
from litgpt.domain.reference import ModelReference
from litgpt.domain.tokenizer_source import TokenizerFiles
from litgpt.domain.weights.tensor_info import DType
from tests.contracts.raw_tensors import decode, stored_bytes

# Storage dtypes of tensors that are returned unchanged, and their names in torch.
PLAIN = {"F32": "float32", "BF16": "bfloat16", "F16": "float16"}


def dtype_of(tensor: Any) -> str:
    return str(tensor.dtype).removeprefix("torch.")


class ModelStoreContract:
    """Base class: subclasses provide a store with one model, as a fixture."""

    model: ClassVar[str] = "tiny"
    """The name of the model in the store."""

    has_stored_bytes: ClassVar[bool] = True
    """Whether the model has tensors with `raw` bytes."""

    @pytest.fixture
    def store(self) -> ModelStore[Any]:
        """Return a store with one model, named `self.model`."""
        raise NotImplementedError

    @pytest.fixture
    def checkpoint(self, store: ModelStore[Any]) -> Checkpoint[Any]:
        return store.open(ModelReference(self.model))

    def test_an_unknown_model_is_an_error_with_the_places_searched(self, store: ModelStore[Any]) -> None:
        with pytest.raises(ModelNotFound, match="no-such-model") as caught:
            store.open(ModelReference("no-such-model"))
        assert caught.value.searched
        assert all(where in store.location for where in caught.value.searched)

    def test_an_unknown_model_is_not_found_at_any_revision(self, store: ModelStore[Any]) -> None:
        with pytest.raises(ModelNotFound):
            store.open(ModelReference("no-such-model", revision="v1"))

    def test_the_placement_is_described(self, store: ModelStore[Any]) -> None:
        assert store.location.strip()

    def test_its_names_have_the_model(self, store: ModelStore[Any]) -> None:
        assert self.model in list(store.names())

    def test_a_model_has_its_requested_name_and_location(self, checkpoint: Checkpoint[Any]) -> None:
        assert checkpoint.name == self.model
        assert checkpoint.origin.strip()
        assert checkpoint.folder is None or checkpoint.folder.is_dir()

    def test_the_config_names_the_family(self, checkpoint: Checkpoint[Any]) -> None:
        assert isinstance(checkpoint.config, Mapping)
        assert isinstance(checkpoint.config["model_type"], str)
        assert isinstance(checkpoint.generation_config, Mapping)

    def test_notes_are_sentences(self, checkpoint: Checkpoint[Any]) -> None:
        assert isinstance(checkpoint.notes, tuple)
        assert all(note.strip().endswith(".") for note in checkpoint.notes)

    def test_the_tokenizer_files_that_are_listed_exist(self, checkpoint: Checkpoint[Any]) -> None:
        tokenizer = checkpoint.read_tokenizer()
        if isinstance(tokenizer, TokenizerFiles):
            for name, path in tokenizer.paths.items():
                assert path.is_file()
                assert path.name == name

    def test_every_tensor_has_the_promised_shape(self, checkpoint: Checkpoint[Any]) -> None:
        checkpoint.fetch(null_reporter)
        assert checkpoint.tensors
        for name, info in checkpoint.tensors.items():
            assert tuple(checkpoint.read(name).shape) == info.shape, name
            assert info.nbytes > 0

    def test_a_tensor_comes_as_it_is_stored_or_in_float32(self, checkpoint: Checkpoint[Any]) -> None:
        checkpoint.fetch(null_reporter)
        for name, info in checkpoint.tensors.items():
            assert dtype_of(checkpoint.read(name)) == PLAIN.get(info.storage_format, "float32"), name

    @pytest.mark.parametrize("dtype", get_args(DType))
    def test_a_tensor_is_read_in_the_requested_dtype(self, checkpoint: Checkpoint[Any], dtype: DType) -> None:
        checkpoint.fetch(null_reporter)
        name, info = min(checkpoint.tensors.items(), key=lambda item: item[1].nbytes)
        tensor = checkpoint.read(name, dtype)
        assert dtype_of(tensor) == dtype
        assert tuple(tensor.shape) == info.shape

    def test_a_tensor_that_is_not_there_is_named_in_the_error(self, checkpoint: Checkpoint[Any]) -> None:
        checkpoint.fetch(null_reporter)
        for method in (checkpoint.read, checkpoint.raw):
            with pytest.raises(InvalidArgument, match=r"no\.such\.tensor"):
                method("no.such.tensor")

    def test_the_stored_bytes_of_a_tensor_are_the_values_that_are_read(
        self, checkpoint: Checkpoint[Any]
    ) -> None:
        checkpoint.fetch(null_reporter)
        stored = stored_bytes(checkpoint)
        assert bool(stored) == self.has_stored_bytes
        checkpoint.close()
        for raw in stored.values():  # they stay valid after closing and after their pages were dropped
            before = decode(raw).tobytes()
            for part in raw.parts:
                part.drop_pages()
            assert decode(raw).tobytes() == before

    def test_tensors_stay_valid_after_the_model_is_closed(self, store: ModelStore[Any]) -> None:
        checkpoint = store.open(ModelReference(self.model))
        checkpoint.fetch(null_reporter)
        name, _ = min(checkpoint.tensors.items(), key=lambda item: item[1].nbytes)
        tensor = checkpoint.read(name)
        before = repr(tensor)
        checkpoint.close()
        del checkpoint
        assert repr(tensor) == before

    def test_fetching_and_closing_twice_does_no_harm(self, checkpoint: Checkpoint[Any]) -> None:
        checkpoint.fetch(null_reporter)
        checkpoint.fetch(null_reporter)
        checkpoint.close()
        checkpoint.close()
