import attrs
import pytest

from litgpt.domain.errors import UnsupportedOperation
from litgpt.domain.families import parse_config
from litgpt.domain.model import Architecture, GatedMLPSpec
from litgpt.domain.parallel.layer_split import assign_layers
from tests.contracts.distribution_strategy import CONFIG


def deep(layers: int, **settings: object) -> Architecture:
    return parse_config("tiny", CONFIG | {"num_hidden_layers": layers} | settings)


def test_equal_layers_are_split_evenly() -> None:
    assert assign_layers(deep(6, vocab_size=1), 3) == (0, 0, 1, 1, 2, 2)
    assert assign_layers(deep(6), 1) == (0,) * 6
    assert assign_layers(deep(3, vocab_size=1), 3) == (0, 1, 2)


def test_the_embedding_and_the_head_count() -> None:
    # A vocabulary so large that either outweighs all layers: each has a device for itself, as far as can be.
    assert assign_layers(deep(6, vocab_size=100_000), 3) == (0, 1, 1, 1, 1, 2)
    assert assign_layers(deep(6, vocab_size=100_000, tie_word_embeddings=True), 2) == (0, 1, 1, 1, 1, 1)


def test_a_heavy_layer_is_left_alone() -> None:
    even = deep(4, vocab_size=1)
    wide = GatedMLPSpec(intermediate_size=10_000, activation="silu")
    heavy = attrs.evolve(even.layers[1], mlp=wide)
    uneven = attrs.evolve(even, layers=(even.layers[0], heavy, *even.layers[2:]))
    assert assign_layers(uneven, 3) == (0, 1, 2, 2)


def test_every_device_gets_a_layer() -> None:
    for devices in range(1, 8):
        assert set(assign_layers(deep(7, vocab_size=5000), devices)) == set(range(devices))
    with pytest.raises(UnsupportedOperation, match="only 7 layers"):
        assign_layers(deep(7), 8)
