"""What every ConstraintCompiler does."""

import pytest

from litgpt.domain.constraints.spec import ConstraintSpec
from litgpt.domain.constraints.token_constraint import TokenConstraint
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.ports import ConstraintCompiler
from litgpt.testing import ByteTokenizer

STOP, OTHER_STOP = 257, 258
ABC = (
    ConstraintSpec("regex", "ab|ac"),
    ConstraintSpec("choices", ("ab", "ac")),
    ConstraintSpec("grammar", 'start: "a" ("b" | "c")'),
)


def allowed(constraint: TokenConstraint) -> set[int]:
    mask = constraint.mask()
    assert isinstance(mask, bytes)
    return {token for token in range(8 * len(mask)) if mask[token >> 3] >> (token & 7) & 1}


class ConstraintCompilerContract:
    """Subclass it with a fixture `compiler`."""

    @pytest.fixture
    def compiler(self) -> ConstraintCompiler:
        raise NotImplementedError

    def compiled(self, compiler: ConstraintCompiler, spec: ConstraintSpec) -> TokenConstraint:
        return compiler.compile(spec, ByteTokenizer(), stop_token_ids=frozenset((STOP, OTHER_STOP)))

    @pytest.mark.parametrize("spec", ABC, ids=lambda spec: str(spec.kind))
    def test_only_tokens_that_match_are_allowed(
        self, compiler: ConstraintCompiler, spec: ConstraintSpec
    ) -> None:
        constraint = self.compiled(compiler, spec)
        assert allowed(constraint) == {ord("a")}
        constraint.advance(ord("a"))
        assert allowed(constraint) == {ord("b"), ord("c")}
        assert not constraint.is_finished
        constraint.advance(ord("c"))
        assert allowed(constraint) == {STOP, OTHER_STOP}
        assert constraint.is_finished

    def test_stop_tokens_are_allowed_where_the_answer_is_complete(self, compiler: ConstraintCompiler) -> None:
        constraint = self.compiled(compiler, ConstraintSpec("regex", "a+"))
        assert allowed(constraint) == {ord("a")}
        constraint.advance(ord("a"))
        assert allowed(constraint) == {ord("a"), STOP, OTHER_STOP}
        assert not constraint.is_finished
        constraint.advance(OTHER_STOP)

    def test_copies_are_independent(self, compiler: ConstraintCompiler) -> None:
        constraint = self.compiled(compiler, ABC[0])
        constraint.advance(ord("a"))
        copy = constraint.copy()
        copy.advance(ord("b"))
        assert copy.is_finished
        assert not constraint.is_finished
        assert allowed(constraint) == {ord("b"), ord("c")}

    def test_a_json_value_matches_the_schema(self, compiler: ConstraintCompiler) -> None:
        constraint = self.compiled(compiler, ConstraintSpec("schema", '{"enum": ["x", 17]}'))
        assert allowed(constraint) == set(b'"1')

    @pytest.mark.parametrize(
        "spec",
        [
            ConstraintSpec("schema", '{"type": "nope"}'),
            ConstraintSpec("regex", "("),
            ConstraintSpec("grammar", "start: missing"),
        ],
        ids=lambda spec: str(spec.kind),
    )
    def test_wrong_ones_are_errors(self, compiler: ConstraintCompiler, spec: ConstraintSpec) -> None:
        with pytest.raises(InvalidArgument, match=spec.kind):
            self.compiled(compiler, spec)
        with pytest.raises(InvalidArgument, match=spec.kind):
            compiler.check(spec)

    @pytest.mark.parametrize("spec", ABC, ids=lambda spec: str(spec.kind))
    def test_right_ones_pass_the_check(self, compiler: ConstraintCompiler, spec: ConstraintSpec) -> None:
        compiler.check(spec)
