"""`LLM.beam_search`: the likeliest answers."""

from typing import Literal, Unpack, overload

from litgpt.application.beam_search import beam_search
from litgpt.domain.beam_search.request import BeamSearchParams
from litgpt.domain.generation.request import Completion
from litgpt.domain.validation.call_signatures import public_function
from litgpt.llm_parts.generate_kwargs import SHARED_OPTIONS, Prompt, Prompts, SamplingKwargs, TemplateKwargs
from litgpt.llm_parts.generation import GenerationMixin


class BeamSearchMixin(GenerationMixin):
    """Beam search."""

    @overload
    def beam_search(
        self,
        prompt: Prompt,
        sys_prompt: str | None = ...,
        *,
        num_beams: int = ...,
        max_new_tokens: int | None = ...,
        length_penalty: float = ...,
        early_stopping: bool | Literal["never"] = ...,
        num_return_sequences: int = ...,
        **how: Unpack[TemplateKwargs],
    ) -> list[Completion]: ...
    @overload
    def beam_search(
        self,
        prompt: Prompts,
        sys_prompt: str | None = ...,
        *,
        num_beams: int = ...,
        max_new_tokens: int | None = ...,
        length_penalty: float = ...,
        early_stopping: bool | Literal["never"] = ...,
        num_return_sequences: int = ...,
        **how: Unpack[TemplateKwargs],
    ) -> list[list[Completion]]: ...
    @public_function(SHARED_OPTIONS)
    def beam_search(
        self,
        prompt: Prompt | Prompts,
        sys_prompt: str | None = None,
        *,
        num_beams: int = 4,
        max_new_tokens: int | None = 50,
        length_penalty: float = 1.0,
        early_stopping: bool | Literal["never"] = False,
        num_return_sequences: int = 1,
        **how: Unpack[TemplateKwargs],
    ) -> list[Completion] | list[list[Completion]]:
        """Return the answers of the highest scores that beam search finds, as in transformers.

        Each step continues the `num_beams` likeliest unfinished answers. The score of a finished answer is
        the sum of its tokens' log-probabilities under the model, divided by its number of tokens to the power
        of `length_penalty`. Sampling parameters do not apply.

        Args:
            prompt: A text; or a conversation, as messages; or a list of texts or conversations, which are
                searched in one batch.
            sys_prompt: The system message of the conversation; None: no system message.
            num_beams: The number of unfinished answers that each step continues, at most 256.
            max_new_tokens: The maximum number of tokens of an answer; None: limited by the context length
                only.
            length_penalty: From -10 to 10. Positive values favor long answers, negative ones short answers.
            early_stopping: True: stop as soon as there are `num_beams` finished answers. False: go on while
                an unfinished one would have a better score if it ended now. `never`: while it can get a
                better score at any length.
            num_return_sequences: The number of answers that are returned, at most `num_beams`.

        Returns:
            Completions with their `score`, the best first; for a list of prompts, a list of such lists.

        Raises:
            NotDistributed: The model is not on a device yet.
            InvalidArgument: An argument is not valid, or the prompt is empty.
            PromptTooLong: The prompt fills the context.
            UnsupportedPrompt: The prompt style does not support the messages.
            NonFiniteLogits: The logits are not finite.
        """
        params = BeamSearchParams(
            num_beams=num_beams,
            length_penalty=length_penalty,
            early_stopping=early_stopping,
            num_return_sequences=num_return_sequences,
        )
        options: SamplingKwargs = {"max_new_tokens": max_new_tokens}
        options.update(how)  # type: ignore[typeddict-item] # some of its keys
        prepared = self._prepare(prompt, sys_prompt, options, None)
        answers = beam_search(self._generate_text(), prepared, params)
        return answers if prepared.is_batch else answers[0]
