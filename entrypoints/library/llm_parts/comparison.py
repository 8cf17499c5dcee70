"""Compare this library's engines with transformers on the weights of a model."""

from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import attrs

from litgpt.domain.benchmark import CPU_MEMORY, DECODE_SPEED, GPU_MEMORY, PREFILL_SPEED
from litgpt.domain.common_prefix import common_prefix_length
from litgpt.domain.errors import UnsupportedOperation

if TYPE_CHECKING:
    from litgpt.adapters.pytorch.bridge.layer_outputs import LayerOutputs
    from litgpt.domain.scoring.results import TextLogprobs
    from litgpt.llm import LLM

TOLERANCE = 1e-4
"""Largest difference of values computed in float32, relative to the largest value."""

REFERENCE = "transformers"
_ENGINES = ("torch", REFERENCE, "native")  # the first refuses models that only transformers computes


@attrs.frozen(kw_only=True)
class EngineFigures:
    """What one engine computed.

    Attributes:
        engine: `transformers`, `torch` or `native`.
        logprobs: The log-probability of each token of each text but the first.
        answers: The ids of the greedy continuation of each text.
        prefill_speed: Tokens of the prompt per second.
        decode_speed: Generated tokens per second, without the first.
        peak_bytes: Peak memory of the process, or of the GPU; None if it is unknown.
    """

    engine: str
    logprobs: tuple[tuple[float, ...], ...] = attrs.field(repr=False)
    answers: tuple[tuple[int, ...], ...] = attrs.field(repr=False)
    prefill_speed: float
    decode_speed: float
    peak_bytes: int | None

    def logprob_difference(self, reference: "EngineFigures") -> float:
        """Return the largest difference of a log-probability."""
        pairs = zip(chain(*self.logprobs), chain(*reference.logprobs), strict=True)
        return max((abs(actual - expected) for actual, expected in pairs), default=0.0)

    def equal_tokens(self, reference: "EngineFigures") -> int:
        """Return the number of greedy tokens before the first that differs, in all texts."""
        return sum(
            common_prefix_length(list(own), list(other))
            for own, other in zip(self.answers, reference.answers, strict=True)
        )


@attrs.frozen(kw_only=True)
class Comparison:
    """A model in transformers and in this library.

    Attributes:
        engines: Figures of the engines, transformers first.
        layers: The largest difference of each layer's output in the engine `torch`, relative to its largest
            value, over all texts; empty if transformers has other layers.
        logits: The same of the logits.
        omitted: Why an engine was not compared, by its name.
    """

    engines: tuple[EngineFigures, ...]
    layers: tuple[float, ...]
    logits: float
    omitted: dict[str, str]

    @property
    def first_difference(self) -> int | None:
        """The first layer, from 0, that differs by more than `TOLERANCE`; None if there is none."""
        return next((layer for layer, value in enumerate(self.layers) if not value <= TOLERANCE), None)

    @property
    def agrees(self) -> bool:
        """Whether the logits of the engine `torch` agree, and the log-probabilities of all engines."""
        reference, *others = self.engines
        # A log-probability is the difference of two values of the order of the logits.
        return self.logits <= TOLERANCE and all(
            engine.logprob_difference(reference) <= 100 * TOLERANCE for engine in others
        )


def compare(llm: "LLM", texts: Sequence[str], *, max_new_tokens: int, accelerator: str) -> Comparison:
    """Compute texts with each engine in float32, one engine after the other.

    Args:
        llm: The model. It is left with the engine `torch` or `native`.
        texts: The texts; one of a single token has no log-probabilities.
        max_new_tokens: The length of the greedy continuations.
        accelerator: As in `LLM.distribute`; the native engine takes part on a CPU.

    Raises:
        UnsupportedOperation: The model is not one of this library's own network, or transformers cannot
            compute this checkpoint.
        NotInstalled: transformers is not installed.
    """
    from litgpt.adapters.pytorch.bridge.config import import_transformers

    import_transformers()
    engines: list[EngineFigures] = []
    passes: dict[str, list[LayerOutputs]] = {}
    omitted: dict[str, str] = {}
    for engine in _ENGINES:
        try:
            llm.distribute(accelerator=accelerator, precision="32-true", engine=engine)  # type: ignore[arg-type]
        except UnsupportedOperation as error:
            if engine != "native":
                raise
            omitted[engine] = str(error)
            continue
        scores = llm.logprobs(list(texts))
        if engine != "native":
            passes[engine] = [_layer_outputs(llm, score.token_ids) for score in scores]
        engines.append(_figures(llm, engine, texts, scores, max_new_tokens))
    differences = [
        _differences(own, reference)
        for own, reference in zip(passes["torch"], passes[REFERENCE], strict=True)
    ]
    return Comparison(
        engines=tuple(sorted(engines, key=lambda it: it.engine != REFERENCE)),
        layers=tuple(max(values) for values in zip(*(layers for layers, _ in differences), strict=True)),
        logits=max(logits for _, logits in differences),
        omitted=omitted,
    )


def _figures(
    llm: "LLM", engine: str, texts: Sequence[str], scores: "Sequence[TextLogprobs]", max_new_tokens: int
) -> EngineFigures:
    greedy: dict[str, Any] = {"max_new_tokens": max_new_tokens, "temperature": 0.0}
    answers = llm.generate(list(texts), return_as_token_ids=True, **greedy)
    _, figures = llm.benchmark(prompt=texts[0], **greedy)
    peak = figures.get(GPU_MEMORY) or figures.get(CPU_MEMORY)
    return EngineFigures(
        engine=engine,
        logprobs=tuple(tuple(value for value in score.logprobs if value is not None) for score in scores),
        answers=tuple(tuple(answer.tolist()) for answer in answers),
        prefill_speed=figures[PREFILL_SPEED][0],
        decode_speed=figures[DECODE_SPEED][0],
        peak_bytes=round(peak[0] * 1e9) if peak else None,
    )


def _layer_outputs(llm: "LLM", ids: Sequence[int]) -> "LayerOutputs":
    import torch

    from litgpt.adapters.pytorch.bridge.layer_outputs import layer_outputs

    assert llm.model is not None  # noqa: S101 - not with the native engine
    return layer_outputs(llm.model, torch.tensor([ids], device=llm.preprocessor.device))


def _differences(own: "LayerOutputs", reference: "LayerOutputs") -> tuple[list[float], float]:
    from litgpt.adapters.pytorch.bridge.layer_outputs import relative_difference

    shapes = [tensor.shape for tensor in own.layers], [tensor.shape for tensor in reference.layers]
    layers = zip(own.layers, reference.layers, strict=True) if shapes[0] == shapes[1] else ()
    return [relative_difference(*pair) for pair in layers], relative_difference(own.logits, reference.logits)
