"""`LLM.score`, `logprobs`, `perplexity`, `embed` and `rerank`: what the model makes of given texts."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal, overload

from litgpt.application.scoring.parse_texts import parse_scored, parse_texts
from litgpt.domain.errors import InvalidArgument, WrongType
from litgpt.domain.validation.call_signatures import public_function
from litgpt.domain.validators import flag, integer
from litgpt.llm_parts.base import BaseLLM

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from litgpt.application.scoring.score_text import ScoreText
    from litgpt.domain.scoring.results import ContinuationScore, RankedDocument, TextLogprobs


class ScoringMixin(BaseLLM):
    """Log-probabilities and embeddings of given texts."""

    @overload
    def score(self, prompt: str, continuations: Sequence[str]) -> "list[ContinuationScore]": ...
    @overload
    def score(
        self, prompt: list[str], continuations: Sequence[Sequence[str]]
    ) -> "list[list[ContinuationScore]]": ...
    @public_function()
    def score(
        self, prompt: str | list[str], continuations: Sequence[str] | Sequence[Sequence[str]]
    ) -> "list[ContinuationScore] | list[list[ContinuationScore]]":
        """Return how likely the model continues a prompt with given texts.

        All texts are computed in batches, and the common beginning of several of them once. Texts are used
        unchanged, without a chat template, and tokenized as in lm-eval: a prompt and its continuation are
        encoded together and split at the number of tokens of the prompt alone, after its trailing spaces are
        moved to the continuation. Special tokens such as `<|im_end|>` are recognized, and the tokenizer's
        files determine whether the beginning-of-sequence token is added.

        Args:
            prompt: A text, or a list of texts. It may be empty: the continuation then follows the
                beginning-of-sequence token, or the end-of-sequence token if there is none.
            continuations: A list of texts; for a list of prompts, a list of such lists.

        Returns:
            The score of each continuation; a list of such lists for a list of prompts.

        Raises:
            NotDistributed: The model is not on a device yet.
            WrongType: An argument is neither a text nor a list of the right kind.
            InvalidArgument: A continuation is empty, or the lists have different lengths.
            TextTooLong: A prompt and its continuation are longer than the context.
            NonFiniteLogits: The logits are not finite.
        """
        pairs, is_batch = parse_scored(prompt, continuations)
        scores = self._score_text().continuations(pairs)
        return scores if is_batch else scores[0]

    @overload
    def logprobs(self, text: str) -> "TextLogprobs": ...
    @overload
    def logprobs(self, text: list[str]) -> "list[TextLogprobs]": ...
    @public_function()
    def logprobs(self, text: str | list[str]) -> "TextLogprobs | list[TextLogprobs]":
        """Return the log-probability of each token of a text.

        Args:
            text: A text, or a list of texts of any lengths, which are used unchanged.

        Raises:
            NotDistributed: The model is not on a device yet.
            WrongType: It is neither a text nor a list of texts.
            InvalidArgument: A text is empty.
            TextTooLong: A text is longer than the context.
            NonFiniteLogits: The logits are not finite.
        """
        texts, is_batch = parse_texts("text", text)
        scores = self._score_text().logprobs(texts)
        return scores if is_batch else scores[0]

    @public_function()
    def perplexity(self, text: str | PathLike[str], *, stride: int | None = None) -> float:
        """Return the perplexity of a text: the exponential of its tokens' mean negative log-likelihood.

        A text that is longer than the context is read in windows of the context length, `stride` tokens
        apart. A token is scored in the first window that has it, so with at least `context - stride` tokens
        before it: the strided method of transformers' guide. The first token of the text is not scored.

        Args:
            text: The text, or the `pathlib.Path` of a file in UTF-8. A string is always the text itself.
            stride: The tokens between the beginnings of two windows, less than the context length. Smaller
                values take more time and give a lower perplexity. None: half of the context length.

        Raises:
            NotDistributed: The model is not on a device yet.
            WrongType: It is neither a text nor a path.
            InvalidArgument: The text has fewer than two tokens, the file cannot be read as text, or the
                stride is out of bounds.
            NonFiniteLogits: The logits are not finite.
        """
        return self._score_text().perplexity(_read(text), stride)

    @public_function()
    def embed(
        self,
        texts: str | list[str],
        *,
        pooling: Literal["last", "mean"] = "last",
        normalize: bool = True,
    ) -> "NDArray[np.float32]":
        """Return an embedding of each text, a NumPy array (N, D) of float32.

        It is the hidden state after the final norm, of the last token or the mean over all tokens.

        Args:
            texts: A text, or a list of N texts of any lengths, which are used unchanged.
            pooling: `last`: the hidden state of the last token; `mean`: the mean over all tokens.
            normalize: Whether to divide each embedding by its Euclidean norm, so that the dot product of two
                embeddings is their cosine similarity.

        Raises:
            NotDistributed: The model is not on a device yet.
            WrongType: An argument has another type.
            InvalidArgument: A text is empty, or `pooling` is not valid.
            TextTooLong: A text is longer than the context.
        """
        parsed, _ = parse_texts("texts", texts)
        if pooling not in ("last", "mean"):
            raise InvalidArgument("pooling", pooling, "'last' or 'mean'")
        flag("normalize", normalize)
        import numpy as np

        from litgpt.application.scoring.embed_texts import EmbedTexts

        embed = EmbedTexts(self._loaded.tokenizer, self._generator())
        rows = embed(parsed, pooling, normalize=normalize)
        return np.array(rows, dtype=np.float32).reshape(len(rows), self._loaded.architecture.hidden_size)

    @public_function()
    def rerank(
        self,
        query: str,
        documents: list[str],
        top_n: int | None = None,
        *,
        method: Literal["cosine", "yes_no"] = "cosine",
        instruction: str | None = None,
    ) -> "list[RankedDocument]":
        """Return documents by their relevance to a query, the most relevant first.

        Args:
            query: A text.
            documents: A list of texts.
            top_n: The largest number of documents that are returned; None: all.
            method: `cosine`, for embedding models: the score is the cosine similarity of `embed` of the query
                and the document, with the hidden state of the last token. `yes_no`, for Qwen3-Reranker and
                other chat models: the score is the probability, from 0 to 1, that the model answers the
                question whether the document meets the requirements with `yes` rather than `no`.
            instruction: What the query asks for, with `yes_no`; None: passages that answer a web search.

        Raises:
            NotDistributed: The model is not on a device yet.
            WrongType: An argument has another type.
            InvalidArgument: A text is empty, or an argument is not valid.
            TextTooLong: A text, or a prompt with it, is longer than the context.
            UnsupportedPrompt: The model has no chat template for `yes_no`.
        """
        if not isinstance(query, str):
            raise WrongType("query", query, "a text")
        (question,), _ = parse_texts("query", query)
        texts, is_list = parse_texts("documents", documents)
        if not is_list:
            raise WrongType("documents", documents, "a list of texts")
        top_n = None if top_n is None else integer("top_n", top_n, 1, "a positive integer or None")
        if method not in ("cosine", "yes_no"):
            raise InvalidArgument("method", method, "'cosine' or 'yes_no'")
        if instruction is not None and not isinstance(instruction, str):
            raise WrongType("instruction", instruction, "a text or None")
        if instruction == "":
            raise InvalidArgument("instruction", instruction, "a non-empty text or None")
        if instruction is not None and method == "cosine":
            raise InvalidArgument("instruction", instruction, "None with method='cosine'")
        from litgpt.application.scoring.rerank import Rerank

        rerank = Rerank(self._loaded, self._generator())
        if method == "cosine":
            return rerank.by_cosine(question, texts)[:top_n]
        return rerank.by_answer(question, texts, instruction)[:top_n]

    def _score_text(self) -> "ScoreText":
        from litgpt.application.scoring.score_text import ScoreText

        return ScoreText(self._loaded.tokenizer, self._generator())


def _read(text: str | PathLike[str]) -> str:
    if isinstance(text, str):
        return text
    if not isinstance(text, PathLike):
        raise WrongType("text", text, "a text, or the pathlib.Path of a file")
    try:
        return Path(text).read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise InvalidArgument("text", str(text), f"the path of a readable file in UTF-8 ({error})") from error
