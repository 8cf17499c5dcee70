"""Tests of LoRA settings and targets."""

from typing import Any

import attrs
import pytest

from litgpt.domain.errors import InvalidArgument, WrongType
from litgpt.domain.lora.adapter_matching import resolve_target, targets_by_name
from litgpt.domain.lora.config import LoraConfig, validate_adapter_name
from litgpt.domain.lora.targets import LoraTarget, find_targets, select_modules, target_modules
from litgpt.domain.model import ParameterSpec
from litgpt.domain.weights.mapping import ParameterSource, WeightMapping, _views


def test_the_lora_scaling_is_alpha_over_rank() -> None:
    assert LoraConfig(rank=8, alpha=16).scaling() == 2
    assert LoraConfig(rank=16, alpha=16, rslora=True).scaling() == 4
    assert LoraConfig(rank=8, alpha=16).scaling(rank=4, alpha=1) == 0.25


@pytest.mark.parametrize(
    "wrong",
    [
        {"rank": 0},
        {"rank": True},
        {"rank": 2.5},
        {"alpha": -1},
        {"alpha": float("nan")},
        {"alpha": "16"},
        {"dropout": 1},
        {"dropout": -0.1},
        {"targets": ()},
        {"targets": ("q_proj", "")},
        {"targets": (1,)},
        {"targets": 3},
    ],
)
def test_invalid_settings_are_named(wrong: dict[str, Any]) -> None:
    (name,) = wrong
    with pytest.raises(InvalidArgument, match=name):
        LoraConfig(**wrong)


def test_one_target_needs_no_list() -> None:
    assert LoraConfig(targets="q_proj").targets == ("q_proj",)
    assert LoraConfig(targets=["q_proj", "v_proj"]).targets == ("q_proj", "v_proj")
    assert LoraConfig(targets="all-linear").targets == "all-linear"


@pytest.mark.parametrize("name", ["", "a.b", "a/b", "ä"])
def test_an_invalid_adapter_name_is_refused(name: str) -> None:
    with pytest.raises(InvalidArgument, match="name"):
        validate_adapter_name(name)
    with pytest.raises(WrongType):
        validate_adapter_name(3)


def _join(rule: WeightMapping, parameter: ParameterSpec) -> ParameterSource:
    numbers = tuple(part for part in parameter.name.split(".") if part.isdigit())
    return ParameterSource(parameter, tuple(_views(rule, parameter, numbers)))


QKV = ParameterSpec("transformer.h.0.attn.qkv.weight", (8, 6), (4, 2, 2), num_groups=2)
APART = ("layers.{}.self_attn.q_proj.weight", "layers.{}.k.weight", "layers.{}.v.weight")
SPLIT = _join(WeightMapping(QKV.name, APART), QKV)
DEALT = _join(WeightMapping(QKV.name, ("layers.{}.query_key_value.weight",), grouped_qkv=True), QKV)
SIDEWAYS = _join(WeightMapping(QKV.name, ("h.{}.c_attn.weight",), transposed=True), QKV)
HEAD = _join(
    WeightMapping("lm_head.weight", ("lm_head.weight",)), ParameterSpec("lm_head.weight", (9, 6), (9,))
)
LINEAR = {"transformer.h.0.attn.qkv", "lm_head"}


def _spans(place: LoraTarget) -> list[tuple[int, int]]:
    return [(rows.start, rows.stop) for rows in place.rows]


def test_each_hf_tensor_has_its_rows_of_the_fused_layer() -> None:
    targets = find_targets([SPLIT], LINEAR)
    assert [(place.leaf, _spans(place)) for place in targets] == [
        ("q_proj", [(0, 4)]),
        ("k", [(4, 6)]),
        ("v", [(6, 8)]),
    ]
    assert {(place.in_features, place.transposed) for place in targets} == {(6, False)}


def test_a_grouped_qkv_tensor_is_one_lora_target() -> None:
    (place,) = find_targets([DEALT], LINEAR)
    assert (place.out_features, place.in_features, _spans(place)) == (8, 6, [(0, 8)])
    (rows,) = place.rows
    assert [piece.shape for piece in rows.views_for_rank(3)] == [(8, 3)] * 3


def test_a_transposed_tensor_has_one_output_per_column() -> None:
    (place,) = find_targets([SIDEWAYS], LINEAR)
    assert (place.out_features, place.in_features, place.transposed) == (8, 6, True)
    assert all(piece.shape == (8, 6) and not piece.transposed for rows in place.rows for piece in rows.views)


def test_the_head_is_a_lora_target_only_by_name() -> None:
    (head,) = find_targets([HEAD], LINEAR)
    assert (head.kind, head.swaps_a_and_b) == ("head", False)
    assert select_modules([head], "all-linear") == ()
    assert select_modules([head], ("lm_head",)) == (head,)
    assert find_targets([SPLIT], {"lm_head"}) == ()


def test_an_embedding_target_has_a_and_b_exchanged_as_in_peft() -> None:
    wte = _join(
        WeightMapping("wte.weight", ("embed_tokens.weight",)), ParameterSpec("wte.weight", (9, 6), (9,))
    )
    (embedding,) = find_targets([wte], (), {"wte"})
    assert (embedding.kind, embedding.shapes(3)) == ("embedding", ((3, 9), (6, 3)))


def test_the_default_targets_are_queries_and_values() -> None:
    assert [place.leaf for place in select_modules(find_targets([SPLIT], LINEAR), None)] == ["q_proj", "v"]
    assert [place.leaf for place in select_modules(find_targets([DEALT], LINEAR), None)] == [
        "query_key_value"
    ]


def test_a_target_is_a_name_or_the_end_of_one_from_a_dot_on() -> None:
    targets = find_targets([SPLIT], LINEAR)
    assert [place.leaf for place in select_modules(targets, ("self_attn.q_proj", "layers.0.v"))] == [
        "q_proj",
        "v",
    ]
    assert select_modules(targets, "all-linear") == targets
    with pytest.raises(InvalidArgument, match=r"attn\.q_proj"):
        select_modules(targets, ("attn.q_proj",))


def test_an_unknown_target_is_an_error_with_a_similar_one() -> None:
    with pytest.raises(InvalidArgument, match=r"not 'qproj'\. Did you mean q_proj\?"):
        select_modules(find_targets([SPLIT], LINEAR), ("qproj",))


def test_saved_targets_are_short_where_they_mean_nothing_else() -> None:
    first = find_targets([SPLIT], LINEAR)
    second = tuple(attrs.evolve(place, name=place.name.replace("0", "1")) for place in first)
    every = (*first, *second)
    assert target_modules([first[0], second[0], first[2]], every) == ("q_proj", "layers.0.v")


def test_the_prefix_level_of_multimodal_models_is_ignored() -> None:
    targets = find_targets([SPLIT], LINEAR)
    assert resolve_target(targets_by_name(targets), "language_model.layers.0.v") == [targets[2]]
    assert resolve_target(targets_by_name(targets), "vision.layers.0.v") == []
