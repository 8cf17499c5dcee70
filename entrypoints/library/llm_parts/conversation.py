"""`LLM.chat`: start or resume a conversation with the model."""

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Unpack

import attrs

from litgpt.application.generate_text import GenerateText
from litgpt.application.prepare_requests import make_prompt_renderer
from litgpt.domain.chat.messages import Message, parse_messages
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.validation.call_signatures import public_function
from litgpt.domain.validators import integer
from litgpt.llm_parts.generate_kwargs import SHARED_OPTIONS, ChatKwargs, ChatMessages, split_kwargs
from litgpt.llm_parts.generation import GenerationMixin

if TYPE_CHECKING:
    from litgpt.application.chat import TurnOptions
    from litgpt.chat import Chat


class ConversationMixin(GenerationMixin):
    """Conversations."""

    @public_function(
        attrs.evolve(SHARED_OPTIONS, defaults={**SHARED_OPTIONS.defaults, "max_new_tokens": None})
    )
    def chat(
        self,
        sys_prompt: str | None = None,
        *,
        resume: str | Path | ChatMessages | None = None,
        max_tool_rounds: int = 8,
        **kwargs: Unpack[ChatKwargs],
    ) -> "Chat":
        """Start or resume a conversation, which keeps its messages and their KV cache.

        It takes the options of `generate` as defaults for all answers; each call of the chat can override
        them.

        Args:
            sys_prompt: The system message of the conversation; None: no system message.
            resume: A file written by `Chat.save`, or messages, to continue.
            max_tool_rounds: How many times in a row Python functions among `tools` are called with the
                arguments that the model writes, before it must answer.

        Raises:
            NotDistributed: The model is not on a device yet.
            InvalidArgument: An argument is not valid.
            CorruptFile: The file is not a saved chat.
        """
        # `litgpt generate` does not need them.
        from litgpt.application.chat import Conversation, TurnOptions
        from litgpt.application.tools.python_tools import PythonTools
        from litgpt.chat import Chat, read_chat

        integer("max_tool_rounds", max_tool_rounds, 0)
        said: list[Message] = []
        options: dict[str, Any] = {"max_new_tokens": None, **kwargs}
        if isinstance(resume, (str, Path)):
            saved = read_chat(resume)
            said = saved.messages
            options = {"tools": saved.tools, "chat_template_kwargs": saved.chat_template_kwargs, **options}
        elif resume:
            said = list(parse_messages(resume))
        if sys_prompt and said:
            raise InvalidArgument(
                "sys_prompt", sys_prompt, "None when a conversation is resumed: it has its own"
            )
        generator, loaded = self._generator(), self._loaded

        def turn(given: Mapping[str, Any]) -> "TurnOptions":
            settings, templating = split_kwargs({**options, **given})
            renderer = make_prompt_renderer(
                loaded, parse_special_tokens=settings.parse_special_tokens, **templating
            )
            return TurnOptions(
                renderer,
                settings.request_factory(loaded, context_length=generator.context),
                settings.all_stop_strings(loaded),
                PythonTools.from_tools(templating.get("tools"), renderer.options.tools),
                max_tool_rounds,
                output=settings.output,
                reasoning_budget=settings.reasoning_budget,
            )

        if sys_prompt:
            said = [Message("system", sys_prompt)]
        generate = GenerateText(loaded.tokenizer, generator, self._services.constraint_compiler)
        return Chat(Conversation(turn({}).renderer, generate, said), turn)
