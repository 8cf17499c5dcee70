"""What users do with a model that transformers computes: chat, save, train, adapt, describe, serve."""

import json
import re
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lightning as L  # noqa: N812 - as everybody calls it
import pytest
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from litgpt import LLM
from litgpt.domain.errors import (
    InvalidArgument,
)
from tests.adapters.tiny_models import tiny_folder
from tests.bridge.bridged_models import EXACT, IDS, bridged_folder, bridged_model, folder_with, load
from tests.entrypoints.test_cli import run_cli

_OF_PEFT = "ignore:`is_gradient_checkpointing` is deprecated:FutureWarning"


@pytest.fixture(scope="module")
def rwkv() -> Iterator[LLM]:
    with load(bridged_folder("rwkv")) as llm:
        yield llm


def test_a_stream_has_the_text_of_an_answer(rwkv: LLM) -> None:
    options: dict[str, Any] = {"temperature": 0.0, "max_new_tokens": 6}
    text = rwkv.generate("hello", **options)
    assert "".join(rwkv.generate("hello", stream=True, **options)) == text


def test_a_chat_continues_from_its_state(tmp_path: Path) -> None:
    template = "{% for message in messages %}<{{ message.role }}>{{ message.content }}{% endfor %}"
    (folder_with(tmp_path) / "chat_template.jinja").write_text(template)
    with load(tmp_path) as llm:
        chat = llm.chat(max_new_tokens=4, temperature=0.0)
        first = chat.send("hello")
        second = chat.send("and more")
        ids = llm.tokenizer.encode(f"<user>hello<assistant>{first}<user>and more")
        assert len(ids) < 64
        messages = [
            {"role": "user", "content": "hello"},
            {"role": "assistant", "content": first},
            {"role": "user", "content": "and more"},
        ]
        assert llm.generate(messages, max_new_tokens=4, temperature=0.0) == second


def test_an_answer_matches_a_constraint(rwkv: LLM) -> None:
    answer = rwkv.generate("hello", regex="[0-9]{3}", max_new_tokens=8)
    assert re.fullmatch("[0-9]{3}", str(answer))


def test_the_notice_says_who_computes_the_model_and_what_it_costs(capsys: pytest.CaptureFixture[str]) -> None:
    with LLM.load(bridged_folder("rwkv"), distribute=None) as llm:
        llm.distribute(**EXACT)
    said = " ".join(capsys.readouterr().err.split())
    assert "transformers computes it, as its model_type 'rwkv' is not supported" in said
    assert "slower" in said


@pytest.mark.parametrize("family", ["rwkv", "zamba2"])
def test_transformers_opens_what_is_saved(family: str, tmp_path: Path) -> None:
    from transformers import AutoModelForCausalLM

    with load(bridged_folder(family)) as llm:
        expected = llm(IDS)
        out = llm.save(tmp_path / "out")
    assert {"config.json", "model.safetensors", "tokenizer.json"} <= {file.name for file in out.iterdir()}
    with torch.no_grad():
        torch.testing.assert_close(AutoModelForCausalLM.from_pretrained(out)(IDS).logits, expected)
    with load(out) as again:
        torch.testing.assert_close(again(IDS), expected)


def test_what_was_computed_changes_no_saved_weight(tmp_path: Path) -> None:
    from safetensors.torch import load_file

    folder = folder_with(tmp_path, rescale_every=1)  # transformers divides weights in the first pass
    with load(folder) as llm:
        llm(IDS)
        saved = load_file(llm.save(tmp_path / "out") / "model.safetensors")
    original = load_file(folder / "model.safetensors")
    assert saved.keys() == original.keys()
    assert all(torch.equal(saved[name], value) for name, value in original.items())


class Lit(L.LightningModule):
    def __init__(self, llm: LLM) -> None:
        super().__init__()
        self.llm = llm

    def setup(self, stage: str) -> None:
        del stage
        self.llm.trainer_setup()

    def training_step(self, batch: Tensor) -> Tensor:
        logits, loss = self.llm(input_ids=batch, target_ids=batch)
        assert torch.allclose(loss, self.llm.loss(batch, batch), atol=1e-5)
        assert logits.shape[:2] == batch.shape
        return torch.as_tensor(loss)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.llm.parameters(), lr=0.1)


@pytest.mark.filterwarnings(
    "ignore:.*does not have many workers.*",
    "ignore:.*number of training batches.*",
    "ignore:.*val_dataloader.*",
)
@pytest.mark.parametrize("family", ["rwkv", "mistral"])
def test_a_lightning_trainer_trains_it(family: str, tmp_path: Path) -> None:
    folder = bridged_folder(family) if family == "rwkv" else tiny_folder(family)
    llm = LLM.load(folder, quiet=True, distribute=None)
    if family == "mistral":
        llm.distribute(engine="transformers", **EXACT)
        llm.close()
    trainer = L.Trainer(
        max_steps=2,
        accelerator="cpu",
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        default_root_dir=tmp_path,
    )
    module = Lit(llm)
    trainer.fit(module, DataLoader(list(IDS), batch_size=2))  # type: ignore[arg-type]  # a list of tensors
    network: Any = llm.model
    assert type(network).__name__ == "BridgedModel"
    before, after = bridged_model("rwkv").state_dict() if family == "rwkv" else {}, network.state_dict()
    assert all(not torch.equal(after[name], value) for name, value in before.items() if name == "head.weight")


@pytest.mark.filterwarnings(_OF_PEFT)
def test_an_adapter_of_peft_computes_the_same(tmp_path: Path) -> None:
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    folder = bridged_folder("ctrl")
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    peft = get_peft_model(base, LoraConfig(task_type="CAUSAL_LM", r=4, target_modules=["Wq", "Wv", "dense"]))
    with torch.no_grad():
        for name, parameter in peft.named_parameters():
            if "lora_B" in name:
                parameter.copy_(torch.randn(parameter.shape) * 0.3)
    peft.save_pretrained(str(tmp_path))
    with load(folder) as llm, torch.no_grad():
        plain = llm(IDS)
        llm.load_adapter(tmp_path)
        expected = peft(IDS).logits
        torch.testing.assert_close(llm(IDS), expected, atol=1e-4, rtol=1e-4)
        assert not torch.allclose(plain, expected, atol=1e-3)
        llm.merge_adapter()
        torch.testing.assert_close(llm(IDS), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.filterwarnings(_OF_PEFT)
def test_lora_is_trained_and_saved_for_peft(tmp_path: Path) -> None:
    from peft import PeftModel
    from transformers import AutoModelForCausalLM

    folder = bridged_folder("ctrl")
    with load(folder) as llm:
        llm.add_lora(rank=4, targets=["Wq", "Wv"])
        trained = [parameter for parameter in llm.parameters() if parameter.requires_grad]
        optimizer = torch.optim.SGD(trained, lr=1.0)
        for _ in range(2):
            loss = llm.loss(IDS, IDS)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
        assert llm.loss(IDS, IDS) < loss
        llm.save_adapter(tmp_path / "adapter")
        with torch.no_grad():
            expected = llm(IDS)
    base = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    peft = PeftModel.from_pretrained(base, str(tmp_path / "adapter"))
    with torch.no_grad():
        torch.testing.assert_close(peft(IDS).logits, expected, atol=1e-4, rtol=1e-4)


def test_lora_needs_targets_where_no_default_fits(rwkv: LLM) -> None:
    with pytest.raises(InvalidArgument, match="key, value, receptance, output"):
        rwkv.add_lora()


def test_info_says_who_computes_the_model_and_why(capsys: pytest.CaptureFixture[str]) -> None:
    status, shown, _ = run_cli(capsys, "info", str(bridged_folder("rwkv")))
    assert status == 0
    shown = " ".join(shown.split())
    assert "engine transformers" in shown
    assert "its model_type 'rwkv' is not supported" in shown


def test_a_server_answers_with_it(rwkv: LLM) -> None:
    server = rwkv.serve(port=0, block=False)
    try:
        body = json.dumps({"model": "rwkv", "prompt": "hello", "max_tokens": 4, "temperature": 0}).encode()
        request = urllib.request.Request(  # noqa: S310 - a local server
            f"{server.url}/v1/completions", body, {"Content-Type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=300) as response:  # noqa: S310 - as above
            answer = json.load(response)
    finally:
        server.close()
    assert answer["usage"]["completion_tokens"] == 4


def test_a_benchmark_measures_it(rwkv: LLM) -> None:
    _, measured = rwkv.benchmark(prompt="hello", max_new_tokens=4, num_iterations=1)
    assert measured
