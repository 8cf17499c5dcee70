"""`LLM.agenerate`: stream answers in asyncio."""

from collections.abc import AsyncIterator
from typing import Unpack, overload

from litgpt.application.concurrency.async_iteration import iterate_in_thread
from litgpt.domain.validation.call_signatures import public_function
from litgpt.llm_parts.answer_format import format_chunks
from litgpt.llm_parts.generate_kwargs import SHARED_OPTIONS, Prompt, Prompts, SamplingKwargs
from litgpt.llm_parts.generation import GenerationMixin


class AsyncGenerationMixin(GenerationMixin):
    """Text generation in asyncio."""

    @overload
    def agenerate(
        self, prompt: Prompt, sys_prompt: str | None = ..., **options: Unpack[SamplingKwargs]
    ) -> AsyncIterator[str]: ...
    @overload
    def agenerate(
        self, prompt: Prompts, sys_prompt: str | None = ..., **options: Unpack[SamplingKwargs]
    ) -> AsyncIterator[tuple[int, str]]: ...
    @public_function(SHARED_OPTIONS)
    def agenerate(
        self, prompt: Prompt | Prompts, sys_prompt: str | None = None, **options: Unpack[SamplingKwargs]
    ) -> AsyncIterator[str] | AsyncIterator[tuple[int, str]]:
        """Return an asynchronous iterator of text chunks, each of complete characters.

            async for piece in llm.agenerate("What do llamas eat?"):
                print(piece, end="")

        The answers of several tasks are computed in one batch. Cancelling the task, or closing the iterator
        with `aclose()`, ends the generation.

        Args:
            prompt: A text; or a conversation, as messages; or a list of texts or conversations, for which the
                iterator yields (index, chunk).
            sys_prompt: The system message of the conversation; None: no system message.

        It raises the errors of `generate`; those of the arguments are raised by the call.
        """
        prepared = self._prepare(prompt, sys_prompt, options, None, split_reasoning=False)
        stream = self._stream(prepared)
        chunks = format_chunks(stream, is_batch=prepared.is_batch, as_token_ids=False)
        return iterate_in_thread(chunks, stream.cancel)
