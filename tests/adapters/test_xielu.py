import torch
from transformers.activations import ACT2CLS

from litgpt.adapters.pytorch.model.xielu import XIELU
from litgpt.adapters.pytorch.weights.random_weights import random_checkpoint
from tests.contracts.distribution_strategy import CONFIG

THEIRS: torch.nn.Module = ACT2CLS["xielu"](dtype=torch.float32)  # type: ignore[operator] # a class
NAMES = ("alpha_p", "alpha_n", "beta", "eps")


def test_it_begins_where_transformers_lets_it_begin() -> None:
    checkpoint = random_checkpoint("random", CONFIG | {"model_type": "apertus", "hidden_act": "xielu"})
    for name in NAMES:
        expected = THEIRS.state_dict()[name]
        begun = checkpoint.read(f"model.layers.0.mlp.act_fn.{name}")
        assert begun.shape == expected.shape
        assert torch.allclose(begun, expected)


def test_positive_and_negative_inputs_equal_transformers() -> None:
    actual = XIELU()
    actual.load_state_dict({name: tensor.view(1) for name, tensor in THEIRS.state_dict().items()})
    x = torch.tensor([-30.0, -1.0, -1e-3, -1e-7, 0.0, 1e-7, 1e-3, 1.0, 30.0])
    assert torch.allclose(actual(x), THEIRS(x))
    for dtype in (torch.bfloat16, torch.float16):
        computed = actual.to(dtype)(x.to(dtype))
        assert computed.dtype == dtype
        assert torch.allclose(computed.float(), THEIRS(x), rtol=2e-2, atol=1e-6)
