import pytest

from litgpt.domain.errors import CheckpointMismatch
from litgpt.domain.families import LLAMA, parse_config, resolve_model
from litgpt.domain.weights.mapping import validate_mapping
from litgpt.domain.weights.tensor_info import TensorInfo
from tests.contracts.distribution_strategy import CONFIG, shapes

TENSORS = {name: TensorInfo(shape, "F32", 4) for name, shape in shapes().items()}
ARCHITECTURE = parse_config("tiny", CONFIG)


def test_every_parameter_is_read_from_the_tensors_it_is_made_of() -> None:
    joins = {
        join.parameter.name: join for join in validate_mapping("tiny", ARCHITECTURE, LLAMA.weights, TENSORS)
    }
    qkv = joins["transformer.h.1.attn.qkv.weight"]
    assert qkv.hf_names == tuple(f"model.layers.1.self_attn.{letter}_proj.weight" for letter in "qkv")
    assert qkv.parameter.split_sizes == (16, 8, 8)
    assert qkv.parameter.shape == (32, 16)
    assert joins["lm_head.weight"].hf_names == ("lm_head.weight",)


def test_all_that_is_wrong_is_listed_at_once() -> None:
    tensors = dict(TENSORS)
    del tensors["model.norm.weight"], tensors["model.layers.0.mlp.up_proj.weight"]
    tensors["model.layers.0.self_attn.rubbish"] = TensorInfo((1,), "F32", 4)
    tensors["model.layers.2.mlp.up_proj.weight"] = TensorInfo((24, 16), "F32", 4)
    tensors["model.layers.1.self_attn.k_proj.weight"] = TensorInfo((16, 16), "F32", 4)
    with pytest.raises(CheckpointMismatch) as caught:
        validate_mapping("tiny", ARCHITECTURE, LLAMA.weights, tensors)
    assert set(caught.value.missing) == {"model.norm.weight", "model.layers.0.mlp.up_proj.weight"}
    assert set(caught.value.unexpected) == {
        "model.layers.0.self_attn.rubbish",
        "model.layers.2.mlp.up_proj.weight",
    }
    assert caught.value.shape_mismatches == (
        "model.layers.1.self_attn.k_proj.weight is [16, 16], expected [8, 16]",
    )
    for name in (*caught.value.missing, *caught.value.unexpected, *caught.value.shape_mismatches):
        assert name in str(caught.value)


def test_queries_and_keys_of_exchanged_shapes_are_noticed_although_their_sum_is_right() -> None:
    names = [f"model.layers.0.self_attn.{letter}_proj.weight" for letter in "qk"]
    tensors = TENSORS | {names[0]: TENSORS[names[1]], names[1]: TENSORS[names[0]]}
    with pytest.raises(CheckpointMismatch, match=r"q_proj.*expected \[16, 16\]"):
        validate_mapping("tiny", ARCHITECTURE, LLAMA.weights, tensors)


def test_a_stored_tied_head_is_not_a_parameter_until_it_is_read() -> None:
    resolved = resolve_model("tiny", CONFIG | {"tie_word_embeddings": True}, TENSORS)
    assert resolved.architecture.tie_word_embeddings
    assert resolved.untied_head is not None
    assert resolved.untied_head.hf_names == ("lm_head.weight",)
    assert resolved.untied_head not in resolved.sources
    untied = resolved.untied()
    assert not untied.architecture.tie_word_embeddings
    assert {join.parameter.name for join in untied.sources} == {
        parameter.name for parameter in untied.architecture.parameters()
    }
    assert untied.untied() == untied


def test_a_bias_is_read_or_unexpected_by_the_config() -> None:
    biases = {
        f"model.layers.{layer}.self_attn.{letter}_proj.bias": TensorInfo((rows,), "F32", 4)
        for layer in range(2)
        for letter, rows in zip("qkvo", (16, 8, 8, 16), strict=True)
    }
    biased = parse_config("tiny", CONFIG | {"attention_bias": True})
    assert len(validate_mapping("tiny", biased, LLAMA.weights, TENSORS | biases)) > len(LLAMA.weights) - 2
    with pytest.raises(CheckpointMismatch, match="8 unexpected"):
        validate_mapping("tiny", ARCHITECTURE, LLAMA.weights, TENSORS | biases)


def test_no_family_has_a_rule_twice() -> None:
    from litgpt.domain.families import FAMILIES

    for family in FAMILIES.values():
        actual = [rule.name for rule in family.weights if rule.condition is None]
        assert len(actual) == len(set(actual)), family.model_type
