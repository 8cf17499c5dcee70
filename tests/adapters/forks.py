"""Fork a process that has generated with several threads, and report the outcome; run by test_forks.py.

The first argument is the folder of a model. Writes one JSON line per case.
"""

import json
import multiprocessing
import os
import signal
import sys
import threading
from collections.abc import Callable
from multiprocessing.queues import SimpleQueue
from typing import Any

import torch
from torch.utils.data import DataLoader, Dataset

from litgpt import LLM


def loaded() -> LLM:
    llm = LLM.load(sys.argv[1], distribute=None, quiet=True)
    llm.distribute(accelerator="cpu", precision="32-true", engine="torch")
    return llm


def say(llm: LLM) -> str:
    return str(llm.generate("hello", top_k=1, max_new_tokens=6))


def outcome(act: Callable[[], object]) -> str:
    signal.alarm(120)  # a child that hangs is ended
    try:
        return str(act())
    except Exception as error:  # noqa: BLE001 - the test gets it as an outcome
        return f"{type(error).__name__}: {error}"


def in_fork(act: Callable[[], object]) -> str:
    reads, writes = os.pipe()
    child = os.fork()
    if not child:
        os.write(writes, outcome(act).encode())
        os._exit(0)
    os.close(writes)
    with os.fdopen(reads) as pipe:
        output = pipe.read()
    os.waitpid(child, 0)
    return output or "it hung"


def with_one_thread(llm: LLM) -> str:
    torch.set_num_threads(1)
    return say(llm)


def in_a_thread(llm: LLM) -> str:
    results: list[str] = []
    thread = threading.Thread(target=lambda: results.append(say(llm)))
    thread.start()
    thread.join()
    return results[0]


def put(queue: "SimpleQueue[str]", llm: LLM | None) -> None:
    queue.put(outcome(lambda: say(llm if llm is not None else loaded())))


def in_process(method: Any, llm: LLM | None) -> str:
    context = multiprocessing.get_context(method)
    queue: SimpleQueue[str] = context.SimpleQueue()
    process = context.Process(target=put, args=(queue, llm))
    process.start()
    outcome = queue.get()
    process.join()
    return outcome


class Texts(Dataset[list[int]]):
    def __init__(self, llm: LLM) -> None:
        self.llm = llm

    def __len__(self) -> int:
        return 4

    def __getitem__(self, at: int) -> list[int]:
        return [int(token_id) for token_id in self.llm.tokenizer.encode("a" * (at + 1))]


def batches(llm: LLM) -> list[int]:
    loader = DataLoader(
        Texts(llm), batch_size=2, num_workers=2, multiprocessing_context="fork", collate_fn=list
    )
    lengths = [len(row) for batch in loader for row in batch]
    llm.trainer_setup()
    llm.loss(torch.tensor([[1, 2, 3]]), torch.tensor([[1, 2, 3]])).backward()
    return [*lengths, sum(len(batch) for batch in loader)]


def main() -> None:
    torch.set_num_threads(2)
    llm = loaded()
    pieces: Any = llm.generate("hello", stream=True, top_k=1, max_new_tokens=60, return_as_token_ids=True)
    next(pieces)
    outcomes = {
        "parent": say(llm),
        "fork": in_fork(lambda: say(llm)),
        "stream": in_fork(lambda: list(pieces)),
        "loss": in_fork(lambda: llm.loss(torch.tensor([[1, 2, 3]]), torch.tensor([[1, 2, 3]]))),
        "another model": in_fork(loaded),
        "one thread": in_fork(lambda: with_one_thread(llm)),
        "a thread": in_fork(lambda: in_a_thread(llm)),
        "Process, fork": in_process("fork", llm),
        "Process, spawn": in_process("spawn", None),
        "fork of a fork": in_fork(lambda: in_fork(lambda: say(llm))),
    }
    pieces.close()
    outcomes["parent again"] = say(llm)
    outcomes["DataLoader"] = str(batches(llm))
    sys.stdout.write(json.dumps(outcomes))


if __name__ == "__main__":
    main()
