"""What `litgpt info` says of a model and a memory."""

import pytest

from litgpt.cli.info import advice
from litgpt.domain.families import describe
from litgpt.domain.footprint import Memory, footprint, judge
from litgpt.domain.units import size
from tests.contracts.distribution_strategy import CONFIG

TINY = describe("tiny", CONFIG)
NEEDS = {tokens: footprint(TINY, dtype="float32", tokens=tokens) for tokens in (1, 10, TINY.context)}
ONE, TEN, ALL = (one.total for one in NEEDS.values())


@pytest.mark.parametrize(
    ("total", "free", "said"),
    [
        (ALL, ALL, "fits, with the whole context"),
        (ALL, TEN, "fits with texts of up to 10 tokens; with all, if other programs free "),
        (ALL, ONE - 1, "does not fit now; it would, if other programs freed "),
        (
            ALL - 1,
            TEN,
            f"fits with texts of up to 10 tokens of {TINY.context}; bound them by --max-new-tokens",
        ),
        (TEN, ONE - 1, "does not fit now; alone in it, texts of up to 10 tokens would"),
        (ONE - 1, ONE - 1, "does not fit, but perhaps in bfloat16: the weights alone take "),
    ],
)
def test_the_verdict_says_what_to_do(total: int, free: int, said: str) -> None:
    verdict = judge(TINY, Memory(device="memory", total=total, free=free), dtype="float32")
    assert advice(verdict, NEEDS).startswith(said)


def test_what_is_too_large_may_fit_in_fewer_bits() -> None:
    none = Memory(device="memory", total=1, free=1)
    assert "but perhaps in int4:" in advice(judge(TINY, none, dtype="bfloat16"), NEEDS)
    assert "perhaps" not in advice(judge(TINY, none, dtype="bfloat16", quantize="int4"), NEEDS)


def test_a_memory_that_holds_quantised_weights_alone_is_one_that_they_fit() -> None:
    small = footprint(TINY, dtype="bfloat16", tokens=TINY.context, quantize="int8").total
    memory = Memory(device="memory", total=small, free=small)
    assert judge(TINY, memory, dtype="bfloat16", quantize="int8").tokens_now == TINY.context
    assert judge(TINY, memory, dtype="bfloat16").tokens_now < TINY.context


@pytest.mark.parametrize(
    ("nbytes", "said"),
    [
        (0, "0.0 kB"),
        (999_949, "999.9 kB"),
        (1_000_000, "1.0 MB"),
        (96_576_768, "96.6 MB"),
        (1_341_000_000, "1.3 GB"),
    ],
)
def test_sizes_are_decimal(nbytes: int, said: str) -> None:
    assert size(nbytes) == said
