import pytest

from litgpt.domain.distribution.cpu_matmul import (
    MatmulPlan,
    describe_matmul,
    describe_placed_matmul,
    has_instructions,
    plan_matmul,
    slow_placement_warning,
)
from litgpt.domain.distribution.placement import DistributeOptions, Hardware, Placement, resolve_placement
from litgpt.domain.quantization import QUANTIZATIONS
from litgpt.domain.weights.tensor_info import DType, TensorInfo, loses_precision_in_bfloat16

AVX2 = frozenset({"avx2"})
AVX512 = frozenset({"avx2", "avx512f", "avx512_vnni"})
BF16 = AVX512 | {"avx512_bf16"}
ARM = frozenset({"neon_bf16", "neon_fp16", "neon_i8mm"})
OLD_CPU = Hardware(bfloat16_accelerators=frozenset(), cpu_features=AVX2)


@pytest.mark.parametrize(
    ("dtype", "features", "expected"),
    [
        ("bfloat16", AVX2, False),
        ("bfloat16", AVX512, False),
        ("bfloat16", BF16, True),
        ("bfloat16", frozenset({"amx_bf16"}), True),
        ("bfloat16", ARM, True),
        ("float16", BF16, False),
        ("float16", ARM, True),
        ("float32", frozenset(), True),
    ],
)
def test_instructions_decide_what_a_cpu_computes_in(
    dtype: DType,
    features: frozenset[str],
    expected: bool,  # noqa: FBT001 - a parameter of a test
) -> None:
    assert has_instructions(dtype, features) == expected
    matmul = plan_matmul(dtype, dtype, features)
    assert matmul.large_dtype == (dtype if expected else "float32")
    assert (matmul.max_small_rows is None) == expected
    assert matmul.small_dtype == dtype


def test_quantized_weights_are_read_as_they_are_for_few_rows_where_torch_is_fast() -> None:
    assert plan_matmul("int8", "bfloat16", AVX2) == MatmulPlan(
        max_small_rows=16, small_dtype="bfloat16", large_dtype="float32"
    )
    assert plan_matmul("int8", "bfloat16", BF16) == MatmulPlan(
        max_small_rows=8, small_dtype="bfloat16", large_dtype="bfloat16"
    )
    assert plan_matmul("int4", "float32", AVX2).max_small_rows == 0
    assert plan_matmul("int4", "bfloat16", ARM).max_small_rows == 0


def test_the_compute_dtype_is_reported() -> None:
    assert describe_matmul("float32", "float32", AVX2) == "float32 weights; float32 arithmetic"
    assert describe_matmul("bfloat16", "bfloat16", BF16) == "bfloat16 weights; bfloat16 arithmetic"
    assert describe_matmul("bfloat16", "bfloat16", AVX2) == (
        "bfloat16 weights; one token: bfloat16, prompts and training: float32 arithmetic "
        "(this CPU has no bfloat16 instructions)"
    )
    assert describe_matmul("int4", "bfloat16", AVX2).startswith("int4 weights; one token: bfloat16, prompts")
    on_cpu = Placement(devices=("cpu",), dtype="bfloat16", quantize="int8")
    assert describe_placed_matmul(on_cpu, OLD_CPU) == describe_matmul("int8", "bfloat16", AVX2)
    on_gpu = Placement(devices=("cuda:0",), dtype="bfloat16", quantize="int8")
    assert describe_placed_matmul(on_gpu, OLD_CPU) == "int8 weights; bfloat16 arithmetic"


@pytest.mark.parametrize("quantize", QUANTIZATIONS)
@pytest.mark.parametrize("features", [frozenset(), AVX2, BF16, ARM])
def test_slow_quantizations_are_reported_beforehand(quantize: str, features: frozenset[str]) -> None:
    hardware = Hardware(cpu_features=features, bfloat16_accelerators=frozenset())
    slow = slow_placement_warning(resolve_placement(DistributeOptions(quantize=quantize), hardware), hardware)
    fast = quantize in ("int8", "int4") and "avx2" in features
    assert (slow is None) == fast
    assert slow is None or (f"quantize='{quantize}'" in slow and "times as long" in slow)
    precise = slow_placement_warning(
        resolve_placement(DistributeOptions(quantize=quantize, precision="32-true"), hardware), hardware
    )
    assert precise is not None
    assert ("Use precision='bf16-true'" in precise) == fast
    gpu = Placement(devices=("cuda:0",), dtype="float32", quantize="int4")
    assert slow_placement_warning(gpu, hardware) is None


def test_plain_weights_cost_nothing_extra() -> None:
    for features in (frozenset[str](), AVX2, BF16):
        for dtype in ("float32", "bfloat16", "float16"):
            placement = Placement(devices=("cpu",), dtype=dtype)
            assert slow_placement_warning(placement, Hardware(cpu_features=features)) is None


@pytest.mark.parametrize("hardware", [OLD_CPU, Hardware()])
def test_on_a_cpu_bfloat16_is_the_default_where_it_rounds_nothing(hardware: Hardware) -> None:
    assert resolve_placement(DistributeOptions(), hardware).dtype == "bfloat16"
    assert resolve_placement(DistributeOptions(), hardware, bfloat16_loses_precision=True).dtype == "float32"
    assert (
        resolve_placement(DistributeOptions(quantize="int8"), hardware, bfloat16_loses_precision=True).dtype
        == "bfloat16"
    )
    assert (
        resolve_placement(
            DistributeOptions(precision="bf16-true"), hardware, bfloat16_loses_precision=True
        ).dtype
        == "bfloat16"
    )


@pytest.mark.parametrize(
    ("stored", "expected"),
    [
        ({"BF16": 10, "F32": 2}, False),
        ({"F32": 10}, True),
        ({"F16": 10, "BF16": 2}, True),
        ({"Q4_K": 10, "F16": 2}, False),
        ({"Q8_0": 10}, False),
        ({"NF4": 10, "F16": 9}, False),
        ({}, False),
    ],
)
def test_the_most_frequent_dtype_decides_whether_bfloat16_is_lossless(
    stored: dict[str, int],
    expected: bool,  # noqa: FBT001 - a parameter of a test
) -> None:
    tensors = [TensorInfo((rows, 8), name, rows * 8) for name, rows in stored.items()]
    norms = [TensorInfo((1000,), "F32", 4000)]
    assert loses_precision_in_bfloat16([*tensors, *norms]) == expected
