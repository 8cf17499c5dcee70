"""`LLM.generate`, `complete` and `chat`: what the caller wrote, handed to the services."""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, Unpack, overload

import torch
from torch import Tensor

from litgpt.application.asking import Asked, Settings, ask, prompt_writer
from litgpt.application.chatting import Conversation
from litgpt.application.generating import GenerateText
from litgpt.application.loading import LoadedModel
from litgpt.chat import Chat, read_chat
from litgpt.domain.chat import Message, messages
from litgpt.domain.errors import BadArgument
from litgpt.domain.generation import Completion, TextEvent
from litgpt.domain.ports import Generator
from litgpt.domain.sampling import MODEL_DEFAULT, ModelDefault
from litgpt.generate_options import Drawing, Options, Prompt, Prompts, Templating, Tools, Turns, split
from litgpt.tracebacks import short_traceback


class Generates:
    """What an LLM says."""

    _loaded: LoadedModel[Tensor]

    def _generator(self) -> Generator:
        """Return what generates; NotDistributed if the model has no device."""
        raise NotImplementedError

    # One overload for each kind of answer: text or ids, whole or streamed, one or several.
    @overload
    def generate(
        self,
        prompt: Prompt,
        *,
        return_as_token_ids: Literal[False] = ...,
        stream: Literal[False] = ...,
        **how: Unpack[Options],
    ) -> str: ...
    @overload
    def generate(
        self,
        prompt: Prompts,
        *,
        return_as_token_ids: Literal[False] = ...,
        stream: Literal[False] = ...,
        **how: Unpack[Options],
    ) -> list[str]: ...
    @overload
    def generate(
        self,
        prompt: Prompt,
        *,
        return_as_token_ids: Literal[False] = ...,
        stream: Literal[True],
        **how: Unpack[Options],
    ) -> Iterator[str]: ...
    @overload
    def generate(
        self,
        prompt: Prompts,
        *,
        return_as_token_ids: Literal[False] = ...,
        stream: Literal[True],
        **how: Unpack[Options],
    ) -> Iterator[tuple[int, str]]: ...
    @overload
    def generate(
        self,
        prompt: Prompt,
        *,
        return_as_token_ids: Literal[True],
        stream: Literal[False] = ...,
        **how: Unpack[Options],
    ) -> Tensor: ...
    @overload
    def generate(
        self,
        prompt: Prompts,
        *,
        return_as_token_ids: Literal[True],
        stream: Literal[False] = ...,
        **how: Unpack[Options],
    ) -> list[Tensor]: ...
    @overload
    def generate(
        self,
        prompt: Prompt,
        *,
        return_as_token_ids: Literal[True],
        stream: Literal[True],
        **how: Unpack[Options],
    ) -> Iterator[Tensor]: ...
    @overload
    def generate(
        self,
        prompt: Prompts,
        *,
        return_as_token_ids: Literal[True],
        stream: Literal[True],
        **how: Unpack[Options],
    ) -> Iterator[tuple[int, Tensor]]: ...
    @overload
    def generate(self, prompt: Prompt | Prompts, *args: Any, **how: Any) -> Any: ...
    @short_traceback
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
    ) -> Any:
        """Return the model's answer, without the prompt.

        Args:
            prompt: A text; or a conversation, as messages; or a list of texts or conversations of any
                lengths, each of which gets the answer that it would get alone.
            sys_prompt: What the system says first.
            max_new_tokens: A bound on the answer; None is the end of the context alone.
            temperature: Divides the logits; 0 takes the likeliest token. The default of this and the next two
                is the model's: `generation_config.json`, or 0.8, 50 and 1.0 if that has no sampling settings.
            top_k: How many of the likeliest tokens to draw from; None is all.
            top_p: Draw from the likeliest tokens with this much of the probability; 0 takes the likeliest.
            return_as_token_ids: Return ids, (T,), the end token included, and not text.
            stream: Return an iterator over pieces as they come: whole characters; for a list of prompts
                (index, piece). Closing or dropping it ends the generation.
            seed: Makes the draws repeatable, whatever is generated beside them.
            stop: Strings that end the answer and are not part of it.
            logprobs: Return what `complete` returns, which has room for the log-probabilities.
            tools: Tools that the model may call: JSON schemas, or Python functions with type hints and a
                docstring in Google's style.
            chat_template_kwargs: Variables of the chat template, such as `enable_thinking` or `documents`.
            continue_final_message: Continue the last message instead of answering it; a string names the
                field to continue in place of `content`.
            apply_chat_template: False sends the prompt as it is, for one that already went through a chat
                template; the tokenizer's beginning token is added unless the prompt begins with it.
            parse_special_tokens: Whether special tokens such as `<|im_end|>` in the prompt become control
                tokens, as in transformers. None: only in a text that no template is applied to.

        Raises:
            NotDistributed: The model has no device yet.
            BadArgument: An argument cannot be right, or the prompt is empty.
            PromptTooLong: The prompt leaves no room for an answer.
            BadPrompt: The prompt style cannot express it.

        """
        settings = Settings(
            max_new_tokens=max_new_tokens,
            temperature=temperature,
            top_k=top_k,
            top_p=top_p,
            seed=seed,
            stop=stop,
            logprobs=logprobs,
            parse_special_tokens=parse_special_tokens,
        )
        asked = self._ask(
            prompt,
            sys_prompt,
            settings,
            tools=tools,
            chat_template_kwargs=chat_template_kwargs,
            continue_final_message=continue_final_message,
            apply_chat_template=apply_chat_template,
        )
        answer = self._complete(asked, stream=stream)
        if logprobs:
            return answer
        if stream:
            return _stream(answer, several=asked.several, ids=return_as_token_ids)
        answers = answer if asked.several else [answer]
        found = [torch.tensor(one.token_ids) if return_as_token_ids else one.text for one in answers]
        return found if asked.several else found[0]

    @overload
    def complete(
        self,
        prompt: Prompt,
        sys_prompt: str | None = ...,
        *,
        stream: Literal[False] = ...,
        logprobs: bool = ...,
        **how: Unpack[Drawing],
    ) -> Completion: ...
    @overload
    def complete(
        self,
        prompt: Prompts,
        sys_prompt: str | None = ...,
        *,
        stream: Literal[False] = ...,
        logprobs: bool = ...,
        **how: Unpack[Drawing],
    ) -> list[Completion]: ...
    @overload
    def complete(
        self,
        prompt: Prompt | Prompts,
        sys_prompt: str | None = ...,
        *,
        stream: Literal[True],
        logprobs: bool = ...,
        **how: Unpack[Drawing],
    ) -> Iterator[TextEvent]: ...
    @short_traceback
    def complete(
        self, prompt: Any, sys_prompt: str | None = None, *, stream: bool = False, **how: Any
    ) -> Any:
        """Return the answer as a `Completion`: text, ids, log-probabilities if asked, why it ended, counts.

        The arguments are those of `generate`. A list of prompts gives a list; `stream=True` gives an iterator
        of `TextEvent`, the last of which, for each prompt, carries its completion.
        """
        settings, templating = split(how)
        return self._complete(self._ask(prompt, sys_prompt, settings, **templating), stream=stream)

    @short_traceback
    def chat(
        self,
        sys_prompt: str | None = None,
        *,
        resume: str | Path | Turns | None = None,
        max_new_tokens: int | None = None,
        **how: Any,
    ) -> Chat:
        """Return a conversation that remembers what was said and does not compute it again.

        Args:
            sys_prompt: What the system says first.
            resume: A file that `Chat.save` wrote, or messages, to go on from.
            max_new_tokens: A bound on each answer; None is the context's end.
            how: `temperature`, `top_k`, `top_p`, `seed`, `stop`, `parse_special_tokens`, `tools`,
                `chat_template_kwargs` and `apply_chat_template`, as for `generate`.

        Raises:
            NotDistributed: The model has no device yet.
            BadArgument: An argument cannot be right.

        """
        said: list[Message] = []
        if isinstance(resume, (str, Path)):
            saved = read_chat(resume)
            said = saved.messages
            how = {"tools": saved.tools, "chat_template_kwargs": saved.chat_template_kwargs, **how}
        elif resume:
            said = list(messages(resume))
        settings, templating = split({"max_new_tokens": max_new_tokens, **how})
        if sys_prompt and said:
            raise BadArgument("sys_prompt", sys_prompt, "None when a conversation is resumed: it has its own")
        if sys_prompt:
            said = [Message("system", sys_prompt)]
        generator, loaded = self._generator(), self._loaded
        talk = Conversation(
            prompt_writer(loaded, parse_special_tokens=settings.parse_special_tokens, **templating),
            GenerateText(loaded.tokenizer, generator),
            generator.prefix_cache(),
            said,
        )
        return Chat(
            talk,
            lambda ids: settings.request(ids, loaded.end_ids, loaded.sampling, context=generator.context),
            (*settings.stop_strings, *loaded.stop),
        )

    def _ask(
        self, prompt: object, sys_prompt: str | None, settings: Settings, **templating: Unpack[Templating]
    ) -> Asked:
        write = prompt_writer(self._loaded, **templating)
        return ask(self._loaded, prompt, sys_prompt, settings, context=self._generator().context, write=write)

    def _complete(self, asked: Asked, *, stream: bool) -> Any:
        generate = GenerateText(self._loaded.tokenizer, self._generator())
        if stream:
            return generate.stream(asked.requests, stop=asked.stop)
        answers = generate.complete(asked.requests, stop=asked.stop)
        return answers if asked.several else answers[0]


def _stream(events: Iterator[TextEvent], *, several: bool, ids: bool) -> Iterator[Any]:
    for event in events:
        piece = torch.tensor([event.token]) if ids else event.text
        if (event.token is not None) if ids else event.text:
            yield (event.index, piece) if several else piece
