"""Measure the engine: batches that requests join and leave, shared prefixes, threads, and long prompts."""

import json
import statistics
import sys
import time
from argparse import ArgumentParser
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from workload import REQUESTS, mixed_requests, token_ids

from litgpt import LLM
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.generation.sampling_params import SamplingParams

THREADS = 16
GREEDY = SamplingParams(temperature=0)


def main() -> None:
    """Print the measurements."""
    parser = ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--only", nargs="+", default=["mixed", "threads", "long_prompt", "prefix"])
    parser.add_argument("--part", type=int, nargs=2, help="only compute this part of the mixed requests")
    arguments = parser.parse_args()
    llm = LLM.load(arguments.model, quiet=True)
    if arguments.part:
        rate(llm, [request(token_ids(8, -1), 8)])  # warm
        chosen = [request(*it) for it in mixed_requests(*arguments.part)]
        print(json.dumps({"tokens_per_s": rate(llm, chosen)}))
        return
    parts = {"mixed": mixed, "threads": threads, "long_prompt": long_prompt, "prefix": prefix}
    found = {}
    for name in arguments.only:
        print(f"{name} …", file=sys.stderr)
        found[name] = parts[name](llm)
    print(json.dumps(found))


def request(prompt: Sequence[int], count: int) -> GenerationRequest:
    """Return a request for exactly `count` tokens."""
    return GenerationRequest(
        prompt=list(prompt), max_new_tokens=count, sampling_params=GREEDY, prompt_lookup_num_tokens=0
    )


def rate(llm: LLM, requests: Sequence[GenerationRequest]) -> float:
    """Return the tokens per second of prompts and answers."""
    total = sum(len(it.prompt) + it.max_new_tokens for it in requests)
    start = time.perf_counter()
    for _ in llm._generator().generate(requests):
        pass
    return total / (time.perf_counter() - start)


def mixed(llm: LLM) -> dict[str, Any]:
    """Return the rates of prompts of many lengths and of equal ones of their mean length."""
    pairs = mixed_requests()
    of_all = [request(prompt, count) for prompt, count in pairs]
    lengths = [(len(prompt), count) for prompt, count in pairs]
    mean = [round(statistics.fmean(values)) for values in zip(*lengths, strict=True)]
    equal = [request(token_ids(mean[0], 1000 + at), mean[1]) for at in range(REQUESTS)]
    return {
        "mixed": rate(llm, of_all),
        "equal": rate(llm, equal),
        "answer_share": mean[1] / sum(mean),
    }


def threads(llm: LLM) -> dict[str, Any]:
    """Return the seconds of a list of prompts, and of as many threads with one prompt each."""
    requests = [request(token_ids(40, 2000 + at), 64) for at in range(THREADS)]
    generator = llm._generator()

    def answer(it: GenerationRequest) -> list[int]:
        return [event.token for event in generator.generate([it])]

    start = time.perf_counter()
    events = list(generator.generate(requests))
    together = time.perf_counter() - start
    requests = [request([9, *it.prompt], 64) for it in requests]  # nothing is cached
    start = time.perf_counter()
    with ThreadPoolExecutor(THREADS) as pool:
        list(pool.map(answer, requests))
    return {"list_s": together, "threads_s": time.perf_counter() - start, "tokens": len(events)}


def long_prompt(llm: LLM) -> dict[str, Any]:
    """Return the seconds between tokens of an answer, alone and while a prompt of 4,000 tokens comes in."""
    generator = llm._generator()
    running = generator.generate([request(token_ids(40, 3000), 2000)])
    next(running)
    alone = [_gap(running) for _ in range(100)]
    with ThreadPoolExecutor(1) as pool:
        start = time.perf_counter()
        first = pool.submit(next, generator.generate([request(token_ids(4000, 3001), 1)]))
        during = []
        while not first.done():
            during.append(_gap(running))
        seconds = time.perf_counter() - start
    running.close()
    return {"alone_s": alone, "during_s": during, "prompt_s": seconds}


def prefix(llm: LLM) -> dict[str, Any]:
    """Return the seconds of 64 prompts of 1,000 tokens and some more, with a common beginning and without."""
    system = token_ids(1000, 4000)
    shared = [request([*system, *token_ids(8, 4001 + at)], 4) for at in range(64)]
    other = [request([at + 1, *it.prompt[1:]], 4) for at, it in enumerate(shared)]
    seconds = []
    for requests in (shared, other):
        start = time.perf_counter()
        events = list(llm._generator().generate(requests))
        seconds.append(time.perf_counter() - start)
    return {"shared_s": seconds[0], "other_s": seconds[1], "events": len(events)}


def _gap(generation: Any) -> float:
    start = time.perf_counter()
    next(generation)
    return time.perf_counter() - start


if __name__ == "__main__":
    main()
