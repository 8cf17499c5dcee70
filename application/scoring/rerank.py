"""Order documents by their relevance to a query."""

import math
from array import array
from collections.abc import Iterator, Sequence
from operator import mul
from typing import Any, Literal, TypeAlias

import attrs

from litgpt.application.load_model import LoadedModel
from litgpt.application.prepare_requests import make_prompt_renderer
from litgpt.application.scoring.embed_texts import EmbedTexts
from litgpt.domain.chat.messages import Message
from litgpt.domain.errors import UnsupportedPrompt
from litgpt.domain.ports import Generator
from litgpt.domain.scoring.request import ScoringRequest
from litgpt.domain.scoring.results import RankedDocument

RerankMethod: TypeAlias = Literal["cosine", "yes_no"]

# The prompt that Qwen3-Reranker was trained with; it is a part of the model.
SYSTEM_MESSAGE = (
    "Judge whether the Document meets the requirements based on the Query and the Instruct provided. "
    'Note that the answer can only be "yes" or "no".'
)
_INSTRUCTION = "Given a web search query, retrieve relevant passages that answer the query"


@attrs.frozen
class Rerank:
    """Orders documents with a model."""

    loaded: LoadedModel[Any]
    generator: Generator

    def by_cosine(self, query: str, documents: Sequence[str]) -> list[RankedDocument]:
        """Return documents by the cosine similarity of their embeddings to that of the query."""
        return rank_by_cosine(EmbedTexts(self.loaded.tokenizer, self.generator)([query, *documents]))

    def by_answer(
        self, query: str, documents: Sequence[str], instruction: str | None = None
    ) -> list[RankedDocument]:
        """Return documents by the probability that the model answers `yes` rather than `no`.

        Raises:
            UnsupportedPrompt: The model has no chat template.
        """
        return rank(self.answer_scores(list(self.prompts(query, documents, instruction))))

    def prompts(
        self, query: str, documents: Sequence[str], instruction: str | None = None
    ) -> Iterator[list[int]]:
        """Yield the token ids of the question about each document.

        Raises:
            UnsupportedPrompt: The model has no chat template.
        """
        instruction = _INSTRUCTION if instruction is None else instruction
        try:
            for document in documents:
                yield self._prompt(query, document, instruction)
        except UnsupportedPrompt as error:
            reason = "method='yes_no' needs a chat template. Use method='cosine'."
            raise UnsupportedPrompt(error.style, reason) from error

    def answer_scores(self, prompts: Sequence[list[int]]) -> list[float]:
        """Return the probability of `yes` rather than `no` after each prompt."""
        encode = self.loaded.tokenizer.encode
        answers = [encode(answer, bos=False) for answer in ("yes", "no")]
        scores = self.generator.score(
            [ScoringRequest(ids=prompt + ids, start=len(prompt)) for prompt in prompts for ids in answers]
        )
        sums = [math.fsum(one.logprobs) for one in scores]
        return [_sigmoid(yes - no) for yes, no in zip(sums[::2], sums[1::2], strict=True)]

    def _prompt(self, query: str, document: str, instruction: str) -> list[int]:
        renderer = make_prompt_renderer(self.loaded, chat_template_kwargs={"enable_thinking": False})
        question = f"<Instruct>: {instruction}\n<Query>: {query}\n<Document>: {document}"
        messages = Message("system", SYSTEM_MESSAGE), Message("user", question)
        return renderer.encode(renderer.render(messages))


def rank_by_cosine(embeddings: "Sequence[array[float]]") -> list[RankedDocument]:
    """Rank documents by normalized embeddings, of which the first is that of the query."""
    query, *documents = embeddings
    return rank([math.fsum(map(mul, query, one)) for one in documents])


def rank(scores: Sequence[float]) -> list[RankedDocument]:
    """Return documents by descending scores; among equal ones, the first comes first."""
    ranked = [RankedDocument(index=index, score=score) for index, score in enumerate(scores)]
    return sorted(ranked, key=lambda one: -one.score)


def _sigmoid(value: float) -> float:
    if value > 0:
        return 1 / (1 + math.exp(-value))
    odds = math.exp(value)  # precise near 0, where 1 - 1 / (1 + odds) would cancel
    return odds / (1 + odds)
