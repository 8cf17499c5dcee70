"""Tests of notebooks with Jupyter's client and kernel: several ranks in a cell, progress bars as widgets."""

import re
from pathlib import Path
from typing import Any

import nbformat
import pytest
from nbclient import NotebookClient

from tests.adapters.tiny_models import tiny_folder
from tests.entrypoints.small_runs import examples

CELLS = (
    "from litgpt import LLM",
    "llm = LLM.load({model!r}, distribute=None, quiet=True)",
    "how = dict(accelerator='cpu', precision='32-true')",
    "llm.distribute(devices=2, generate_strategy='tensor_parallel', **how)",
    "ranks = llm.generate('hello', max_new_tokens=8, top_k=1)",
    "llm.distribute(**how)",
    "print(llm.devices, ranks == llm.generate('hello', max_new_tokens=8, top_k=1))",
)


TRAIN = (
    "from litgpt.training import TrainConfig, train",
    "how = dict(accelerator='cpu', precision='32-true', max_steps=3, accumulate=2, val_split=None)",
    "done = train(TrainConfig(model={model!r}, data={data!r}, out_dir='out', **how))",
)
WIDGET = "application/vnd.jupyter.widget-view+json"


def executed(folder: Path, cells: tuple[str, ...], **values: str) -> Any:
    """Run cells in a folder and return the notebook with their outputs."""
    code = [nbformat.v4.new_code_cell(cell.format(**values)) for cell in cells]  # type: ignore[no-untyped-call]
    notebook = nbformat.v4.new_notebook(cells=code)  # type: ignore[no-untyped-call]
    where = {"metadata": {"path": str(folder)}}
    NotebookClient(notebook, timeout=300, startup_timeout=300, resources=where).execute()
    return notebook


def text_of(cell: Any) -> str:
    return "".join(output.text for output in cell.outputs if output.output_type == "stream")


@pytest.mark.filterwarnings("default")  # warnings of Jupyter's libraries
def test_several_ranks_work_in_a_notebooks_cell(tmp_path: Path) -> None:
    notebook = executed(tmp_path, CELLS, model=str(tiny_folder("llama")))
    (output,) = notebook.cells[-1].outputs
    assert output.text == "1 True\n"


@pytest.mark.filterwarnings("default")
def test_bars_are_widgets_in_a_notebook(tmp_path: Path) -> None:
    data = str(examples(tmp_path / "x.jsonl", 8))
    notebook = executed(tmp_path, TRAIN, model=str(tiny_folder("llama")), data=data)
    last = notebook.cells[-1]
    assert [output for output in last.outputs if WIDGET in output.get("data", {})]
    widgets = notebook.metadata.widgets["application/vnd.jupyter.widget-state+json"]["state"].values()
    bars = [widget.state for widget in widgets if widget.model_name == "FloatProgressModel"]
    labels = [widget.state.value for widget in widgets if widget.model_name == "HTMLModel"]
    assert [bar for bar in bars if bar.value == bar.max == 3]
    assert [
        label
        for label in labels
        if label.startswith("Training,\N{FIGURE SPACE}step\N{FIGURE SPACE}3/3:\N{FIGURE SPACE}100%")
    ]
    assert "%|" not in text_of(last)
    assert "(LoRA, rank 8)" in text_of(last)


@pytest.mark.filterwarnings("default")
def test_without_ipywidgets_bars_in_a_notebook_are_text(tmp_path: Path) -> None:
    data = str(examples(tmp_path / "x.jsonl", 8))
    cells = ("import sys", "sys.modules['ipywidgets'] = None", *TRAIN)
    last = executed(tmp_path, cells, model=str(tiny_folder("llama")), data=data).cells[-1]
    assert not [output for output in last.outputs if WIDGET in output.get("data", {})]
    assert re.search(r"Training, step 3/3: 100%\|", text_of(last))
    assert "IProgress" not in text_of(last)
