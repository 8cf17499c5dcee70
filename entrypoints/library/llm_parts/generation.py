"""`LLM.generate` and `LLM.complete`: generate answers as text, token ids or completions."""

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, Unpack, overload

from litgpt.application.generate_text import CompletionStream, GenerateText
from litgpt.application.prepare_requests import PreparedRequests, make_prompt_renderer, prepare_requests
from litgpt.domain.generation.request import Completion, CompletionChunk
from litgpt.domain.generation.sampling_params import MODEL_DEFAULT, ModelDefault
from litgpt.domain.validation.call_signatures import public_function
from litgpt.llm_parts.answer_format import format_answer, format_chunks
from litgpt.llm_parts.base import BaseLLM
from litgpt.llm_parts.generate_kwargs import (
    SHARED_OPTIONS,
    ChatKwargs,
    GenerateKwargs,
    NamedGenerateKwargs,
    Prompt,
    Prompts,
    SamplingKwargs,
    split_kwargs,
)

if TYPE_CHECKING:
    from torch import Tensor

Answer: TypeAlias = "str | Tensor | Completion"
"""The result of `generate` for one prompt: text, token ids (T,), or a completion."""
Completions: TypeAlias = Completion | list[Completion] | list[list[Completion]]
Answers: TypeAlias = "Answer | Sequence[Answer] | Sequence[Sequence[Answer]]"


class GenerationMixin(BaseLLM):
    """Text generation."""

    # One overload for each result type: text or token ids, complete or streamed, one prompt or several.
    @overload
    def generate(
        self,
        prompt: Prompt | Prompts,
        *,
        schema: type | Mapping[str, Any],
        n: int | None = ...,
        return_as_token_ids: Literal[False] = ...,
        stream: Literal[False] = ...,
        **how: Unpack[GenerateKwargs],
    ) -> Any: ...
    @overload
    def generate(
        self,
        prompt: Prompt,
        *,
        return_as_token_ids: Literal[False] = ...,
        stream: Literal[False] = ...,
        **how: Unpack[GenerateKwargs],
    ) -> str: ...
    @overload
    def generate(
        self,
        prompt: Prompts,
        *,
        return_as_token_ids: Literal[False] = ...,
        stream: Literal[False] = ...,
        **how: Unpack[GenerateKwargs],
    ) -> list[str]: ...
    @overload
    def generate(
        self,
        prompt: Prompt,
        *,
        return_as_token_ids: Literal[False] = ...,
        stream: Literal[True],
        **how: Unpack[GenerateKwargs],
    ) -> Iterator[str]: ...
    @overload
    def generate(
        self,
        prompt: Prompts,
        *,
        return_as_token_ids: Literal[False] = ...,
        stream: Literal[True],
        **how: Unpack[GenerateKwargs],
    ) -> Iterator[tuple[int, str]]: ...
    @overload
    def generate(
        self,
        prompt: Prompt,
        *,
        return_as_token_ids: Literal[True],
        stream: Literal[False] = ...,
        **how: Unpack[GenerateKwargs],
    ) -> "Tensor": ...
    @overload
    def generate(
        self,
        prompt: Prompts,
        *,
        return_as_token_ids: Literal[True],
        stream: Literal[False] = ...,
        **how: Unpack[GenerateKwargs],
    ) -> "list[Tensor]": ...
    @overload
    def generate(
        self,
        prompt: Prompt,
        *,
        return_as_token_ids: Literal[True],
        stream: Literal[True],
        **how: Unpack[GenerateKwargs],
    ) -> "Iterator[Tensor]": ...
    @overload
    def generate(
        self,
        prompt: Prompts,
        *,
        return_as_token_ids: Literal[True],
        stream: Literal[True],
        **how: Unpack[GenerateKwargs],
    ) -> "Iterator[tuple[int, Tensor]]": ...
    @overload
    def generate(self, prompt: Prompt | Prompts, *args: Any, **how: Any) -> Any: ...
    @public_function(SHARED_OPTIONS)
    def generate(  # noqa: D417 - SHARED_OPTIONS describes the other arguments
        self,
        prompt: Prompt | Prompts,
        sys_prompt: str | None = None,
        max_new_tokens: int | None = 50,
        temperature: float | ModelDefault = MODEL_DEFAULT,
        top_k: int | ModelDefault | None = MODEL_DEFAULT,
        top_p: float | ModelDefault = MODEL_DEFAULT,
        return_as_token_ids: bool = False,
        stream: bool = False,
        *,
        logprobs: bool = False,
        top_logprobs: int = 0,
        n: int | None = None,
        schema: Any = None,
        **how: Unpack[NamedGenerateKwargs],
    ) -> "Answers | Iterator[str | Tensor | CompletionChunk | tuple[int, str | Tensor]]":
        """Return the model's answer, without the prompt.

        Args:
            prompt: A text; or a conversation, as messages; or a list of texts or conversations of any
                lengths. Batching does not change the answers.
            return_as_token_ids: Return token ids, (T,), including the end token, instead of text.
            stream: Return an iterator of text chunks, each of complete characters; for a list of prompts, of
                (index, chunk). Closing or dropping the iterator ends the generation.
            logprobs: Return completions that include the log-probability of each token.
            top_logprobs: Return completions that also include the log-probabilities of this many likeliest
                tokens for each token.
            n: Return a list of this many answers to each prompt, with the seeds `seed`, `seed + 1` and so on;
                None: one answer, not in a list. Chunks of a stream have the index `prompt * n + answer`.
            schema: Return a JSON value that matches this JSON schema, a dict; or an object of this pydantic
                model, dataclass or attrs class. Streams have the text.

        Returns:
            A text, or a list for a list of prompts; or token ids, completions or an iterator, as requested.

        Raises:
            NotDistributed: The model is not on a device yet.
            InvalidArgument: An argument is not valid, or the prompt is empty.
            PromptTooLong: The prompt fills the context.
            UnsupportedPrompt: The prompt style does not support the messages.
            IncompleteAnswer: With `schema`, `regex`, `grammar` or `choices`: the answer was cut off by
                `max_new_tokens`, or the class does not accept it. A stream ends without an error.
            NotInstalled: These need `pip install "litgpt[structured]"`.
        """
        options: ChatKwargs = {
            "max_new_tokens": max_new_tokens,
            "temperature": temperature,
            "top_k": top_k,
            "top_p": top_p,
            "logprobs": logprobs,
            "top_logprobs": top_logprobs,
            "schema": schema,
            **how,
        }
        as_completion = logprobs or top_logprobs > 0 or how.get("prompt_logprobs") is not None
        prepared = self._prepare(prompt, sys_prompt, options, n, split_reasoning=as_completion)
        if as_completion:
            return self._complete(prepared, stream=stream)
        if stream:
            return format_chunks(
                self._stream(prepared), is_batch=prepared.has_several, as_token_ids=return_as_token_ids
            )
        completions = self._complete_all(prepared)
        answers = [
            format_answer(completion, as_token_ids=return_as_token_ids, output=prepared.output)
            for completion in completions
        ]
        return prepared.group(answers)

    @overload
    def complete(
        self,
        prompt: Prompt,
        sys_prompt: str | None = ...,
        *,
        stream: Literal[False] = ...,
        n: None = ...,
        **kwargs: Unpack[ChatKwargs],
    ) -> Completion: ...
    @overload
    def complete(
        self,
        prompt: Prompts,
        sys_prompt: str | None = ...,
        *,
        stream: Literal[False] = ...,
        n: None = ...,
        **how: Unpack[ChatKwargs],
    ) -> list[Completion]: ...
    @overload
    def complete(
        self,
        prompt: Prompt,
        sys_prompt: str | None = ...,
        *,
        stream: Literal[False] = ...,
        n: int,
        **how: Unpack[ChatKwargs],
    ) -> list[Completion]: ...
    @overload
    def complete(
        self,
        prompt: Prompts,
        sys_prompt: str | None = ...,
        *,
        stream: Literal[False] = ...,
        n: int,
        **how: Unpack[ChatKwargs],
    ) -> list[list[Completion]]: ...
    @overload
    def complete(
        self,
        prompt: Prompt | Prompts,
        sys_prompt: str | None = ...,
        *,
        stream: Literal[True],
        n: int | None = ...,
        **how: Unpack[ChatKwargs],
    ) -> Iterator[CompletionChunk]: ...
    @public_function(SHARED_OPTIONS)
    def complete(
        self,
        prompt: Prompt | Prompts,
        sys_prompt: str | None = None,
        *,
        stream: bool = False,
        n: int | None = None,
        **how: Unpack[ChatKwargs],
    ) -> Completions | Iterator[CompletionChunk]:
        """Return the answer as a `Completion`: text, token ids, counts, finish reason, log-probabilities.

        Args:
            prompt: A text; or a conversation, as messages; or a list of texts or conversations.
            sys_prompt: The system message of the conversation; None: no system message.
            stream: Return an iterator of `CompletionChunk`; the last chunk of each answer has its completion.
            n: Return a list of this many answers to each prompt, with the seeds `seed`, `seed + 1` and so on;
                None: one answer, not in a list. Chunks of a stream have the index `prompt * n + answer`.

        It raises the errors of `generate`.
        """
        return self._complete(self._prepare(prompt, sys_prompt, how, n), stream=stream)

    def _prepare(
        self,
        prompt: object,
        sys_prompt: str | None,
        kwargs: SamplingKwargs,
        n: int | None,
        *,
        split_reasoning: bool = True,
    ) -> PreparedRequests:
        options, templating = split_kwargs(kwargs)
        return prepare_requests(
            self._loaded,
            prompt,
            sys_prompt,
            options,
            context_length=self._generator().context,
            renderer=make_prompt_renderer(self._loaded, **templating),
            n=n,
            split_reasoning=split_reasoning,
        )

    def _stream(self, prepared: PreparedRequests) -> CompletionStream:
        return self._generate_text().stream(prepared.requests, **prepared.answer_options)

    def _complete(
        self, prepared: PreparedRequests, *, stream: bool
    ) -> Completions | Iterator[CompletionChunk]:
        return self._stream(prepared) if stream else prepared.group(self._complete_all(prepared))

    def _complete_all(self, prepared: PreparedRequests) -> list[Completion]:
        return self._generate_text().complete(prepared.requests, **prepared.answer_options)

    def _generate_text(self) -> GenerateText:
        return GenerateText(self._loaded.tokenizer, self._generator(), self._services.constraint_compiler)
