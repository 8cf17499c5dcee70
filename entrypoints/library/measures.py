"""`LLM.benchmark`: how fast the model generates here, and in how much memory."""

from typing import Unpack

from litgpt.application.benchmarking import Benchmark
from litgpt.application.model_lock import ModelLock
from litgpt.container import container
from litgpt.domain.calls import public
from litgpt.domain.reporting import Report
from litgpt.domain.validators import integer
from litgpt.generate_options import SHARED, Answering, Prompt, Prompts, split
from litgpt.generates import Generates
from litgpt.preprocessor import Preprocessor

_TIMES = "a positive integer (the prompt is passed by name: benchmark(prompt='Hi'))"


class Measures(Generates):
    """How fast an LLM is."""

    preprocessor: Preprocessor
    _lock: ModelLock
    _report: Report

    @public(SHARED)
    def benchmark(
        self,
        num_iterations: int = 1,
        *,
        prompt: Prompt | Prompts,
        sys_prompt: str | None = None,
        return_as_token_ids: bool = False,  # noqa: ARG002 - makes no difference
        stream: bool = False,  # noqa: ARG002 - makes no difference
        **generate_arguments: Unpack[Answering],
    ) -> tuple[str, dict[str, list[float]]]:
        """Return the last answer's text and, by name, a list of what was measured at each iteration.

        A prompt and two tokens are computed before the first iteration and not counted, because the machine
        warms up. Tokens are counted as they leave the model.

        Args:
            num_iterations: How often to generate; the prompt is passed by name.
            prompt: A text; or a conversation, as messages; or a list of these.
            sys_prompt: The system message that the conversation begins with; None is none.
            return_as_token_ids: As for `generate`; it makes no difference here.
            stream: As for `generate`; it makes no difference here.

        Raises:
            BadArgument: An argument cannot be right.
            NotDistributed: The model has no device yet.

        """
        times = integer("num_iterations", num_iterations, 1, _TIMES)
        settings, templating = split(generate_arguments)
        asked = self._ask(prompt, sys_prompt, settings, **templating)
        profiler = container.profiler(self.preprocessor.device)
        run = Benchmark(self._loaded.tokenizer, self._generator(), profiler)
        with self._lock.using():  # waiting for a change is not measured
            return run.repeated(times, asked.requests, self._report, stop=asked.stop)
