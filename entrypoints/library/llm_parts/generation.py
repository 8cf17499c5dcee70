"""`LLM.generate` and `LLM.complete`: generate answers as text, token ids or completions."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias, Unpack, overload

from torch import Tensor

from litgpt.application.generate_text import GenerateText
from litgpt.application.load_model import LoadedModel
from litgpt.application.prepare_requests import (
    GenerationOptions,
    PreparedRequests,
    make_prompt_renderer,
    prepare_requests,
)
from litgpt.domain.generation.request import Completion, CompletionChunk
from litgpt.domain.generation.sampling_params import MODEL_DEFAULT, ModelDefault
from litgpt.domain.ports import Generator
from litgpt.domain.validation.call_signatures import public_function
from litgpt.llm_parts.answer_format import format_answer, format_chunks
from litgpt.llm_parts.generate_kwargs import (
    SHARED_OPTIONS,
    ChatKwargs,
    GenerateKwargs,
    Prompt,
    Prompts,
    SamplingKwargs,
    TemplateKwargs,
    Tools,
    split_kwargs,
)

Answer: TypeAlias = str | Tensor | Completion
"""The result of `generate` for one prompt: text, token ids (T,), or a completion."""


class GenerationMixin:
    """Text generation."""

    _loaded: LoadedModel[Tensor]

    def _generator(self) -> Generator:
        """Return the generator; raise NotDistributed if the model is not on a device."""
        raise NotImplementedError

    # One overload for each result type: text or token ids, complete or streamed, one prompt or several.
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
    ) -> Tensor: ...
    @overload
    def generate(
        self,
        prompt: Prompts,
        *,
        return_as_token_ids: Literal[True],
        stream: Literal[False] = ...,
        **how: Unpack[GenerateKwargs],
    ) -> list[Tensor]: ...
    @overload
    def generate(
        self,
        prompt: Prompt,
        *,
        return_as_token_ids: Literal[True],
        stream: Literal[True],
        **how: Unpack[GenerateKwargs],
    ) -> Iterator[Tensor]: ...
    @overload
    def generate(
        self,
        prompt: Prompts,
        *,
        return_as_token_ids: Literal[True],
        stream: Literal[True],
        **how: Unpack[GenerateKwargs],
    ) -> Iterator[tuple[int, Tensor]]: ...
    @overload
    def generate(self, prompt: Prompt | Prompts, *args: Any, **how: Any) -> Any: ...
    @public_function()
    def generate(
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
        seed: int | None = None,
        stop: str | Sequence[str] | None = None,
        logprobs: bool = False,
        tools: Tools | None = None,
        chat_template_kwargs: Mapping[str, Any] | None = None,
        continue_final_message: bool | str = False,
        apply_chat_template: bool = True,
        parse_special_tokens: bool | None = None,
    ) -> Answer | Sequence[Answer] | Iterator[str | Tensor | CompletionChunk | tuple[int, str | Tensor]]:
        """Return the model's answer, without the prompt.

        Args:
            prompt: A text; or a conversation, as messages; or a list of texts or conversations of any
                lengths. Batching does not change the answers.
            sys_prompt: The system message of the conversation; None: no system message.
            max_new_tokens: The maximum number of tokens of the answer; None: limited by the context length
                only.
            temperature: Divides the logits; 0 is greedy decoding. The defaults of this and the next two
                options are the model's: `generation_config.json`, or 0.8, 50 and 1.0 if that has no sampling
                settings.
            top_k: Sample from the k most likely tokens; None: from all tokens.
            top_p: Sample from the most likely tokens with this total probability, from 0 to 1 (nucleus
                sampling); 0 is greedy decoding.
            return_as_token_ids: Return token ids, (T,), including the end token, instead of text.
            stream: Return an iterator of text chunks, each of complete characters; for a list of prompts, of
                (index, chunk). Closing or dropping the iterator ends the generation.
            seed: The seed of the random numbers, for reproducible answers, also within a batch; None: a
                random seed.
            stop: A string, or several strings, that end the answer and are not part of it.
            logprobs: Return completions that include the log-probability of each token.
            tools: Tools that the model may call: JSON schemas, or Python functions with type hints and a
                docstring in Google style.
            chat_template_kwargs: Variables of the chat template, such as `enable_thinking` or `documents`.
            continue_final_message: Continue the last message instead of answering it; a string names the
                field to continue in place of `content`.
            apply_chat_template: False passes the prompt unchanged, if a chat template has already been
                applied to it; the beginning-of-sequence token is added unless the prompt starts with it.
            parse_special_tokens: Whether special tokens such as `<|im_end|>` in the prompt become control
                tokens, as in transformers. None: only in a text to which no template is applied.

        Returns:
            A text, or a list for a list of prompts; or token ids, completions or an iterator, as requested.

        Raises:
            NotDistributed: The model is not on a device yet.
            InvalidArgument: An argument is not valid, or the prompt is empty.
            PromptTooLong: The prompt fills the context.
            UnsupportedPrompt: The prompt style does not support the messages.

        """
        settings = GenerationOptions(
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            stop=stop,
            logprobs=logprobs,
            parse_special_tokens=parse_special_tokens,
        )
        asked = self._prepare(
            prompt,
            sys_prompt,
            settings,
            tools=tools,
            chat_template_kwargs=chat_template_kwargs,
            continue_final_message=continue_final_message,
            apply_chat_template=apply_chat_template,
        )
        if logprobs:
            return self._complete(asked, stream=stream)
        if stream:
            return format_chunks(
                self._stream(asked), is_batch=asked.is_batch, as_token_ids=return_as_token_ids
            )
        found = [format_answer(one, as_token_ids=return_as_token_ids) for one in self._complete_all(asked)]
        return found if asked.is_batch else found[0]

    @overload
    def complete(
        self,
        prompt: Prompt,
        sys_prompt: str | None = ...,
        *,
        stream: Literal[False] = ...,
        logprobs: bool = ...,
        **kwargs: Unpack[SamplingKwargs],
    ) -> Completion: ...
    @overload
    def complete(
        self,
        prompt: Prompts,
        sys_prompt: str | None = ...,
        *,
        stream: Literal[False] = ...,
        logprobs: bool = ...,
        **how: Unpack[SamplingKwargs],
    ) -> list[Completion]: ...
    @overload
    def complete(
        self,
        prompt: Prompt | Prompts,
        sys_prompt: str | None = ...,
        *,
        stream: Literal[True],
        logprobs: bool = ...,
        **how: Unpack[SamplingKwargs],
    ) -> Iterator[CompletionChunk]: ...
    @public_function(SHARED_OPTIONS)
    def complete(
        self,
        prompt: Prompt | Prompts,
        sys_prompt: str | None = None,
        *,
        stream: bool = False,
        **how: Unpack[ChatKwargs],
    ) -> Completion | list[Completion] | Iterator[CompletionChunk]:
        """Return the answer as a `Completion`: text, token ids, counts, finish reason, log-probabilities.

        Args:
            prompt: A text; or a conversation, as messages; or a list of texts or conversations.
            sys_prompt: The system message of the conversation; None: no system message.
            stream: Return an iterator of `CompletionChunk`; the last chunk of each prompt has its completion.

        It raises the errors of `generate`.

        """
        settings, templating = split_kwargs(how)
        return self._complete(self._prepare(prompt, sys_prompt, settings, **templating), stream=stream)

    def _prepare(
        self,
        prompt: object,
        sys_prompt: str | None,
        options: GenerationOptions,
        **templating: Unpack[TemplateKwargs],
    ) -> PreparedRequests:
        write = make_prompt_renderer(self._loaded, **templating)
        return prepare_requests(
            self._loaded,
            prompt,
            sys_prompt,
            options,
            context_length=self._generator().context,
            renderer=write,
        )

    def _stream(self, prepared: PreparedRequests) -> Iterator[CompletionChunk]:
        return GenerateText(self._loaded.tokenizer, self._generator()).stream(
            prepared.requests, stop_strings=prepared.stop_strings
        )

    def _complete_all(self, prepared: PreparedRequests) -> list[Completion]:
        generate = GenerateText(self._loaded.tokenizer, self._generator())
        return generate.complete(prepared.requests, stop_strings=prepared.stop_strings)

    def _complete(
        self, prepared: PreparedRequests, *, stream: bool
    ) -> Completion | list[Completion] | Iterator[CompletionChunk]:
        if stream:
            return self._stream(prepared)
        answers = self._complete_all(prepared)
        return answers if prepared.is_batch else answers[0]
