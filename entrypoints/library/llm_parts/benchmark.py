"""`LLM.benchmark`: measure the speed and memory of generation."""

from typing import Unpack

from litgpt.domain.validation.call_signatures import public_function
from litgpt.domain.validators import integer
from litgpt.llm_parts.generate_kwargs import SHARED_OPTIONS, ChatKwargs, Prompt, Prompts
from litgpt.llm_parts.generation import GenerationMixin
from litgpt.preprocessor import Preprocessor

_NUM_ITERATIONS_EXPECTED = "a positive integer (the prompt is passed by name: benchmark(prompt='Hi'))"


class BenchmarkMixin(GenerationMixin):
    """Measurement of generation speed."""

    preprocessor: Preprocessor

    @public_function(SHARED_OPTIONS)
    def benchmark(
        self,
        num_iterations: int = 1,
        *,
        prompt: Prompt | Prompts,
        sys_prompt: str | None = None,
        return_as_token_ids: bool = False,  # noqa: ARG002 - ignored
        stream: bool = False,  # noqa: ARG002 - ignored
        n: int | None = None,
        **generate_arguments: Unpack[ChatKwargs],
    ) -> tuple[str, dict[str, list[float]]]:
        """Return the text of the last answer, and the measurements of each iteration as lists by name.

        A prefill and two decoding steps warm up the machine before the first iteration and are not measured.
        Tokens are counted as the model generates them. Prompts are computed in each iteration, and tokens
        without drafts of earlier text; drafts of a draft model are used, and accepted tokens are counted.

        Args:
            num_iterations: The number of iterations; the prompt is passed by name.
            prompt: A text; or a conversation, as messages; or a list of texts or conversations.
            sys_prompt: The system message of the conversation; None: no system message.
            return_as_token_ids: Accepted as in `generate`, and ignored.
            stream: Accepted as in `generate`, and ignored.
            n: The number of answers to each prompt, which are generated together; None: one.

        Raises:
            InvalidArgument: An argument is not valid.
            NotDistributed: The model is not on a device yet.
        """
        from litgpt.application.benchmark import Benchmark

        times = integer("num_iterations", num_iterations, 1, _NUM_ITERATIONS_EXPECTED)
        prepared = self._prepare(prompt, sys_prompt, generate_arguments, n)
        profiler = self._services.profiler(self.preprocessor.device)
        requests = self._generate_text().constrain(prepared.requests, prepared.syntaxes, prepared.output)
        run = Benchmark(self._loaded.tokenizer, self._generator(), profiler)
        with self._lock.using():  # waiting for the lock is not measured
            return run.repeat(times, requests, self._report, stop_strings=prepared.stop_strings)
