"""Compiled constraints are shared by several threads."""

import random
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from litgpt.application.generate_text import GenerateText
from litgpt.application.structured_output import CompileConstraint, OutputFormat
from litgpt.domain.constraints.spec import ConstraintSpec
from litgpt.domain.constraints.token_constraint import TokenConstraint
from litgpt.domain.generation.request import GenerationRequest
from litgpt.testing import ByteTokenizer


class Compiler:
    """Returns a new constraint, and counts."""

    num_compiled = 0

    def compile(self, *_: Any, **__: Any) -> TokenConstraint:
        self.num_compiled += 1
        compiled: Any = object()
        return compiled  # type: ignore[no-any-return]

    def check(self, spec: ConstraintSpec) -> None:
        """Accept it."""


REQUEST = GenerationRequest(prompt=[1], stop_token_ids=frozenset((2,)))


@pytest.fixture
def often_switching() -> Iterator[None]:
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(before)


@pytest.mark.usefixtures("often_switching")
def test_several_threads_compile_more_constraints_than_are_kept() -> None:
    constrain = CompileConstraint(Compiler(), ByteTokenizer())
    specs = [ConstraintSpec("choices", (str(number),)) for number in range(90)]

    def run(seed: int) -> None:
        rng = random.Random(seed)  # noqa: S311 - not cryptography
        for _ in range(4000):
            constrain(REQUEST, None, rng.choice(specs))

    with ThreadPoolExecutor(4) as threads:
        assert [*threads.map(run, range(4))] == [None] * 4


def test_answers_with_one_constraint_share_what_is_compiled() -> None:
    compiler, generator = Compiler(), Any
    texts = GenerateText(ByteTokenizer(), generator, compiler)  # type: ignore[arg-type]
    output = OutputFormat(ConstraintSpec("choices", ("yes",)))
    for _ in range(2):
        texts.constrain([REQUEST, REQUEST], [None, None], output)
    assert compiler.num_compiled == 1
