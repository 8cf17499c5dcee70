"""Measure transformers' continuous batching, as `generate_batch` uses it.

`generate_batch` gives all prompts the same number of new tokens; here each prompt has its own, through the
same manager.
"""

import json
import time
from argparse import ArgumentParser
from typing import Any

from workload import count_tokens, mixed_requests, token_ids

BLOCKS = 256
"""The blocks of the cache, 1.5 GB and more than all requests need: by default it takes most of the memory."""

NO_TOKEN = -1
"""In place of the end-of-sequence token, so that every answer has its full length."""


def main() -> None:
    """Print the measurements."""
    import torch
    from transformers import AutoModelForCausalLM, ContinuousBatchingConfig

    parser = ArgumentParser()
    parser.add_argument("model")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--part", type=int, nargs=2, required=True, help="of the requests")
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    model = AutoModelForCausalLM.from_pretrained(arguments.model, dtype=getattr(torch, arguments.dtype))
    model.generation_config.eos_token_id = NO_TOKEN
    model.generation_config.do_sample = False
    requests = mixed_requests(*arguments.part)
    cache = ContinuousBatchingConfig(num_blocks=BLOCKS)
    with model.continuous_batching_context_manager(continuous_batching_config=cache, timeout=5) as manager:
        generate(manager, [(token_ids(8, -1), 2)])  # warm
        start = time.perf_counter()
        lengths = generate(manager, requests)
        seconds = time.perf_counter() - start
    if sorted(lengths) != sorted(count for _, count in requests):
        raise SystemExit("transformers: answers of other lengths")
    print(json.dumps({"tokens_per_s": count_tokens(requests) / seconds, "seconds": seconds}))


def generate(manager: Any, requests: list[tuple[list[int], int]]) -> list[int]:
    """Generate all answers; return their lengths, in the order in which they end."""
    for prompt, count in requests:
        manager.add_request(prompt, max_new_tokens=count, eos_token_id=NO_TOKEN)
    lengths: list[int] = []
    while len(lengths) < len(requests):
        result = manager.get_result(timeout=1)
        if result is not None and result.is_finished():
            lengths.append(len(result.generated_tokens))
        elif result is None and not manager.is_running():
            raise SystemExit("transformers: the generation ended early")
    return lengths


if __name__ == "__main__":
    main()
