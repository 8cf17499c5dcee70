"""Measure the time and memory of generation."""

from collections.abc import Iterator, Sequence

import attrs

from litgpt.application.generate_text import GenerateText
from litgpt.domain.benchmark import BenchmarkResult
from litgpt.domain.generation.request import Completion, GenerationRequest, TokenEvent
from litgpt.domain.ports import Generation, Generator, PrefixCache, Profiler, Tokenizer
from litgpt.domain.progress import Progress, Reporter


@attrs.frozen
class Benchmark:
    """Measures the time and peak memory of generations."""

    tokenizer: Tokenizer
    generator: Generator
    profiler: Profiler

    def __call__(
        self, requests: Sequence[GenerationRequest], *, stop_strings: tuple[str, ...] = ()
    ) -> tuple[list[Completion], BenchmarkResult]:
        """Generate once and return the answers and the measurements.

        The time to first token ends when the generator yields the first token.
        """
        self.profiler.reset_peak()
        timed = _TimedGenerator(self.generator, self.profiler)
        start = self.profiler.now()
        answers = GenerateText(self.tokenizer, timed).complete(requests, stop_strings=stop_strings)
        seconds = self.profiler.now() - start
        first = timed.first_token_at - start if timed.first_token_at is not None else seconds
        tokens = sum(answer.completion_tokens for answer in answers)
        return answers, BenchmarkResult(
            prompt_tokens=sum(len(request.prompt) for request in requests),
            completion_tokens=tokens,
            seconds=seconds,
            time_to_first_token=first,
            decoded_tokens=tokens - sum(1 for answer in answers if answer.token_ids),
            peak_bytes=self.profiler.peak_bytes(),
        )

    def repeat(
        self,
        num_iterations: int,
        requests: Sequence[GenerationRequest],
        report: Reporter,
        *,
        stop_strings: tuple[str, ...] = (),
    ) -> tuple[str, dict[str, list[float]]]:
        """Generate several times after a warm-up; return the last answer and the measurements by name."""
        warmup = [attrs.evolve(x, max_new_tokens=min(2, x.max_new_tokens)) for x in requests]
        GenerateText(self.tokenizer, self.generator).complete(warmup)
        figures: dict[str, list[float]] = {}
        text = ""
        for done in range(num_iterations):
            report(Progress("Measuring", done, num_iterations, unit="iterations"))
            answers, result = self(requests, stop_strings=stop_strings)
            text = answers[-1].text
            for name, value in result.as_dict().items():
                figures.setdefault(name, []).append(value)
        report(Progress("Measuring", num_iterations, num_iterations, unit="iterations"))
        return text, figures


@attrs.define
class _TimedGenerator:
    generator: Generator
    profiler: Profiler
    first_token_at: float | None = None

    @property
    def context(self) -> int:
        return self.generator.context

    def prefix_cache(self) -> PrefixCache:
        return self.generator.prefix_cache()

    def generate(
        self, requests: Sequence[GenerationRequest], *, prefix: PrefixCache | None = None
    ) -> Generation:
        return _TimedGeneration(self, self.generator.generate(requests, prefix=prefix))


@attrs.frozen
class _TimedGeneration(Iterator[TokenEvent]):
    generator: _TimedGenerator
    generation: Generation

    def __next__(self) -> TokenEvent:
        event = next(self.generation)
        if self.generator.first_token_at is None:
            self.generator.first_token_at = self.generator.profiler.now()
        return event

    def cancel(self, index: int) -> None:
        self.generation.cancel(index)

    def close(self) -> None:
        self.generation.close()
