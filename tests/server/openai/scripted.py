"""A server whose model writes a given answer, for forms of answers that a small model does not write."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import attrs
from openai import OpenAI

from litgpt.adapters.constraints.llguidance_compiler import LlguidanceCompiler
from litgpt.application.load_model import LoadedModel, LoadModel
from litgpt.application.serving.served_model import ServedModel
from litgpt.domain.ports import Generator
from litgpt.domain.reference import ModelReference
from litgpt.server.app import create_app
from litgpt.server.run import start_in_thread
from litgpt.server.settings import ServerSettings
from litgpt.testing import (
    ByteTokenizer,
    MemoryCheckpoint,
    MemoryStore,
    MemoryTensor,
    ScriptedGenerator,
    open_byte_tokenizer,
)
from tests.contracts.distribution_strategy import CONFIG, shapes

END = 257


def loaded(template: str) -> LoadedModel[Any]:
    """Return a model whose tokens are bytes; the format of its answers is that of the chat template."""
    tensors = {
        name: MemoryTensor(tuple(300 if size == 100 else size for size in shape))
        for name, shape in shapes().items()
    }
    config = CONFIG | {"vocab_size": 300, "max_position_embeddings": 1024}
    store = MemoryStore({"tiny": MemoryCheckpoint(config, tensors)})
    model = LoadModel(store, open_byte_tokenizer)(ModelReference("tiny"))
    return attrs.evolve(model, tokenizer=ByteTokenizer(template=template))


@contextmanager
def writes(answer: str, template: str = "", generator: Generator | None = None) -> Iterator[OpenAI]:
    """Yield a client of a server whose answers are this text."""
    model, scripted = loaded(template), ScriptedGenerator([*answer.encode(), END], 1024)
    served = ServedModel(
        name="tiny",
        loaded=lambda: model,
        generator=scripted if generator is None else generator,
        compiler=LlguidanceCompiler(),
    )
    settings = ServerSettings(port=0)
    app = create_app(served, settings)
    with (
        start_in_thread(app, settings, engine=app.state.litgpt) as server,
        OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0) as client,
    ):
        yield client
