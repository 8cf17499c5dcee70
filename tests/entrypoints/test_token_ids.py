"""Tests of token ids outside the vocabulary: the error names the id, without the whole prompt."""

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
import torch

from litgpt import LLM
from litgpt.adapters.pytorch.generation.generator import TorchGenerator
from litgpt.domain.errors import InvalidArgument, LitGPTError, WrongType
from litgpt.domain.generation.request import GenerationRequest
from tests.adapters.tiny_models import tiny_folder

LONG = [1] * 30


@pytest.fixture(scope="module")
def llm() -> Iterator[LLM]:
    with LLM.load(tiny_folder("llama"), quiet=True) as llm:
        yield llm


@pytest.mark.parametrize("bad", [99_999, -1])
@pytest.mark.parametrize(
    "use",
    [
        lambda llm, ids: llm(ids),
        lambda llm, ids: llm(torch.ones_like(ids), ids),
        lambda llm, ids: llm.loss(ids, torch.ones_like(ids)),
        lambda llm, ids: llm.loss(torch.ones_like(ids), ids),
        lambda llm, ids: llm.tokenizer.decode(ids),
        lambda llm, ids: llm.preprocessor.decode(ids),
        lambda llm, ids: TorchGenerator(llm.model).generate(
            [GenerationRequest(prompt=ids[0].tolist(), max_new_tokens=1)]
        ),
    ],
    ids=["forward", "targets", "loss", "loss of targets", "decode", "preprocessor", "generate"],
)
def test_an_id_outside_the_vocabulary_is_named_and_not_what_stands_before_it(
    llm: LLM, use: Callable[[LLM, torch.Tensor], object], bad: int
) -> None:
    with pytest.raises(InvalidArgument, match=f"from 0 to .* not {bad}") as error:
        use(llm, torch.tensor([[*LONG, bad]]))
    assert len(str(error.value)) < 200


def test_ignored_targets_are_not_ids(llm: LLM) -> None:
    ids = torch.tensor([LONG])
    assert llm.loss(ids, torch.where(torch.arange(30) < 20, -100, ids)) > 0
    _, loss = llm(ids, torch.full_like(ids, -1), lambda _logits, targets: targets.sum())
    assert loss == -29


@pytest.mark.parametrize("dtype", [torch.float32, torch.bool])
def test_ids_are_whole_numbers(llm: LLM, dtype: torch.dtype) -> None:
    with pytest.raises(WrongType, match=r"input_ids must be a tensor of token ids.*torch\.long"):
        llm(torch.ones(1, 4, dtype=dtype))


@pytest.mark.parametrize("ids", [[[1, 2]], "Hello", np.array([[1]]), None])
def test_ids_that_are_not_a_tensor_are_refused(llm: LLM, ids: Any) -> None:
    good = torch.tensor([[1, 2]])
    with pytest.raises(
        WrongType, match=r"input_ids must be a tensor of shape \(B, T\), such as torch\.tensor"
    ):
        llm(ids)
    with pytest.raises(WrongType, match="input_ids must be a tensor"):
        llm.loss(ids, good)
    with pytest.raises(WrongType, match="target_ids must be a tensor"):
        llm.loss(good, ids)


@pytest.mark.parametrize("shape", [(3,), (1, 0), (0, 3), (1, 1, 1), ()])
def test_ids_of_another_shape_are_refused(llm: LLM, shape: tuple[int, ...]) -> None:
    with pytest.raises(InvalidArgument, match=r"input_ids must be a tensor of shape \(B, T\)"):
        llm(torch.ones(shape, dtype=torch.long))


def test_ids_are_decoded_from_a_tensor_a_list_or_one_number(llm: LLM) -> None:
    text, many = "crane", llm.tokenizer.encode("crane")
    ids = many.tolist()
    prompt: Any
    for prompt in (many, many[None], many.int(), ids, tuple(ids), many.numpy(), list(many)):
        assert llm.tokenizer.decode(prompt) == text
        assert llm.preprocessor.decode(prompt) == text
    for stream in (many, ids, iter(ids), iter([many]), [ids]):
        assert "".join(llm.tokenizer.decode_stream(stream)) == text
    assert llm.tokenizer.decode(ids[0]) == llm.tokenizer.decode(many[0])
    assert llm.tokenizer.decode([]) == ""


@pytest.mark.parametrize(
    "ids", ["crane", None, [1.5], torch.tensor([1.0]), [True], ["a"], [[1], [2, 3]], [10**30]]
)
def test_only_token_ids_are_decoded(llm: LLM, ids: Any) -> None:
    with pytest.raises(WrongType, match="tensor must be token ids"):
        llm.tokenizer.decode(ids)
    with pytest.raises(WrongType, match="token_stream must be token ids"):
        list(llm.tokenizer.decode_stream([ids]))


def test_only_text_is_looked_up_in_the_vocabulary(llm: LLM) -> None:
    name: Any
    for name in (3, None, b"a"):
        with pytest.raises(WrongType, match="token must be a string"):
            llm.tokenizer.token_to_id(name)


def test_no_value_makes_a_message_long(llm: LLM) -> None:
    text: Any = "a" * 5000
    for use in (
        lambda: llm.tokenizer.encode(text + "\ud800" * 5000),
        lambda: llm.generate("a", stop=[text, [text]]),
        lambda: llm.generate([[text]]),
        lambda: llm.distribute(accelerator=text),
        lambda: llm.distribute(precision=text),
    ):
        with pytest.raises(LitGPTError) as error:
            use()
        assert len(str(error.value)) < 500
