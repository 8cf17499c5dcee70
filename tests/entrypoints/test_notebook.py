"""A notebook, run by Jupyter's own client and kernel: several ranks work in a cell, as in a script."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

from tests.adapters.tiny_models import tiny_folder

CELLS = (
    "from litgpt import LLM",
    "llm = LLM.load({model!r}, distribute=None, quiet=True)",
    "how = dict(accelerator='cpu', precision='32-true')",
    "llm.distribute(devices=2, generate_strategy='tensor_parallel', **how)",
    "ranks = llm.generate('hello', max_new_tokens=8, top_k=1)",
    "llm.distribute(**how)",
    "print(llm.devices, ranks == llm.generate('hello', max_new_tokens=8, top_k=1))",
)


@pytest.mark.filterwarnings("default")  # what Jupyter's libraries warn of is not ours
def test_several_ranks_work_in_a_notebooks_cell(tmp_path: Path) -> None:
    code = [cell.format(model=str(tiny_folder("llama"))) for cell in CELLS]
    cells = [nbformat.v4.new_code_cell(one) for one in code]  # type: ignore[no-untyped-call]
    notebook = nbformat.v4.new_notebook(cells=cells)  # type: ignore[no-untyped-call]
    where = {"metadata": {"path": str(tmp_path)}}
    NotebookClient(notebook, timeout=300, startup_timeout=300, resources=where).execute()
    (output,) = notebook.cells[-1].outputs
    assert output.text == "1 True\n"
