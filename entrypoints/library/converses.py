"""`LLM.chat`: a conversation with the model, begun or resumed."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Unpack

import attrs

from litgpt.application.asking import prompt_writer
from litgpt.application.chatting import Conversation, Turn
from litgpt.application.generating import GenerateText
from litgpt.chat import Chat, read_chat
from litgpt.domain.calls import public
from litgpt.domain.chat import Message, messages
from litgpt.domain.errors import BadArgument
from litgpt.generate_options import SHARED, Answering, Turns, split
from litgpt.generates import Generates


class Converses(Generates):
    """What an LLM says in a conversation."""

    @public(attrs.evolve(SHARED, defaults={**SHARED.defaults, "max_new_tokens": None}))
    def chat(
        self,
        sys_prompt: str | None = None,
        *,
        resume: str | Path | Turns | None = None,
        **how: Unpack[Answering],
    ) -> Chat:
        """Return a conversation that remembers what was said and does not compute it again.

        The options are those of `generate`, for every answer of the chat; each call of the chat can pass
        others.

        Args:
            sys_prompt: The system message that the conversation begins with; None is none.
            resume: A file that `Chat.save` wrote, or messages, to go on from.

        Raises:
            NotDistributed: The model has no device yet.
            BadArgument: An argument cannot be right.

        """
        said: list[Message] = []
        options: dict[str, Any] = {"max_new_tokens": None, **how}
        if isinstance(resume, (str, Path)):
            saved = read_chat(resume)
            said = saved.messages
            options = {"tools": saved.tools, "chat_template_kwargs": saved.chat_template_kwargs, **options}
        elif resume:
            said = list(messages(resume))
        if sys_prompt and said:
            raise BadArgument("sys_prompt", sys_prompt, "None when a conversation is resumed: it has its own")
        generator, loaded = self._generator(), self._loaded

        def turn(given: Mapping[str, Any]) -> Turn:
            settings, templating = split({**options, **given})
            return Turn(
                prompt_writer(loaded, parse_special_tokens=settings.parse_special_tokens, **templating),
                lambda ids: settings.request(ids, loaded.end_ids, loaded.sampling, context=generator.context),
                (*settings.stop_strings, *loaded.stop),
            )

        if sys_prompt:
            said = [Message("system", sys_prompt)]
        generate = GenerateText(loaded.tokenizer, generator)
        return Chat(Conversation(turn({}).write, generate, generator.prefix_cache(), said), turn)
