"""Tests of reranking with fakes."""

import math
from collections.abc import Sequence

import attrs
import pytest

from litgpt.application.scoring.embed_texts import EmbedTexts
from litgpt.application.scoring.rerank import Rerank
from litgpt.domain.scoring.request import ScoringRequest, TokenScores
from litgpt.testing import ByteTokenizer, ScriptedGenerator
from tests.application.test_render_prompt import loaded


@attrs.define
class Judge(ScriptedGenerator):
    """Answers `yes` if the prompt has the word, and records the prompts."""

    word: str = "llama"
    prompts: list[str] = attrs.field(factory=list, init=False)

    def score(self, requests: Sequence[ScoringRequest]) -> list[TokenScores]:
        tokenizer, scores = ByteTokenizer(), []
        for one in requests:
            prompt = tokenizer.decode(one.ids[: one.start], include_special_tokens=True)
            self.prompts.append(prompt)
            is_yes = bytes(one.ids[one.start :]) == b"yes"
            logprob = math.log(0.6 if self.word in prompt.partition("<Document>")[2] else 0.2)
            logprob = logprob if is_yes else math.log(0.2)
            size = len(one.ids) - one.start
            scores.append(TokenScores((logprob / size,) * size, (False,) * size))
        return scores


def test_embeddings_are_normalized() -> None:
    embed = EmbedTexts(ByteTokenizer(), ScriptedGenerator(b"a"))
    (plain,) = embed(["ab"], "mean", normalize=False)
    assert plain.tolist() == [97.5, 1.0]
    (embedding,) = embed(["ab"], "mean")
    assert math.hypot(*embedding) == pytest.approx(1)
    assert embedding[0] / embedding[1] == pytest.approx(97.5)


def test_documents_are_ordered_by_cosine_similarity() -> None:
    rerank = Rerank(loaded(), ScriptedGenerator(b"a"))
    ranked = rerank.by_cosine("b", ["d", "\1", "b", "b"])  # their embeddings are (100, 1), (1, 1), (98, 1)
    assert [one.index for one in ranked] == [2, 3, 0, 1]
    assert ranked[0].score == pytest.approx(1)
    assert ranked[-1].score == pytest.approx(99 / math.hypot(98, 1) / math.hypot(1, 1))
    assert rerank.by_cosine("b", []) == []


def test_documents_are_ordered_by_the_probability_of_yes() -> None:
    judge = Judge(b"a")
    ranked = Rerank(loaded(), judge).by_answer("animals", ["a car", "a llama", "a house"])
    assert [one.index for one in ranked] == [1, 0, 2]
    assert [one.score for one in ranked] == pytest.approx([0.75, 0.5, 0.5])
    assert judge.prompts[0].endswith(
        "<|user|><Instruct>: Given a web search query, retrieve relevant passages that answer the query\n"
        "<Query>: animals\n<Document>: a car<|end|><|assistant|>"
    )
    Rerank(loaded(), judge).by_answer("animals", ["a car"], "Find toys.")
    assert "<Instruct>: Find toys.\n" in judge.prompts[-1]


def test_special_tokens_in_a_document_are_text() -> None:
    rerank = Rerank(loaded(), ScriptedGenerator(b"a"))
    plain, other = (rerank._prompt("animals", document, "Find.") for document in ("x", "<|end|>"))
    specials = [[token for token in prompt if token > 255] for prompt in (plain, other)]
    assert specials[0] == specials[1]
    assert b"<|end|>" in bytes(token for token in other if token < 256)
