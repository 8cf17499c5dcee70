from operator import eq
from typing import Any

import attrs
import pytest

from litgpt.application.load_model import LoadedModel, LoadModel
from litgpt.application.place_model import PlaceModel
from litgpt.domain.distribution.placement import DistributeOptions, Hardware
from litgpt.domain.errors import (
    CheckpointMismatch,
    InvalidArgument,
    LitGPTError,
    TokenizerMismatch,
    UnsupportedModel,
    UnsupportedOperation,
)
from litgpt.domain.progress import Notice, Reporter
from litgpt.domain.reference import ModelReference
from litgpt.domain.tokenizer_source import TokenizerFiles, TokenizerSource
from litgpt.domain.weights.tensor_info import DType
from litgpt.testing import (
    ByteTokenizer,
    MemoryCheckpoint,
    MemoryModel,
    MemoryStore,
    MemoryStrategy,
    MemoryTensor,
)
from tests.contracts.distribution_strategy import CONFIG, shapes


def checkpoint(config: dict[str, Any] | None = None, **more: Any) -> MemoryCheckpoint:
    weights = {name: MemoryTensor(shape) for name, shape in shapes().items()}
    return MemoryCheckpoint(CONFIG | (config or {}), weights, **more)


@attrs.define
class OpenBytes:
    """Opens the byte tokenizer for every source, and records the calls."""

    tokenizer: ByteTokenizer = attrs.field(factory=ByteTokenizer)
    calls: list[tuple[TokenizerSource, int | None]] = attrs.field(factory=list)

    def __call__(
        self,
        source: TokenizerSource,
        *,
        name: str,  # noqa: ARG002 - a port's promise, of which it keeps what it needs
        vocab_size: int | None,
    ) -> ByteTokenizer:
        self.calls.append((source, vocab_size))
        return self.tokenizer


def load(model: MemoryCheckpoint, *, opens: OpenBytes | None = None, **more: Any) -> LoadedModel[Any]:
    return LoadModel(MemoryStore({"tiny": model}), opens or OpenBytes())(ModelReference("tiny"), **more)


def test_nothing_is_read_or_fetched_to_load_a_model() -> None:
    model = checkpoint()
    loaded = load(model)
    assert (model.source.was_read, model.source.fetched) == ([], 0)
    assert loaded.architecture.family == "llama"
    assert (
        len(loaded.weight_sources) == len(shapes()) - 2 * 2
    )  # queries, keys and values of two layers are joined


def test_end_tokens_of_every_source_end_an_answer() -> None:
    model = checkpoint({"eos_token_id": 7}, generation_config={"eos_token_id": [8, 9]})
    assert load(model).stop_token_ids == {7, 8, 9, 257}


def test_the_prompt_style_is_the_saved_one_then_the_template_then_plain() -> None:
    bare = OpenBytes(ByteTokenizer(has_chat_template=False))
    saved = load(checkpoint(prompt_style="Alpaca"))
    template = load(checkpoint())
    plain = load(checkpoint(), opens=bare)
    assert saved.prompt_style is not None
    assert saved.prompt_style.name == "alpaca"
    assert template.prompt_style is None
    assert plain.prompt_style is not None
    assert plain.prompt_style.name == "default"


def test_a_model_without_a_template_gets_the_style_of_its_name() -> None:
    bare = OpenBytes(ByteTokenizer(has_chat_template=False))
    store = MemoryStore({"org/gemma-2b-it": checkpoint(), "org/gemma-2b": checkpoint()})
    tuned, base = (LoadModel(store, bare)(ModelReference(name)).prompt_style for name in store.names())
    assert tuned is not None
    assert tuned.name == "gemma"
    assert base is not None
    assert base.name == "default"


def test_the_styles_end_of_turn_is_an_end_token_or_a_stop_string() -> None:
    loaded = load(checkpoint(prompt_style="ChatML"))
    assert loaded.stop_strings == ("<|im_end|>",)  # no token of this tokenizer


def test_another_tokenizer_may_be_used_in_place_of_the_models_own() -> None:
    opens, other = OpenBytes(), TokenizerFiles({})
    load(checkpoint(), opens=opens, tokenizer=other)
    assert opens.calls[0][0] is other
    assert opens.calls[0][1] == CONFIG["vocab_size"]


@pytest.mark.parametrize(
    ("model", "error"),
    [
        (checkpoint({"model_type": "zebra"}), UnsupportedModel),
        (checkpoint({"attention_bias": True}), CheckpointMismatch),
        (checkpoint(prompt_style="NoSuchStyle"), UnsupportedModel),
    ],
)
def test_a_model_that_fails_to_load_is_released(model: MemoryCheckpoint, error: type[LitGPTError]) -> None:
    with pytest.raises(error):
        load(model)
    assert model.source.closed


def test_a_tokenizer_that_does_not_fit_is_found_before_a_weight_is_read() -> None:
    def refuse(source: TokenizerSource, *, name: str, vocab_size: int | None) -> ByteTokenizer:  # noqa: ARG001
        raise TokenizerMismatch(name, "it has 9 tokens and the model 8.")

    model = checkpoint()
    with pytest.raises(TokenizerMismatch):
        LoadModel(MemoryStore({"tiny": model}), refuse)(ModelReference("tiny"))
    assert model.source.was_read == []


def test_distributing_reads_each_tensor_once_and_reports_the_devices() -> None:
    model = checkpoint()
    reported: list[Any] = []
    _, placed = PlaceModel(MemoryStrategy(), eq)(
        load(model), DistributeOptions(precision="32-true"), reported.append
    )
    assert sorted(model.source.was_read) == sorted(shapes())
    assert model.source.fetched == 1
    assert isinstance(placed, MemoryModel)
    assert placed.placement.dtype == placed.tensors["lm_head.weight"][0].dtype == "float32"
    assert Notice("Using 1 device(s): cpu, float32") in reported


def test_a_checkpoints_notes_are_reported_before_the_download() -> None:
    class Slow(MemoryCheckpoint):
        def fetch(self, report: Reporter) -> None:
            report(Notice("fetching"))

    model = Slow(CONFIG, checkpoint().source, notes=("it is a fake.",))
    reported: list[Any] = []
    loaded = load(model)
    PlaceModel(MemoryStrategy(), eq)(loaded, DistributeOptions(), reported.append)
    assert loaded.notes == ("it is a fake.",)
    assert [value.text for value in reported[:2]] == ["tiny: it is a fake.", "fetching"]


def test_invalid_options_are_refused_before_the_download() -> None:
    model = checkpoint()
    with pytest.raises(InvalidArgument):
        PlaceModel(MemoryStrategy(), eq)(load(model), DistributeOptions(precision="64"), lambda _: None)
    assert model.source.fetched == 0


def memory_check(
    *, memory: int | None, dtype: DType = "float32", context: int = 64, **options: Any
) -> MemoryCheckpoint:
    """Check the tiny model (about 12,000 weights) against a machine with this much memory."""
    model = checkpoint({"max_position_embeddings": context})
    model.source.weights = {name: MemoryTensor(shape, dtype) for name, shape in shapes().items()}
    hardware = Hardware(available_host_memory=memory, has_native_engine=True)
    place = PlaceModel(MemoryStrategy(there_is=hardware), eq)
    try:
        place.check(load(model), DistributeOptions(**options))
    finally:
        assert (model.source.was_read, model.source.fetched) == ([], 0)
    return model


def test_a_model_beyond_the_memory_is_refused_with_both_figures() -> None:
    with pytest.raises(
        UnsupportedOperation, match=r"tiny on cpu .* needs 0\.0 GB of memory and 0\.0 GB are available\."
    ):
        memory_check(memory=10_000, dtype="bfloat16", precision="32-true")


def test_weights_that_are_mapped_from_their_file_take_no_memory() -> None:
    memory_check(memory=10_000, dtype="float32", precision="32-true", engine="torch")
    with pytest.raises(UnsupportedOperation):
        memory_check(memory=1_000, dtype="float32", precision="32-true", quantize="int8", engine="torch")


def test_the_native_engine_rearranges_all_weights_and_allocates_no_cache_in_advance() -> None:
    memory_check(memory=60_000, engine="native", context=10**12, fixed_kv_cache_size=10**12)
    for precision in (None, "32-true"):
        with pytest.raises(UnsupportedOperation, match="GB of memory"):
            memory_check(memory=10_000, engine="native", precision=precision)


def test_runs_that_may_fit_are_never_refused() -> None:
    memory_check(
        memory=None, dtype="bfloat16", precision="32-true", fixed_kv_cache_size="max_model_supported"
    )
    memory_check(memory=10**6, dtype="bfloat16", precision="32-true", fixed_kv_cache_size=64)
    memory_check(memory=10**6, context=10**12)  # a cache grows as it is needed


@pytest.mark.parametrize("size", ["max_model_supported", 10**12, 10**11])
def test_a_fixed_cache_that_memory_does_not_hold_is_refused(size: object) -> None:
    with pytest.raises(
        UnsupportedOperation, match=r"fixed_kv_cache_size=.* GB of memory and 10\.0 GB are available"
    ):
        memory_check(memory=10**10, context=10**12, fixed_kv_cache_size=size, engine="torch")


def test_the_memory_of_a_gpu_counts_there() -> None:
    gpu = Hardware(
        accelerator="cuda",
        device_counts={"cpu": 1, "cuda": 1},
        free_device_memory={"cuda:0": 3_000},
        available_host_memory=10,
    )
    place = PlaceModel(MemoryStrategy(there_is=gpu), eq)
    with pytest.raises(
        UnsupportedOperation, match=r"tiny on cuda:0"
    ):  # the embedding and the head cannot stay behind
        place.check(load(checkpoint()), DistributeOptions(precision="32-true"))


def test_training_is_refused_before_a_weight_is_read() -> None:
    model = checkpoint()
    model.source.weights = {name: MemoryTensor(shape, "bfloat16") for name, shape in shapes().items()}
    place = PlaceModel(MemoryStrategy(there_is=Hardware(available_host_memory=10_000)), eq)
    with pytest.raises(UnsupportedOperation):
        place.for_training(load(model), "float32", lambda _: None)
    assert model.source.was_read == []
