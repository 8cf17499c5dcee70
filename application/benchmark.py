"""Measure the time and memory of generation."""

from collections.abc import Sequence

import attrs

from litgpt.application.generate_text import GenerateText
from litgpt.domain.benchmark import BANDWIDTH_SHARE, DECODE_SPEED, DRAFT_TOKENS, BenchmarkResult
from litgpt.domain.generation.request import Completion, GenerationRequest
from litgpt.domain.generation.stop_strings import NO_STOP_STRINGS, StopStrings
from litgpt.domain.ports import Generator, Profiler, Tokenizer
from litgpt.domain.progress import Progress, Reporter


@attrs.frozen
class Benchmark:
    """Measures the time and peak memory of generations."""

    tokenizer: Tokenizer
    generator: Generator
    profiler: Profiler

    def __call__(
        self, requests: Sequence[GenerationRequest], *, stop_strings: StopStrings = NO_STOP_STRINGS
    ) -> tuple[list[Completion], BenchmarkResult]:
        """Generate once and return the answers and the measurements."""
        self.profiler.reset_peak()
        start = self.profiler.now()
        first: float | None = None
        completions: dict[int, Completion] = {}
        for chunk in GenerateText(self.tokenizer, self.generator).stream(requests, stop_strings=stop_strings):
            if first is None and chunk.token is not None:
                first = self.profiler.now() - start
            if chunk.completion is not None:
                completions[chunk.index] = chunk.completion
        seconds = self.profiler.now() - start
        answers = [completions[index] for index in range(len(requests))]
        tokens = sum(answer.completion_tokens for answer in answers)
        return answers, BenchmarkResult(
            prompt_tokens=sum(len(request.prompt) for request in requests),
            completion_tokens=tokens,
            seconds=seconds,
            time_to_first_token=seconds if first is None else first,
            decoded_tokens=tokens - sum(1 for answer in answers if answer.token_ids),
            peak_bytes=self.profiler.peak_bytes(),
        )

    def repeat(
        self,
        num_iterations: int,
        requests: Sequence[GenerationRequest],
        report: Reporter,
        *,
        stop_strings: StopStrings = NO_STOP_STRINGS,
    ) -> tuple[str, dict[str, list[float]]]:
        """Generate several times after a warm-up; return the last answer and the measurements by name.

        Prompts are computed each time, and tokens without drafts from the prompt. With a draft model, the
        measurements include the number of its tokens that were accepted.

        For one prompt without drafts, they include the share of the memory's read bandwidth, if it can be
        measured: the decode speed over the one at which reading the weights would take all of it.
        """
        requests = [attrs.evolve(it, cache_prompt=False, prompt_lookup_num_tokens=0) for it in requests]
        warmup = [attrs.evolve(x, max_new_tokens=min(2, x.max_new_tokens)) for x in requests]
        GenerateText(self.tokenizer, self.generator).complete(warmup)
        figures: dict[str, list[float]] = {}
        accepted: list[float] = []
        text = ""
        for completed in range(num_iterations):
            report(Progress("Measuring", completed, num_iterations, unit="iterations"))
            answers, result = self(requests, stop_strings=stop_strings)
            text = answers[-1].text
            accepted.append(sum(answer.draft_tokens for answer in answers))
            for name, value in result.as_dict().items():
                figures.setdefault(name, []).append(value)
        report(Progress("Measuring", num_iterations, num_iterations, unit="iterations"))
        if any(accepted):
            figures[DRAFT_TOKENS] = accepted
            return text, figures
        limit = self.generator.max_decode_speed() if len(requests) == 1 else None
        if limit is not None:
            figures[BANDWIDTH_SHARE] = [100 * speed / limit for speed in figures[DECODE_SPEED]]
        return text, figures
