"""Tests of the compiler of constraints, and of both samplers with masks."""

import json
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor

from litgpt.adapters.constraints.llguidance_compiler import LlguidanceCompiler
from litgpt.adapters.tokenization.checkpoint_tokenizer import CheckpointTokenizer
from litgpt.adapters.tokenization.factory import open_tokenizer
from litgpt.application.structured_output import CompileConstraint
from litgpt.domain.constraints.spec import ConstraintSpec
from litgpt.domain.constraints.token_constraint import TokenConstraint
from litgpt.domain.errors import InvalidArgument, NotInstalled, UnsupportedOperation
from litgpt.domain.generation.errors import AllTokensExcluded, ConstraintFailed
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.generation.sampler_state import SamplerState
from litgpt.domain.generation.sampling_params import SamplingParams
from litgpt.domain.ports import Tokenizer
from litgpt.domain.tool_calls.answer_syntax import answer_syntax
from litgpt.testing import ByteTokenizer
from tests.adapters import tiny_tokenizers as tiny
from tests.adapters.sampling_references import ENGINES, no_seed, sample
from tests.adapters.test_gguf_tokenizer import vocabulary_of
from tests.contracts.constraint_compiler import ConstraintCompilerContract

pytest.importorskip("llguidance")

END = 257
COMPILER = LlguidanceCompiler()
BYTES = ByteTokenizer()


def compiled(
    spec: ConstraintSpec, tokenizer: Tokenizer = BYTES, *, stop: int = END, begins_text: bool = True
) -> TokenConstraint:
    return COMPILER.compile(
        spec, tokenizer, stop_token_ids=frozenset((stop,)), begins_text=begins_text
    ).copy()


def allowed(constraint: TokenConstraint) -> list[int]:
    mask = constraint.mask()
    if isinstance(mask, frozenset):
        return sorted({*range(BYTES.vocab_size)} - mask)
    bits = np.unpackbits(np.frombuffer(mask, np.uint8), bitorder="little")
    ids: list[int] = bits.nonzero()[0].tolist()
    return ids


def random_answer(constraint: TokenConstraint, draw: st.DataObject, stop: int = END) -> list[int]:
    """Return the tokens of an answer, each drawn from those that the constraint allows."""
    tokens: list[int] = []
    while not constraint.is_finished:
        token = draw.draw(st.sampled_from(allowed(constraint)))
        constraint.advance(token)
        if token == stop:
            break
        tokens.append(token)
    return tokens


class TestLlguidance(ConstraintCompilerContract):
    @pytest.fixture
    def compiler(self) -> LlguidanceCompiler:
        return COMPILER


@settings(deadline=None)
@given(choices=st.lists(st.text(max_size=8), min_size=1, max_size=5, unique=True), draw=st.data())
def test_every_answer_is_one_of_the_choices(choices: list[str], draw: st.DataObject) -> None:
    constraint = compiled(ConstraintSpec("choices", tuple(choices)))
    assert BYTES.decode(random_answer(constraint, draw)) in choices


@settings(deadline=None, max_examples=30)
@given(draw=st.data())
@pytest.mark.parametrize("regex", [r"(a|bc){2,5}", r"[a-zé]{3}\.", r" ?x{0,3}", r"-?(0|[1-9][0-9]{0,4})"])
def test_answers_of_a_sentencepiece_model_match_the_regular_expression(
    regex: str, draw: st.DataObject
) -> None:
    tokenizer = sentencepiece()
    assert tokenizer.leading_spaces == 1
    answer = random_answer(compiled(ConstraintSpec("regex", regex), tokenizer, stop=2), draw, stop=2)
    assert re.fullmatch(regex, tokenizer.decode(answer))


def sentencepiece() -> CheckpointTokenizer:
    if "model" not in _OPEN:
        library = SentencePieceProcessor(model_proto=tiny.sentencepiece_bytes(byte_fallback=True))
        _OPEN["model"] = open_tokenizer(
            tiny.vocabulary_of(library, user_defined=[]), name="tiny", vocab_size=None
        )
    return _OPEN["model"]


_OPEN: dict[str, CheckpointTokenizer] = {}


def test_a_gguf_vocabulary_and_tokenizer_json_give_the_same_masks(
    smollm2_gguf: Path, smollm2_folder: Path
) -> None:
    from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder

    checkpoint = open_hf_folder(smollm2_folder, "smollm2")
    sources = (vocabulary_of(smollm2_gguf), checkpoint.read_tokenizer())
    gguf, files = (open_tokenizer(source, name="smollm2", vocab_size=49152) for source in sources)
    spec = ConstraintSpec("schema", '{"type": "object", "properties": {"né": {"type": "string"}}}')
    stop = gguf.eos_id
    assert stop is not None
    one, other = compiled(spec, gguf, stop=stop), compiled(spec, files, stop=stop)
    for token in gguf.encode('{"né": "Übung 🦙\\n', bos=False):
        assert one.mask() == other.mask()
        assert token in allowed(one)
        one.advance(token)
        other.advance(token)


@pytest.mark.parametrize("engine", ENGINES)
def test_a_constraint_leaves_only_its_tokens(engine: str) -> None:
    logits = np.random.default_rng(0).normal(size=(3, 300)).astype(np.float32)
    spec = ConstraintSpec("regex", "[a-f]{2}")
    states = [
        SamplerState(SamplingParams(seed=1), no_seed, (), frozenset((END,)), compiled(spec)),
        SamplerState(SamplingParams(temperature=0), no_seed),
        SamplerState(
            SamplingParams(seed=1, allowed_token_ids=(97, 98, 200)), no_seed, (), frozenset(), compiled(spec)
        ),
    ]
    first = sample(engine, logits, states)
    assert chr(first[0]) in "abcdef"
    assert first[1] == logits[1].argmax()
    assert first[2] in (97, 98)
    for state, token in zip(states, first, strict=True):
        state.append(token)
    assert not states[0].is_finished
    states[0].append(97)
    assert states[0].is_finished
    assert sample(engine, logits[:1], states[:1]) == [END]


@pytest.mark.parametrize("engine", ENGINES)
def test_no_token_that_both_options_allow_is_an_error(engine: str) -> None:
    params = SamplingParams(seed=1, allowed_token_ids=(200,))
    state = SamplerState(params, no_seed, (), frozenset(), compiled(ConstraintSpec("regex", "a")))
    with pytest.raises(AllTokensExcluded):
        sample(engine, np.zeros((1, 300), np.float32), [state])


@settings(deadline=None, max_examples=50, derandomize=True)
@given(seed=st.integers(0, 10**6), steps=st.integers(0, 4), top_k=st.sampled_from([None, 1, 5]))
def test_both_engines_draw_the_same_tokens(seed: int, steps: int, top_k: int | None) -> None:
    constraint = compiled(ConstraintSpec("regex", "(ab|[x-z]{1,9})*"))
    drawn = []
    for engine in ENGINES:
        logits = np.random.default_rng(seed).normal(size=(1, 280)).astype(np.float32)
        state = SamplerState(
            SamplingParams(seed=seed, top_k=top_k), no_seed, (), frozenset((END,)), constraint
        )
        tokens = []
        for _ in range(steps + 1):
            tokens += sample(engine, logits, [state])
            state.append(tokens[-1])
        drawn.append(tokens)
    assert drawn[0] == drawn[1]


def test_a_token_that_breaks_the_constraint_is_an_error_at_the_next_one() -> None:
    constraint = compiled(ConstraintSpec("regex", "ab"))
    constraint.advance(ord("x"))
    assert not constraint.is_finished
    with pytest.raises(ConstraintFailed, match="followed any further"):
        constraint.mask()


def test_a_missing_library_is_an_error_with_the_command(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "llguidance", None)
    with pytest.raises(NotInstalled, match=re.escape('Run: pip install "litgpt[structured]"')):
        compiled(ConstraintSpec("regex", "a"))


THINKING = "{{ '<think>' }}{{ '</think>' }}"


@pytest.mark.parametrize(
    ("prompt", "answer"),
    [("Q<think>", "Hm, a?</think>"), ("Q<think></think>", ""), ("Q", "")],
)
def test_a_constraint_begins_after_the_reasoning(prompt: str, answer: str) -> None:
    compiler, spec = CompileConstraint(COMPILER, BYTES), ConstraintSpec("choices", ("yes",))
    request = GenerationRequest(prompt=[1], stop_token_ids=frozenset((END,)))
    constrained = compiler(request, answer_syntax(THINKING, prompt, None), spec)
    assert constrained.constraint is not None
    constraint = constrained.constraint.copy()
    for token in answer.encode():
        assert token in allowed(constraint)
        assert END not in allowed(constraint)
        constraint.advance(token)
    for letter in b"yes":
        assert not constraint.is_finished
        assert allowed(constraint) == [letter]
        constraint.advance(letter)
    assert constraint.is_finished


@pytest.mark.parametrize(
    ("schema", "allowed_first"),
    [
        ({"type": "string", "format": "path"}, b'"'),
        ({"type": "integer", "minimum": 1, "maximum": 9, "format": "int64"}, b"123456789"),
        ({"$defs": {"a": {"enum": [7], "format": "x"}}, "anyOf": [{"$ref": "#/$defs/a"}]}, b"7"),
        ({"items": {"type": "null", "format": "x"}, "type": "array"}, b"["),
    ],
)
def test_formats_that_json_schema_does_not_define_are_annotations(
    schema: dict[str, object], allowed_first: bytes
) -> None:
    constraint = compiled(ConstraintSpec("schema", json.dumps(schema)))
    assert bytes(allowed(constraint)) == allowed_first


def test_a_property_with_the_name_of_a_keyword_stays() -> None:
    schema = {
        "type": "object",
        "properties": {"format": {"const": {"format": "path"}}},
        "required": ["format"],
        "additionalProperties": False,
    }
    constraint = compiled(ConstraintSpec("schema", json.dumps(schema)))
    assert bytes(constraint.forced()) == b"{"
    for letter in b'{"format":{"format":"path"}}':
        assert letter in allowed(constraint)
        constraint.advance(letter)
    assert constraint.is_finished


@pytest.mark.parametrize(
    ("schema", "message"),
    [
        ({"type": "string", "format": "iri"}, "Unknown format: iri"),
        ({"oneOf": [{"type": "integer"}, {"type": "number"}]}, "Use anyOf instead"),
        ({"not": {"type": "null"}}, 'Unimplemented keys: ["not"]'),
    ],
)
def test_schemas_that_cannot_be_enforced_are_refused_with_the_keyword(
    schema: dict[str, object], message: str
) -> None:
    with pytest.raises(InvalidArgument, match=re.escape(message)):
        compiled(ConstraintSpec("schema", json.dumps(schema)))


def test_masks_are_computed_by_another_thread_and_are_the_same() -> None:
    spec = ConstraintSpec("regex", "(ab|[x-z]{1,9})*")
    first, *others = [compiled(spec) for _ in range(20)]
    text = b"abxyzab"
    expected = []
    for letter in text:
        expected.append(first.mask())
        first.advance(letter)
    for mask, letter in zip(expected, text, strict=True):
        for it in others:
            it.forced()  # the mask is computed from here on, unless a token is forced
        for it in others:
            assert it.mask() == mask
            it.advance(letter)


def test_templates_with_channels_are_refused() -> None:
    compiler, spec = CompileConstraint(COMPILER, BYTES), ConstraintSpec("choices", ("yes",))
    request = GenerationRequest(prompt=[1], stop_token_ids=frozenset((END,)))
    syntax = answer_syntax("<|channel|><|message|><|start|>", "", None)
    with pytest.raises(UnsupportedOperation, match="channels"):
        compiler(request, syntax, spec)


def test_a_program_ends_while_masks_are_computed() -> None:
    code = """
from llguidance import LLMatcher, LLTokenizer, TokenizerWrapper
from litgpt.adapters.constraints.llguidance_constraint import LlguidanceConstraint, MaskThread

class Vocabulary:
    bos_token_id, eos_token_id, special_token_ids = None, 20000, [20000]
    tokens = [bytes([value]) for value in range(256)]
    tokens += [b"x%d" % number for number in range(20000 - 256)] + [b"<end>"]

    def __call__(self, text):
        return []

grammar = LLMatcher.grammar_from_regex("([a-z0-9]{3,9} ?){1,400}[a-z]+")
matcher = LLMatcher(LLTokenizer(TokenizerWrapper(Vocabulary())), grammar, log_level=0)
masks = MaskThread()
constraint = LlguidanceConstraint(matcher, 20000, frozenset({5}), masks)
for _ in range(400):
    masks.compute(constraint.copy())
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
