"""Answer the requests of many clients with one model, in asyncio."""

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import attrs

from litgpt.application.answer_builder import AnswerBuilder, TextRequest
from litgpt.application.generation_options import GenerationOptions
from litgpt.application.prepare_requests import (
    TEMPLATE_OPTIONS,
    make_prompt_renderer,
    prepare_requests,
    repeat_request,
)
from litgpt.application.serving.answer_stream import AnswerStream
from litgpt.application.serving.engine_loop import EngineLoop
from litgpt.application.serving.served_model import ServedModel
from litgpt.application.serving.ticket import Ticket
from litgpt.application.structured_output import CompileConstraint
from litgpt.domain.generation.batching import check_prompts
from litgpt.domain.scheduling.events import EngineEvent


class CompletionService:
    """Prepares requests and runs them in an engine loop.

    It is created in a running event loop, in which its streams deliver their chunks.

    Args:
        model: The model.
        max_queued: The largest number of requests that wait besides the running ones.
        max_new_tokens: The largest number of tokens of an answer; None: up to the context length.
    """

    def __init__(
        self, model: ServedModel, *, max_queued: int = 256, max_new_tokens: int | None = None
    ) -> None:
        self.model, self._max_new_tokens = model, max_new_tokens
        self._events = asyncio.get_running_loop()
        self.engine = EngineLoop(
            model.generator.open,
            self._deliver,
            max_queued=max_queued,
            version=model.version,
            using=model.using,
        )
        self._constrain: CompileConstraint | None = None

    def prepare(
        self, prompts: Sequence[Any], options: Mapping[str, Any], *, n: int = 1, model: str | None = None
    ) -> list[TextRequest]:
        """Return the requests for prompts, `n` for each. It may take long: call it in a thread.

        Args:
            prompts: Conversations, texts, or lists of token ids.
            options: Keyword arguments of `LLM.complete`.
            n: The number of answers to each prompt.
            model: The name of the model in the request.

        Raises:
            UnknownModel: Another model is served.
            InvalidArgument: A prompt or an option is not valid.
            PromptTooLong: A prompt fills the context.
            UnsupportedPrompt: The chat template does not support the messages.
        """
        adapter = self.model.adapter_of(model)
        loaded, context = self.model.loaded(), self.model.context
        templating = {name: value for name, value in options.items() if name in TEMPLATE_OPTIONS}
        sampling = {name: value for name, value in options.items() if name not in templating}
        own = GenerationOptions(**sampling, adapter=adapter)
        renderer = make_prompt_renderer(loaded, **templating)
        to_request = own.request_factory(loaded, context_length=context)
        requests: list[TextRequest] = []
        for prompt in prompts:
            if is_token_ids(prompt):
                stop_strings = own.all_stop_strings(loaded)
                repeated = repeat_request(to_request(prompt), n)
                requests += [TextRequest(it, stop_strings, None, own.output) for it in repeated]
                continue
            prepared = prepare_requests(
                loaded, prompt, None, own, context_length=context, renderer=renderer, n=n
            )
            pairs = zip(prepared.requests, prepared.syntaxes, strict=True)
            requests += [TextRequest(it, prepared.stop_strings, syntax, own.output) for it, syntax in pairs]
        check_prompts([it.request for it in requests], context, loaded.architecture.vocab_size)
        return [self._finish(it) for it in requests]

    def start(self, requests: Sequence[TextRequest]) -> AnswerStream:
        """Submit requests and return the stream of their answers; call it in the event loop.

        Raises:
            QueueFull: Too many requests wait.
            ServerStopping: The server is shutting down.
            EngineStopped: The engine has failed.
        """
        tokenizer = self.model.loaded().tokenizer
        stream = AnswerStream([AnswerBuilder.begin(it, tokenizer) for it in requests], self.engine.cancel)
        numbered = [(at, it.request) for at, it in enumerate(requests) if it.request.max_new_tokens > 0]
        if numbered:
            stream.begin(self.engine.submit(numbered, stream))
        return stream

    def _finish(self, it: TextRequest) -> TextRequest:
        request = it.request
        limit = self._max_new_tokens
        if limit is not None and request.max_new_tokens > limit:
            request = attrs.evolve(request, max_new_tokens=limit)
        if self._constrain is None:
            self._constrain = CompileConstraint(self.model.compiler, self.model.loaded().tokenizer)
        request = self._constrain(request, it.syntax, None if it.output is None else it.output.spec)
        return attrs.evolve(it, request=request)

    def _deliver(self, events: Sequence[tuple[Ticket, EngineEvent]]) -> None:
        try:
            self._events.call_soon_threadsafe(_put, events)
        except RuntimeError:  # the event loop is closed: nobody reads
            return


def is_token_ids(prompt: object) -> TypeGuard[list[int]]:
    """Return whether a prompt consists of token ids."""
    return isinstance(prompt, list) and bool(prompt) and isinstance(prompt[0], int)


def _put(events: Sequence[tuple[Ticket, EngineEvent]]) -> None:
    for ticket, event in events:
        ticket.owner.put(ticket, event)
