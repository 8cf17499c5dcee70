"""Constrained decoding with the library llguidance, for any tokenizer."""

import json
import weakref
from typing import TYPE_CHECKING, Any

import attrs

from litgpt.adapters.constraints.json_schema import explain, prepare_schema
from litgpt.adapters.constraints.llguidance_constraint import LlguidanceConstraint, MaskThread
from litgpt.domain.constraints.spec import ConstraintSpec
from litgpt.domain.errors import InvalidArgument, NotInstalled
from litgpt.domain.ports import Tokenizer

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer

# What JSON writers put between values. More would let a model write white space up to the maximum length.
_WHITESPACE = r" ?|\n {0,32}"


@attrs.frozen
class LlguidanceCompiler:
    """Implements the port ConstraintCompiler; the vocabulary of a tokenizer is read once."""

    _tokenizers: "dict[int, tuple[weakref.ref[Tokenizer], LLTokenizer]]" = attrs.field(
        factory=dict, init=False, repr=False
    )
    _masks: MaskThread = attrs.field(factory=MaskThread, init=False, repr=False)

    def compile(
        self,
        spec: ConstraintSpec,
        tokenizer: Tokenizer,
        *,
        stop_token_ids: frozenset[int],
        begins_text: bool = True,
    ) -> "LlguidanceConstraint":
        matcher = _matcher_class(spec)
        vocabulary = self._vocabulary(tokenizer)
        grammar = _grammar(spec, leading_spaces=tokenizer.leading_spaces if begins_text else 0)
        _validate(spec, matcher.validate_grammar(grammar, vocabulary))
        compiled = matcher(vocabulary, grammar, log_level=0)
        return LlguidanceConstraint(compiled, tokenizer.vocab_size, stop_token_ids, self._masks)

    def check(self, spec: ConstraintSpec) -> None:
        _validate(spec, _matcher_class(spec).validate_grammar(_grammar(spec, leading_spaces=0)))

    def _vocabulary(self, tokenizer: Tokenizer) -> "LLTokenizer":
        key = id(tokenizer)
        cached = self._tokenizers.get(key)
        if cached is not None and cached[0]() is tokenizer:
            return cached[1]
        from llguidance import LLTokenizer, TokenizerWrapper

        vocabulary = LLTokenizer(TokenizerWrapper(_Vocabulary(tokenizer)))
        forget = weakref.ref(tokenizer, lambda _: self._tokenizers.pop(key, None))
        self._tokenizers[key] = forget, vocabulary
        return vocabulary


class _Vocabulary:
    """The vocabulary of a tokenizer, with the attributes that llguidance reads."""

    bos_token_id = None

    def __init__(self, tokenizer: Tokenizer) -> None:
        size = tokenizer.vocab_size
        self.eos_token_id = size
        self.tokens = [*map(tokenizer.token_bytes, range(size)), b"<end>"]
        self.special_token_ids = [size]
        self._tokenizer = weakref.ref(tokenizer)  # the cache of vocabularies must not keep it
        self._ids = {text: token for token, text in enumerate(self.tokens[:size]) if text}
        self._longest = max(map(len, self._ids), default=0)

    def __call__(self, text: str) -> list[int]:
        """Return the tokens of a text within an answer, which llguidance prefers where only it can follow."""
        raw, tokenizer = text.encode(), self._tokenizer()
        if tokenizer is None:
            return self._longest_tokens(raw)
        for before in ("", "\n"):  # many tokenizers insert a space at the beginning, but not in a line
            ids = tokenizer.encode(before + text, bos=False)
            starts = range(min(len(ids), 3 if before else 1))
            for at in starts:
                if b"".join(self.tokens[token] for token in ids[at:]) == raw:
                    return ids[at:]
        return self._longest_tokens(raw)

    def _longest_tokens(self, text: bytes) -> list[int]:
        """Return tokens of a text from left to right, each the longest possible."""
        ids: list[int] = []
        at = 0
        while at < len(text):
            ends = range(min(len(text), at + self._longest), at, -1)
            end = next((end for end in ends if text[at:end] in self._ids), None)
            if end is None:
                break
            ids.append(self._ids[text[at:end]])
            at = end
        return ids


def _matcher_class(spec: ConstraintSpec) -> "type[LLMatcher]":
    try:
        from llguidance import LLMatcher
    except ImportError as error:
        install = 'pip install "litgpt[structured]"'
        raise NotInstalled(f"{spec.kind}=", "llguidance", install) from error
    return LLMatcher


def _validate(spec: ConstraintSpec, problem: str) -> None:
    if problem:
        message = explain(" ".join(problem.split()))
        raise InvalidArgument(spec.kind, spec.source, f"one that llguidance supports ({message})")


def _grammar(spec: ConstraintSpec, *, leading_spaces: int) -> str:
    """Return a grammar of llguidance, which begins with the spaces that decoding drops."""
    from llguidance import LLMatcher

    source: Any = spec.source
    if spec.kind == "schema":
        grammar: str = LLMatcher.grammar_from_json_schema(
            prepare_schema(source), overrides={"whitespace_pattern": _WHITESPACE}
        )
    elif spec.kind == "grammar":
        grammar = LLMatcher.grammar_from_lark(source)
    else:
        regex = source if spec.kind == "regex" else "|".join(map(_escape, source))
        grammar = LLMatcher.grammar_from_regex(regex)
    if not leading_spaces:
        return grammar
    (answer,) = json.loads(grammar)["grammars"]
    start = {"lark_grammar": f"start: {json.dumps(' ' * leading_spaces)} @answer"}
    return json.dumps({"grammars": [start, {**answer, "name": "answer"}]})


def _escape(text: str) -> str:
    return "".join(letter if letter.isalnum() else f"\\x{{{ord(letter):X}}}" for letter in text)
