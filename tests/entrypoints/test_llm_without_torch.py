"""Tests of an `LLM` in a process that has not imported torch, and of how it becomes a torch module."""

import subprocess
import sys

import pytest

from litgpt import LLM
from tests.adapters.tiny_models import tiny_folder
from tests.architecture.repository import ROOT

START = """
import faulthandler, sys
faulthandler.dump_traceback_later(300, exit=True)
from litgpt import LLM
llm = LLM.load({folder!r}, quiet=True)
before = llm.complete("abc", max_new_tokens=4, top_k=1).token_ids
assert llm.score("abc", ["d"])[0].logprob < 0 and llm.logprobs("abc").token_ids and llm.perplexity("abc") > 1
assert llm.embed(["abc", "d"]).shape[0] == len(llm.rerank("a", ["abc", "d"])) == 2
assert llm.beam_search("abc", max_new_tokens=4, num_beams=2)[0].score < 0
assert "torch" not in sys.modules
"""

END = """
import torch
assert isinstance(llm, torch.nn.Module) and isinstance(llm, LLM) and callable(llm)
assert type(llm).__name__ == "LLM"
names = set(llm.state_dict())
assert "lm_head.weight" in names and not any(name.startswith("model.") for name in names)
assert llm.complete("abc", max_new_tokens=4, top_k=1).token_ids == before
assert llm(torch.tensor([[1, 2]])).shape[:2] == (1, 2)
"""

USES = {
    "a class": "import torch; assert isinstance(llm, torch.nn.Module)",
    "the methods of its class": """
import torch
kind = llm.__class__
assert issubclass(kind, LLM) and kind.__name__ == "LLM" and callable(kind.load) and "generate" in dir(llm)
assert llm.__class__.__name__ == "LLM"
""",
    "closing it without torch": "sys.modules['torch'] = None; llm.close(); raise SystemExit",
    "a child of a module": """
import torch
outer = torch.nn.Module()
outer.llm = llm
assert "llm" in dict(outer.named_children())
assert "llm.lm_head.weight" in outer.state_dict()
""",
    "a call": "import torch; assert llm(torch.tensor([[1, 2, 3]])).shape[:2] == (1, 3)",
    "its loss": "import torch; assert llm.loss(torch.tensor([[1, 2]]), torch.tensor([[1, 2]])).ndim == 0",
    "the network": "assert type(llm.model).__name__ == 'GPT'",
    "parameters": "assert sum(parameter.numel() for parameter in llm.parameters())",
    "a method of modules": "llm.eval(); assert not llm.training",
    "token ids": "assert llm.generate('abc', max_new_tokens=2, return_as_token_ids=True).ndim == 1",
    "the torch engine": "llm.distribute(engine='torch'); assert len(list(llm.modules())) > 2",
    "a child": "import torch; llm.head = torch.nn.Linear(1, 1); assert 'head' in dict(llm.named_children())",
    "an adapter": "llm.add_lora(rank=2); assert llm.adapters == ('default',); llm.delete_adapter('default')",
    "several threads": """
from concurrent.futures import ThreadPoolExecutor
import torch
with ThreadPoolExecutor(8) as pool:
    found = pool.map(lambda _: isinstance(llm, torch.nn.Module) and len(list(llm.parameters())), range(8))
    assert all(found)
""",
}


def run(code: str) -> None:
    """Run Python code in a new process."""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("use", USES)
def test_an_llm_becomes_a_module_when_it_is_used_as_one(use: str) -> None:
    run(START.format(folder=str(tiny_folder("llama"))) + USES[use] + END)


def test_a_subclass_becomes_a_module_too() -> None:
    folder = str(tiny_folder("llama"))
    run(f"""
from litgpt import LLM

class Mine(LLM):
    def forward(self, *arguments):
        return "mine", super().forward(*arguments)

llm = Mine.load({folder!r}, quiet=True)
import torch
assert isinstance(llm, torch.nn.Module) and isinstance(llm, Mine) and isinstance(llm, LLM)
assert llm(torch.tensor([[1, 2]]))[0] == "mine"
assert isinstance(llm.load({folder!r}, quiet=True), Mine)
""")


def test_an_unknown_attribute_is_an_attribute_error_without_torch() -> None:
    run(
        START.format(folder=str(tiny_folder("llama")))
        + """
for name in ("__deepcopy__", "_repr_html_", "_unknown"):
    assert not hasattr(llm, name), name
assert "torch" not in sys.modules
llm.close()
assert llm.model is None
assert "torch" not in sys.modules
assert not hasattr(llm, "unknown")
"""
    )


def test_with_torch_an_llm_is_a_module_from_the_start() -> None:
    from torch import nn

    with LLM.load(tiny_folder("llama"), quiet=True) as llm:
        assert issubclass(type(llm), nn.Module)
