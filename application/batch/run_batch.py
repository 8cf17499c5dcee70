"""Answer the lines of a batch: one stream of requests, which join the running batch as others finish."""

from collections.abc import Callable, Iterable, Iterator, Mapping
from itertools import chain
from typing import Any

import attrs

from litgpt.application.answer_builder import TextRequest
from litgpt.application.batch.lines import BatchLine
from litgpt.application.batch.progress import BatchCounts, SkippedLines
from litgpt.application.batch.results import error_result, result
from litgpt.application.files.id_set import IdSet
from litgpt.application.generate_text import GenerateText
from litgpt.application.generation_options import GenerationOptions
from litgpt.application.load_model import LoadedModel
from litgpt.application.prepare_requests import TEMPLATE_OPTIONS, make_prompt_renderer, prepare_requests
from litgpt.application.scoring.prompt_logprobs import PromptLogprobs, prompt_logprobs
from litgpt.application.structured_output import CompileConstraint
from litgpt.domain.errors import InsufficientSpace, LitGPTError, NotInstalled
from litgpt.domain.generation.batching import check_prompts
from litgpt.domain.generation.errors import AllTokensExcluded, ConstraintFailed, NonFiniteLogits
from litgpt.domain.generation.request import Completion
from litgpt.domain.ports import ConstraintCompiler, Generator

_OF_ONE_REQUEST = (AllTokensExcluded, ConstraintFailed, InsufficientSpace)


@attrs.define(eq=False)
class _Job:
    """A line whose answers are being generated; `completions` has None for unfinished ones."""

    line: BatchLine
    n: int | None
    completions: list[Completion | None]
    is_failed: bool = False


@attrs.define(eq=False)
class _Entry:
    """A request of a job: the one for its answer number `at`, which has `num_tokens` so far."""

    job: _Job
    at: int
    request: TextRequest
    prompt_logprobs: PromptLogprobs | None = None
    num_tokens: int = 0


@attrs.define(eq=False)
class RunBatch:
    """Answers lines with a placed model.

    Attributes:
        write: Gets the output of each line as soon as it is complete.
        compiler: Compiles the constraints of lines.
        done: The ids that the output has already; their lines are skipped.
        defaults: The options that lines do not set.
    """

    loaded: LoadedModel[Any]
    generator: Generator
    write: Callable[[Mapping[str, Any]], None]
    compiler: ConstraintCompiler
    done: IdSet = attrs.field(factory=IdSet)
    defaults: Mapping[str, Any] = attrs.field(factory=dict)
    sys_prompt: str | None = None
    counts: BatchCounts = attrs.field(factory=BatchCounts, init=False)
    _started: dict[int, _Entry] = attrs.field(factory=dict, init=False)
    _skipped: SkippedLines = attrs.field(init=False)
    _constrain: CompileConstraint = attrs.field(init=False)
    _has_ended: bool = attrs.field(default=False, init=False)
    _missing: NotInstalled | None = attrs.field(default=None, init=False)

    def __attrs_post_init__(self) -> None:
        self._skipped = SkippedLines(self.done, self.counts)
        self._constrain = CompileConstraint(self.compiler, self.loaded.tokenizer)

    @property
    def is_answering(self) -> bool:
        """Whether requests are running, so that `lines` should yield None instead of waiting for a line."""
        return bool(self._started)

    def __call__(self, lines: Iterable[BatchLine | None]) -> Iterator[BatchCounts]:
        """Answer all lines, which are taken as earlier ones finish; yield the counts after each token.

        A line that cannot be answered gets an error as its output. `lines` yields None if none is ready.

        Raises:
            NotInstalled: A line needs a package that is not installed; raised after the lines before it are
                answered.
        """
        waiting = self._entries(lines)
        while not self._has_ended or self._started:
            retried = [*self._started.values()]
            self._started = {}
            try:
                yield from self._answer(chain(retried, waiting), self._started)
            except NonFiniteLogits as error:
                for index in error.rows:
                    self._fail(self._started.pop(index).job, error)
                self._forget_tokens()
            except _OF_ONE_REQUEST:
                # The error belongs to one of the requests: find it by computing each alone.
                self._forget_tokens()
                for entry in self._started.values():
                    try:
                        yield from self._answer(iter([entry]), {})
                    except (*_OF_ONE_REQUEST, NonFiniteLogits) as error:
                        self.counts.completion_tokens -= entry.num_tokens
                        self._fail(entry.job, error)
                self._started = {}
            yield self.counts
        if self._missing is not None:
            raise self._missing

    def _answer(self, entries: Iterator[_Entry | None], started: dict[int, _Entry]) -> Iterator[BatchCounts]:
        """Answer requests in one stream; `started` has those that are not finished, by their index."""

        def requests() -> Iterator[TextRequest | None]:
            index = 0
            for entry in entries:
                if entry is None:
                    yield None
                elif not entry.job.is_failed:
                    started[index] = entry
                    index += 1
                    yield entry.request

        for chunk in GenerateText(self.loaded.tokenizer, self.generator).stream_from(requests()):
            if chunk.token is not None:
                started[chunk.index].num_tokens += 1
                self.counts.completion_tokens += 1
            if chunk.completion is not None:
                self._finish(started.pop(chunk.index), chunk.completion)
            yield self.counts

    def _forget_tokens(self) -> None:
        """Do not count the tokens of unfinished requests, which are computed again."""
        for entry in self._started.values():
            self.counts.completion_tokens -= entry.num_tokens
            entry.num_tokens = 0

    def _entries(self, lines: Iterable[BatchLine | None]) -> Iterator[_Entry | None]:
        for line in lines:
            if line is None:
                yield None
                continue
            if self._skipped.skips(line):
                continue
            try:
                entries = self._prepare(line)
            except NotInstalled as error:  # an error in the output would not be tried again
                self._missing = error
                break
            except LitGPTError as error:
                self._fail(_Job(line, None, []), error)
            else:
                yield from entries
        self._has_ended = True

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
        spec = None if prepared.output is None else prepared.output.spec
        pairs = zip(prepared.requests, prepared.syntaxes, strict=True)
        requests = [self._constrain(request, syntax, spec) for request, syntax in pairs]
        logprobs = prompt_logprobs(self.generator, requests)
        return [
            _Entry(job, at, TextRequest(request, prepared.stop_strings, syntax), logprobs[at])
            for at, (request, syntax) in enumerate(zip(requests, prepared.syntaxes, strict=True))
        ]

    def _finish(self, entry: _Entry, completion: Completion) -> None:
        job, counts = entry.job, self.counts
        job.completions[entry.at] = attrs.evolve(completion, prompt_logprobs=entry.prompt_logprobs)
        counts.prompt_tokens += completion.prompt_tokens
        counts.cached_tokens += completion.cached_tokens
        completions = [it for it in job.completions if it is not None]
        if len(completions) == len(job.completions) and not job.is_failed:
            self.write(
                result(job.line, completions, job.n, self.loaded.checkpoint.name, self.loaded.tokenizer)
            )
            counts.done += 1

    def _fail(self, job: _Job, error: Exception) -> None:
        if not job.is_failed:
            job.is_failed = True
            self.write(error_result(job.line, error))
            self.counts.errors += 1
