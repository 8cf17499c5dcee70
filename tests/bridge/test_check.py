"""Tests of `litgpt check`: the engines beside transformers, on the weights of a model."""

import json
from typing import Any

import pytest
from torch import Tensor

from litgpt import LLM
from litgpt.adapters.pytorch.model.block import Block
from litgpt.domain.errors import UnsupportedOperation
from litgpt.llm_parts.comparison import compare
from tests.adapters.tiny_models import tiny_folder
from tests.bridge.bridged_models import bridged_folder
from tests.entrypoints.test_cli import run_cli

SHORT = ("--max-new-tokens", "4", "--accelerator", "cpu")


@pytest.mark.parametrize("random", [(), ("--random",)], ids=["its weights", "random weights"])
def test_a_family_of_this_library_agrees_with_transformers(
    random: tuple[str, ...], capsys: pytest.CaptureFixture[str]
) -> None:
    status, output, _ = run_cli(capsys, "check", str(tiny_folder("llama")), *SHORT, *random, "--json")
    assert status == 0
    result = json.loads(output)
    assert result["agrees"]
    assert result["first_difference"] is None
    assert len(result["layers"]) == 3
    assert max(result["layers"]) <= 1e-5
    assert {engine["engine"] for engine in result["engines"]} | result["omitted"].keys() == {
        "transformers",
        "torch",
        "native",
    }
    assert all(engine["equal_tokens"] == engine["tokens"] for engine in result["engines"])


def test_a_text_of_one_token_is_compared_by_its_logits(capsys: pytest.CaptureFixture[str]) -> None:
    status, output, _ = run_cli(capsys, "check", str(tiny_folder("llama")), "a", *SHORT)
    assert status == 0
    assert "all 3 layers agree" in output


@pytest.mark.parametrize("wrong", [0, 2])
def test_the_first_layer_that_differs_is_named(
    wrong: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    blocks: list[Block] = []
    forward = Block.forward

    def changed(self: Block, x: Tensor, *arguments: Any) -> Tensor:
        if not any(block is self for block in blocks):
            blocks.append(self)
        output = forward(self, x, *arguments)
        if len(blocks) <= wrong or self is not blocks[wrong]:
            return output
        return output + 0.05 * output.roll(1, -1)  # norms remove a factor

    monkeypatch.setattr(Block, "forward", changed)
    status, output, _ = run_cli(capsys, "check", str(tiny_folder("llama")), "One text.", *SHORT)
    assert status == 1
    assert f"layer {wrong} is the first that differs" in output
    assert "The results differ (torch" in output


def test_a_model_that_only_transformers_has_is_refused() -> None:
    with (
        LLM.load(bridged_folder("rwkv"), distribute=None, quiet=True) as llm,
        pytest.raises(UnsupportedOperation, match="engine"),
    ):
        compare(llm, ["One text."], max_new_tokens=2, accelerator="cpu")
