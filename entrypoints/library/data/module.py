"""`litgpt.data.DataModule`: the base class of data modules."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict, Unpack

from litgpt.adapters.training.data.data_module import BaseDataModule as Reporting
from litgpt.domain.chat.styles.prompt_style import PromptStyle
from litgpt.domain.validation.call_signatures import SharedOptions, public_function
from litgpt.progress_report import default_reporter


class TemplateKwargs(TypedDict, total=False):
    """Options of the chat template, documented in `DataModule`."""

    tools: Sequence[Mapping[str, Any] | Callable[..., Any]] | None
    chat_template_kwargs: Mapping[str, Any] | None
    apply_chat_template: bool
    parse_special_tokens: bool | None


TEMPLATE_OPTIONS = SharedOptions(
    {
        "tools": None,
        "chat_template_kwargs": None,
        "apply_chat_template": True,
        "parse_special_tokens": None,
    }
)


class DataModule(Reporting):
    """Base class of training data for the Lightning Trainer.

    Subclasses return their examples:

        class Birds(DataModule):
            def train_examples(self):
                return [{"prompt": "Name a bird.", "completion": "A crane."}, ...]

        data = Birds(val_split_fraction=0.1)
        data.connect(llm.tokenizer, batch_size=8, max_seq_length=512)
        trainer.fit(lit_model, data)

    An example is a record as in `JSON`, or a list of messages. The validation examples are returned by
    `val_examples()` or split off the training examples. Override `prepare_data()` to download data.

    Batches are `{"input_ids": (B, T), "labels": (B, T)}`, padded on the right to the longest sequence. Labels
    are not shifted. Examples are formatted as prompts are for generation, followed by the answer and its end
    token. The order of an epoch depends on `seed` and the epoch only; training from a checkpoint that
    Lightning saved within an epoch continues with the next batch.

    Args:
        mask_prompt: Whether only the answers contribute to the loss.
        val_split_fraction: The fraction of the examples for validation; None: no validation split.
        prompt_style: A style or its name. None: the tokenizer's chat template, or `alpaca` without one. After
            `connect`, the attribute is the style in use (None: the chat template).
        ignore_index: The label of tokens that do not contribute to the loss.
        seed: The seed of the validation split and of the order of each epoch.
        num_workers: The number of DataLoader processes; 0, the fastest since all data are in memory, loads in
            the trainer's process.
        tools: Tools that the model may call, for records without `tools`: JSON schemas or Python functions.
        chat_template_kwargs: Variables of the chat template, for records without `chat_template_kwargs`.
        apply_chat_template: False uses the texts of records unchanged, if a chat template has already been
            applied: `{"prompt": …, "completion": …}`, or `{"text": …}`, where all tokens contribute to the
            loss.
        parse_special_tokens: Whether special tokens in the texts of examples, such as `<|im_end|>`, become
            control tokens. Otherwise they are encoded as plain text, and only the chat template or prompt
            style adds control tokens. None: only in texts that are used unchanged, with
            `apply_chat_template=False` or `prompt_style="default"`.
    """

    @public_function(TEMPLATE_OPTIONS)
    def __init__(
        self,
        mask_prompt: bool = False,
        val_split_fraction: float | None = None,
        prompt_style: str | PromptStyle | None = None,
        ignore_index: int = -100,
        seed: int = 42,
        num_workers: int = 0,
        **templating: Unpack[TemplateKwargs],
    ) -> None:
        super().__init__(
            mask_prompt=mask_prompt,
            val_split_fraction=val_split_fraction,
            prompt_style=prompt_style,
            ignore_index=ignore_index,
            seed=seed,
            num_workers=num_workers,
            **templating,
            report=default_reporter(None),
        )
