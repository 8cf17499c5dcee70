"""Measure what options of a request cost or gain in the engine: schemas, drafts from the prompt, samplers.

Each is measured with the option and without it, in turns.
"""

import json
import sys
import time
from argparse import ArgumentParser
from collections.abc import Callable
from pathlib import Path
from typing import Any

from workload import token_ids

from litgpt import LLM
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.generation.sampling_params import SamplingParams

BATCH = 32
ROUNDS = 5
SCHEMA_BATCH, SCHEMA_ANSWER = 16, 48
REPEATED_ANSWER, OTHER_ANSWER, OTHER_TEXTS = 96, 64, 4
SAMPLED_ANSWER = 12

PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string"},
        "age": {"type": "integer"},
        "occupation": {"enum": ["student", "engineer", "teacher", "nurse"]},
        "hobbies": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["name", "age", "occupation", "hobbies"],
    "additionalProperties": False,
}
SCHEMA = {"type": "array", "items": PERSON, "minItems": 1000}
"""Of a list that is too long to end, so that every answer has the same number of tokens as one without it."""

ALL_SAMPLERS = SamplingParams(
    temperature=0.8,
    top_k=50,
    top_p=0.95,
    min_p=0.05,
    typical_p=0.95,
    seed=1,
    repetition_penalty=1.1,
    presence_penalty=0.1,
    frequency_penalty=0.1,
    logit_bias=((5, 1.0), (7, -1.0)),
    bad_words=((11,), (12, 13)),
    min_tokens=4,
    dry_multiplier=0.8,
    xtc_probability=0.5,
)


def main() -> None:
    """Print the measurements."""
    parser = ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--large-vocabulary", required=True, help="a model with 150,000 tokens")
    parser.add_argument("--news", type=Path, required=True, help="a file with a text per line")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    news = arguments.news.read_text(encoding="utf-8").splitlines()
    llm = LLM.load(arguments.model, quiet=True)
    print("schema, prompt look-up …", file=sys.stderr)
    found = {
        "schema": schema(llm, arguments.rounds),
        "repeated": repeated(llm, news[0], arguments.rounds),
        "other": other(llm, news[1 : 1 + OTHER_TEXTS], arguments.rounds),
    }
    print("samplers …", file=sys.stderr)
    found["samplers"] = samplers(LLM.load(arguments.large_vocabulary, quiet=True), arguments.rounds)
    print(json.dumps(found))


def in_turns(rounds: int, **actions: Callable[[], object]) -> dict[str, list[float]]:
    """Return the seconds of each action in each round, after one that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in actions}
    for at in range(rounds + 1):
        for name, action in actions.items():
            start = time.perf_counter()
            action()
            if at > 0:
                seconds[name].append(time.perf_counter() - start)
    return seconds


def schema(llm: LLM, rounds: int) -> dict[str, list[float]]:
    """Measure answers in JSON, the compilation of the schema included, and equally long ones without it."""
    prompts = [f"Write a JSON list of {count} persons:" for count in range(2, 2 + SCHEMA_BATCH)]
    options: dict[str, Any] = {
        "temperature": 0,
        "max_new_tokens": SCHEMA_ANSWER,
        "cache_prompt": False,
        "prompt_lookup_num_tokens": 0,
    }

    def complete(**more: Any) -> None:
        answers = llm.complete(prompts, **options, **more)
        if any(len(it.token_ids) != SCHEMA_ANSWER for it in answers):
            raise SystemExit("An answer has another length.")

    return in_turns(rounds, on=lambda: complete(schema=SCHEMA), off=lambda: complete(ignore_eos=True))


def repeated(llm: LLM, text: str, rounds: int) -> dict[str, Any]:
    """Measure an answer that repeats its prompt, with drafts and without."""
    words = text.split()
    begin = " ".join(words[:8])
    prompt = f"{text}\n\n{text}\n\n{begin}"
    return _lookup(llm, [prompt], REPEATED_ANSWER, rounds, temperature=0)


def other(llm: LLM, texts: list[str], rounds: int) -> dict[str, Any]:
    """Measure answers that continue news, one after another, with drafts and without."""
    prompts = [" ".join(text.split()[:60]) for text in texts]
    return _lookup(llm, prompts, OTHER_ANSWER, rounds, temperature=1.0, top_k=None, seed=1)


def _lookup(llm: LLM, prompts: list[str], count: int, rounds: int, **sampling: Any) -> dict[str, Any]:
    def answer(limit: int | None) -> list[tuple[int, ...]]:
        options: dict[str, Any] = {"max_new_tokens": count, "prompt_lookup_num_tokens": limit}
        plain: dict[str, Any] = {"apply_chat_template": False, "ignore_eos": True}
        return [llm.complete(it, **options, **plain, **sampling).token_ids for it in prompts]

    if answer(None) != answer(0):
        raise SystemExit("Drafts change an answer.")
    return in_turns(rounds, on=lambda: answer(None), off=lambda: answer(0))


def samplers(llm: LLM, rounds: int) -> dict[str, Any]:
    """Measure a batch of 32 with all samplers and with none."""

    def generate(params: SamplingParams, seed: int) -> None:
        requests = [
            GenerationRequest(
                prompt=token_ids(8, seed + at),
                max_new_tokens=SAMPLED_ANSWER,
                sampling_params=params,
                prompt_lookup_num_tokens=0,
                cache_prompt=False,
            )
            for at in range(BATCH)
        ]
        for _ in llm._generator().generate(requests):
            pass

    seconds = in_turns(
        rounds,
        on=lambda: generate(ALL_SAMPLERS, 5000),
        off=lambda: generate(SamplingParams(temperature=0), 5000),
    )
    return {**seconds, "steps": SAMPLED_ANSWER, "vocab_size": llm.config.vocab_size}


if __name__ == "__main__":
    main()
