"""Tests of the bounded cache of RoPE frequency tables."""

import torch

from litgpt.adapters.pytorch.model.gpt import GPT
from litgpt.domain.families import parse_config
from tests.contracts.distribution_strategy import CONFIG

DYNAMIC = {"rope_type": "dynamic", "factor": 4.0, "rope_theta": 500.0}


@torch.inference_mode()
def test_texts_of_all_lengths_keep_a_bounded_number_of_tables() -> None:
    config = CONFIG | {"max_position_embeddings": 8, "rope_parameters": DYNAMIC, "rope_scaling": None}
    model = GPT(parse_config("tiny", config))
    for parameter in model.parameters():
        parameter.normal_(0, 0.1)
    ids = torch.arange(80)[None] % 50
    first = model(ids[:, :20])
    for length in range(9, 80):
        model(ids[:, :length])
    assert len(model._frequencies) <= 64
    torch.testing.assert_close(model(ids[:, :20]), first, rtol=0, atol=0)
