"""Answer the lines of a batch: one stream of requests, which join the running batch as others finish."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import attrs

from litgpt.application.batch.lines import TEMPLATE_OPTIONS, BatchLine
from litgpt.application.batch.results import error_result, result
from litgpt.application.generate_text import GenerateText, TextRequest
from litgpt.application.generation_options import GenerationOptions
from litgpt.application.load_model import LoadedModel
from litgpt.application.prepare_requests import make_prompt_renderer, prepare_requests
from litgpt.domain.errors import InsufficientSpace, LitGPTError
from litgpt.domain.generation.batching import check_prompts
from litgpt.domain.generation.errors import AllTokensExcluded, NonFiniteLogits
from litgpt.domain.generation.request import Completion
from litgpt.domain.ports import Generator


@attrs.define
class BatchCounts:
    """What a run has done so far; tokens are those of the answers."""

    done: int = 0
    errors: int = 0
    skipped: int = 0
    repeated: int = 0
    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int = 0


@attrs.define(eq=False)
class _Job:
    """A line whose answers are being generated; `completions` has None for unfinished ones."""

    line: BatchLine
    n: int | None
    completions: list[Completion | None]
    is_failed: bool = False


@attrs.frozen
class _Entry:
    """A request of a job: the one for its answer number `at`."""

    job: _Job
    at: int
    request: TextRequest


@attrs.define(eq=False)
class RunBatch:
    """Answers lines with a placed model.

    Attributes:
        write: Gets the output of each line as soon as it is complete.
        done: The ids that the output has already; their lines are skipped.
        defaults: The options that lines do not set.
    """

    loaded: LoadedModel[Any]
    generator: Generator
    write: Callable[[Mapping[str, Any]], None]
    done: set[str] = attrs.field(factory=set)
    defaults: Mapping[str, Any] = attrs.field(factory=dict)
    sys_prompt: str | None = None
    counts: BatchCounts = attrs.field(factory=BatchCounts, init=False)
    _seen: set[str] = attrs.field(factory=set, init=False)

    def __call__(self, lines: Iterable[BatchLine]) -> Iterator[BatchCounts]:
        """Answer all lines, which are taken as earlier ones finish; yield the counts after each token.

        A line that cannot be answered gets an error as its output.
        """
        waiting = self._entries(lines)
        while True:
            started: dict[int, _Entry] = {}
            try:
                yield from self._answer(waiting, started)
            except NonFiniteLogits as error:
                for index in error.rows:
                    self._fail(started.pop(index).job, error)
                waiting = chain(list(started.values()), waiting)
            except (AllTokensExcluded, InsufficientSpace):
                # The error belongs to one of the requests: find it by computing each alone.
                for entry in started.values():
                    try:
                        yield from self._answer(iter([entry]), {})
                    except (AllTokensExcluded, InsufficientSpace, NonFiniteLogits) as error:
                        self._fail(entry.job, error)
            else:
                return

    def _answer(self, entries: Iterator[_Entry], started: dict[int, _Entry]) -> Iterator[BatchCounts]:
        """Answer requests in one stream; `started` has those that are not finished, by their index."""

        def requests() -> Iterator[TextRequest]:
            for index, entry in enumerate(it for it in entries if not it.job.is_failed):
                started[index] = entry
                yield entry.request

        for chunk in GenerateText(self.loaded.tokenizer, self.generator).stream_from(requests()):
            if chunk.token is not None:
                self.counts.completion_tokens += 1
            if chunk.completion is not None:
                self._finish(started.pop(chunk.index), chunk.completion)
            yield self.counts

    def _entries(self, lines: Iterable[BatchLine]) -> Iterator[_Entry]:
        for line in lines:
            if self._skips(line):
                continue
            try:
                entries = self._prepare(line)
            except LitGPTError as error:
                self._fail(_Job(line, None, []), error)
            else:
                yield from entries

    def _skips(self, line: BatchLine) -> bool:
        if line.key in self._seen:
            self.counts.repeated += 1
            return True
        self._seen.add(line.key)
        if line.key not in self.done:
            return False
        self.done.discard(line.key)
        self.counts.skipped += 1
        return True

    def _prepare(self, line: BatchLine) -> list[_Entry]:
        prompt = line.read_prompt(self.defaults, self.sys_prompt)
        templating = {name: value for name, value in prompt.options.items() if name in TEMPLATE_OPTIONS}
        options = {name: value for name, value in prompt.options.items() if name not in templating}
        context = self.generator.context
        prepared = prepare_requests(
            self.loaded,
            prompt.prompt,
            prompt.sys_prompt,
            GenerationOptions(**options),
            context_length=context,
            renderer=make_prompt_renderer(self.loaded, **templating),
            n=prompt.n,
            split_reasoning=line.is_openai,
        )
        check_prompts(prepared.requests, context, self.loaded.architecture.vocab_size)
        job = _Job(line, prompt.n, [None] * len(prepared.requests))
        pairs = zip(prepared.requests, prepared.syntaxes, strict=True)
        return [
            _Entry(job, at, TextRequest(request, prepared.stop_strings, syntax))
            for at, (request, syntax) in enumerate(pairs)
        ]

    def _finish(self, entry: _Entry, completion: Completion) -> None:
        job, counts = entry.job, self.counts
        job.completions[entry.at] = completion
        counts.prompt_tokens += completion.prompt_tokens
        counts.cached_tokens += completion.cached_tokens
        completions = [it for it in job.completions if it is not None]
        if len(completions) == len(job.completions) and not job.is_failed:
            self.write(result(job.line, completions, job.n, self.loaded.checkpoint.name, self._spell))
            counts.done += 1

    def _fail(self, job: _Job, error: Exception) -> None:
        if not job.is_failed:
            job.is_failed = True
            self.write(error_result(job.line, error))
            self.counts.errors += 1

    def _spell(self, token: int) -> str:
        return self.loaded.tokenizer.decode([token], include_special_tokens=True)
