"""Chat templates: how a checkpoint says that messages become text."""

from collections.abc import Mapping

import attrs

from litgpt.adapters.text.budget import BUDGET, budget
from litgpt.domain.chat import Messages
from litgpt.domain.errors import BadPrompt


@attrs.frozen
class ChatTemplate:
    """A template in jinja, to be rendered in a sandbox.

    Attributes:
        name: What to call the model in an error.
        source: The template.
        tokens: The special tokens that it may name: `bos_token`, `eos_token`, …
        budget: What one rendering may cost, in characters.

    """

    name: str
    source: str = attrs.field(repr=False)
    tokens: Mapping[str, str] = attrs.field(factory=dict)
    budget: int = BUDGET

    def render(self, messages: Messages, *, answer: bool = True) -> str:
        """Return messages as text.

        Args:
            messages: The conversation so far.
            answer: Whether the text should end where the model's answer begins.

        Raises:
            BadPrompt: It is no template, it refuses these messages, or it does what no template should.

        """
        from litgpt.adapters.text.sandbox import compiled

        try:
            template = compiled(self.source)
            with budget(self.budget):
                return template.render(
                    messages=[message.as_dict() for message in messages],
                    add_generation_prompt=answer,
                    tools=None,
                    documents=None,
                    **self.tokens,
                )
        except Exception as error:  # what a stranger wrote can fail in any way
            raise BadPrompt(f"in the chat template of {self.name}", str(error) or repr(error)) from error
