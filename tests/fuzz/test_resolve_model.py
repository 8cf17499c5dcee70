"""Property tests of mutated configs of every family: resolved, or refused with an error."""

import resource
import time
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from litgpt.domain.errors import LitGPTError
from litgpt.domain.families import FAMILIES, family_of, parse_config, resolve_model
from litgpt.domain.formatting.bounded_text import MESSAGE_LIMIT
from litgpt.domain.memory.estimate import kv_cache_bytes, parameter_count
from litgpt.domain.weights.mapping import map_parameters
from litgpt.domain.weights.tensor_info import TensorInfo
from tests.adapters import tiny_models
from tests.fuzz.damage import ODD
from tests.fuzz.test_config_values import config_of

SCALARS = (
    st.sampled_from(ODD) | st.integers() | st.floats() | st.text(max_size=20) | st.booleans() | st.none()
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=6,
)


def tensors_of(config: dict[str, Any]) -> dict[str, TensorInfo]:
    """Return the tensors of a checkpoint with this config."""
    family, architecture = family_of("m", config), parse_config("m", config)
    pieces = (piece for join in map_parameters(architecture, family.weights) for piece in join.views)
    return {piece.name: TensorInfo(tuple(piece.shape), "F32", 4) for piece in pieces}


@pytest.mark.parametrize("family", sorted(FAMILIES.keys() & tiny_models.FAMILIES.keys()))
def test_a_mutated_config_is_understood_or_refused(family: str) -> None:
    fuzz(family, 15)


@pytest.mark.slow
@pytest.mark.parametrize("family", sorted(FAMILIES.keys() & tiny_models.FAMILIES.keys()))
def test_many_mutated_configs_are_understood_or_refused(family: str) -> None:
    fuzz(family, 200)


def fuzz(family: str, examples: int) -> None:
    config = config_of(family)
    tensors = tensors_of(config)
    resolve_model("m", config, tensors)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    keys = st.sampled_from(sorted(config))

    @settings(
        max_examples=examples,
        derandomize=True,
        database=None,
        suppress_health_check=list(HealthCheck),
    )
    @given(st.dictionaries(keys, VALUES, min_size=1, max_size=4))
    def read(changes: dict[str, Any]) -> None:
        began = time.process_time()
        try:
            architecture = parse_config("m", config | changes)
            parameter_count(architecture)
            kv_cache_bytes(architecture, dtype="float32", tokens=100)
            resolve_model("m", config | changes, tensors)
        except LitGPTError as error:
            message = str(error)
            message.encode()
            assert 0 < len(message) <= MESSAGE_LIMIT
        assert time.process_time() - began < 10

    read()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 1_000_000  # KB
