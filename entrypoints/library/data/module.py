"""`litgpt.data.DataModule`: the base class of data modules."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict, Unpack

from litgpt.adapters.training.data.data_module import BaseDataModule as Reporting
from litgpt.domain.chat.styles.prompt_style import PromptStyle
from litgpt.domain.validation.call_signatures import SharedOptions, public_function
from litgpt.progress_report import default_reporter


class TemplateKwargs(TypedDict, total=False):
    """What the chat template is given; `BaseDataModule` documents each."""

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
    """Data to train on, as the Lightning Trainer takes them.

    One's own says what its examples are:

        class Birds(DataModule):
            def train_examples(self):
                return [{"prompt": "Name a bird.", "completion": "A crane."}, ...]

        data = Birds(val_split_fraction=0.1)
        data.connect(llm.tokenizer, batch_size=8, max_seq_length=512)
        trainer.fit(lit_model, data)

    An example is a record as `JSON` reads them, or a list of messages. Examples to validate with are those of
    `val_examples()`, or a part of the others. What has to be downloaded is downloaded in `prepare_data()`.

    Batches are `{"input_ids": (B, T), "labels": (B, T)}`, padded on the right to the longest of them.
    Labels are not shifted. Each example is written as it will be when the model is asked, and ends as an
    answer ends. The order of an epoch follows from `seed` and the epoch; a checkpoint that Lightning saves in
    the middle of one goes on with the next batch.

    Args:
        mask_prompt: Whether only the answers are learned, and not what they answer.
        val_split_fraction: The share of the examples that is held back for validation; None is none.
        prompt_style: How examples are written: a style or its name. None is the tokenizer's chat template if
            it has one, and otherwise `alpaca`. After `connect`, the attribute says which it is (None: the
            template).
        ignore_index: The label of what is not learned.
        seed: Says which examples are held back, and the order of each epoch.
        num_workers: How many processes make batches; 0 is the trainer's own, which is fastest, as all is in
            memory.
        tools: Tools that the model may call, for records without `tools` of their own: JSON schemas or Python
            functions.
        chat_template_kwargs: Variables of the chat template, for records without `chat_template_kwargs`.
        apply_chat_template: False takes the texts of records as they are, for data that already went through
            a chat template: `{"prompt": …, "completion": …}`, or `{"text": …}`, all of which is learned.
        parse_special_tokens: Whether special tokens that are written in the examples, such as `<|im_end|>`,
            become control tokens. They are encoded as text otherwise, and control tokens come from the chat
            template or the prompt style alone. None: only in texts that are taken as they are, with
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
