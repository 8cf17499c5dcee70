"""`LLM.score`, `LLM.logprobs`, `LLM.perplexity` and `LLM.embed`: what the model makes of given texts."""

from collections.abc import Sequence
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Literal, cast, overload

from litgpt.application.scoring.parse_texts import parse_scored, parse_texts
from litgpt.domain.errors import InvalidArgument, WrongType
from litgpt.domain.progress import Notice
from litgpt.domain.validation.call_signatures import public_function
from litgpt.domain.validators import flag
from litgpt.llm_parts.base import BaseLLM

if TYPE_CHECKING:
    from torch import Tensor

    from litgpt.adapters.pytorch.model.gpt import GPT
    from litgpt.application.scoring.score_text import ScoreText
    from litgpt.domain.scoring.results import ContinuationScore, TextLogprobs


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
    ) -> "Tensor":
        """Return an embedding of each text, (N, D), in float32 on the CPU.

        It is the hidden state after the final norm, of the last token or the mean over all tokens. PyTorch
        computes it. With the native engine, the first call reads the weights again for PyTorch, which
        `distribute(engine="torch")` avoids.

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
        from litgpt.domain.scoring.request import check_sequences

        sequences = [self._loaded.tokenizer.encode(text) for text in parsed]
        check_sequences(sequences, self._generator().context, self._loaded.architecture.vocab_size)
        from litgpt.adapters.pytorch.generation.embedding import embed

        with self._lock.using():
            self._require_full_model("Embedding with")
            if self._uses_native_engine and self._network is None:
                self._report(Notice("PyTorch computes embeddings. It reads the weights again."))
            return embed(cast("GPT", self.model), sequences, pooling, normalize=normalize)

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
