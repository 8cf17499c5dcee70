"""`litgpt.training`: fine-tune or pretrain a model, as `litgpt finetune` and `litgpt pretrain` do.

from litgpt.training import TrainConfig, train

done = train(TrainConfig(model="smollm2", data="my.jsonl", out_dir="out"))  # LoRA, unless method="full"
llm = LLM.load(done.saved)
"""

import time
import warnings
from pathlib import Path
from typing import Any

import attrs
import torch

from litgpt.adapters.pytorch.runtime.out_of_memory import translate_out_of_memory
from litgpt.adapters.pytorch.training.router_aux_loss import RouterAuxLoss
from litgpt.adapters.training.checkpointing import CheckpointCallback
from litgpt.adapters.training.config_file import write_config
from litgpt.adapters.training.exact_resume import seed_everything
from litgpt.adapters.training.lightning_module import LitModel
from litgpt.adapters.training.loss_curve import draw_losses
from litgpt.adapters.training.metrics import MetricsCallback
from litgpt.adapters.training.trainer import build_trainer, fit, quiet_lightning
from litgpt.data.module import DataModule
from litgpt.domain.distribution.placement import Hardware
from litgpt.domain.errors import InvalidArgument, LitGPTError, NotInstalled, WrongType
from litgpt.domain.formatting.bounded_text import brief_repr
from litgpt.domain.progress import Notice, Reporter, null_reporter
from litgpt.domain.training.config import TrainConfig, config_from_settings
from litgpt.domain.training.router_aux_loss import router_loss_coefficient
from litgpt.domain.validation.call_signatures import public_function
from litgpt.domain.validation.untrusted_files import error_message
from litgpt.domain.validators import local_path
from litgpt.process_rank import is_first_process
from litgpt.progress_report import default_reporter
from litgpt.training_run.memory_check import TrainingMemory, dtype_name
from litgpt.training_run.run_folder import (
    CHECKPOINT_FOLDER,
    CONFIG_FILE,
    check_paths,
    pretraining_paths,
    remove_checkpoints,
    report_finished,
    resume_path,
)
from litgpt.training_run.run_summary import StartSummary, describe_method, end_table
from litgpt.training_run.training_io import RunLLM, output_folder, save_trained, setup_for_training

_DEFAULT_LENGTH = 2048


@attrs.frozen(kw_only=True)
class TrainResult:
    """The result of a training run.

    Attributes:
        saved: The folder of the model or adapter; None if the run was interrupted.
        checkpoint: The newest checkpoint, from which the run can be resumed.
        steps: The number of optimizer steps, including resumed runs.
        train_loss: The training loss of the last step.
        val_loss: The last validation loss.
        seconds: The duration of the run.
    """

    saved: Path | None
    checkpoint: Path | None
    steps: int
    train_loss: float | None
    val_loss: float | None
    seconds: float

    __repr__ = brief_repr


@public_function()
def train(
    config: TrainConfig,
    *,
    resume: str | None = None,
    overwrite: bool = False,
    report: Reporter | None = None,
) -> TrainResult:
    """Train a model.

    The files in `out_dir` are `recipe.yaml`, `metrics.csv`, `loss.png`, the newest of the `checkpoints/`, and
    `model/` (a folder that transformers opens too) or `adapter/` (PEFT's format).

    Args:
        config: The configuration of the run.
        resume: `last` or the path of a checkpoint, to continue a run.
        overwrite: Whether a new run may replace an earlier run or another model in `out_dir`.
        report: Receives notices and progress; None: stderr, as in `LLM.load`.

    Raises:
        WouldOverwrite: `out_dir` contains another model, and `overwrite` is False.
        InvalidArgument: A setting is not valid.
        InvalidData: The data have no tokens to train on.
        TrainerCheckpointMismatch: The checkpoint belongs to another model or method.
        UnsupportedOperation: The hardware is not available, or there is not enough disk space, or memory for
            weights, gradients, optimizer states and activations.
    """
    if not isinstance(config, TrainConfig):
        raise WrongType(
            "config",
            config,
            "a TrainConfig, such as TrainConfig(model='smollm2', data='my.jsonl', out_dir='out')",
        )
    report = (report or default_reporter(None)) if is_first_process() else null_reporter
    began, out = time.perf_counter(), local_path("out_dir", config.out_dir)
    check_paths(config, resume=resume, overwrite=overwrite)
    path = resume_path(config, out, resume, report)
    is_finished = report_finished(out, path, config.max_steps, report)
    seed_everything(config.seed)
    llm = RunLLM.open(config)
    llm.report_to(report)
    llm.check_output(config, output_folder(config, out), overwrite=overwrite or resume is not None)
    length = _sequence_length(config, llm.config.block_size)
    precision, dtype = _precision(llm.hardware(), config)
    memory = TrainingMemory(loaded=llm.loaded, config=config, precision=precision, dtype=dtype_name(dtype))
    memory.check(llm.hardware(), 1)  # before the data are tokenized, which may take long
    data = _make_data(llm, config, report)
    data.connect(llm.tokenizer, batch_size=config.batch_size, max_seq_length=length)
    train_set: Any = data.train_dataloader().dataset
    if not is_finished:
        batches = data.batches_in_epoch(config.devices * config.nodes)
        report_finished(out, path, config.num_steps(batches), report)
    memory.check(llm.hardware(), train_set.longest)
    if overwrite and is_first_process():
        remove_checkpoints(out)
    write_config(out / CONFIG_FILE, config)
    sparse = any(layer.mlp.num_experts for layer in llm.config.architecture.layers)
    weight = _router_loss_coefficient(llm, config, report) if sparse else 0.0
    module = LitModel(
        llm,
        config,
        prepare=lambda mesh: setup_for_training(llm, config, dtype, mesh),
        routers=RouterAuxLoss() if weight else None,
        router_loss_coefficient=weight,
    )
    metrics = MetricsCallback(out / "metrics.csv", report)
    checkpoints = CheckpointCallback(out / CHECKPOINT_FOLDER, config.save_every, report)
    trainer = build_trainer(
        config,
        precision,
        is_moe=sparse,
        metrics=metrics,
        checkpoints=checkpoints,
        start=StartSummary(memory=memory, train_set=train_set),
        report=report,
    )
    with translate_out_of_memory("Training"):
        ended = fit(trainer, module, data, path, report)
    if ended and metrics.is_validation_due(trainer, module):  # the run was killed after its last step
        with quiet_lightning():
            trainer.validate(module, data, verbose=False)
    try:
        saved = save_trained(llm, config, out, report, first=trainer.is_global_zero) if ended else None
    except (LitGPTError, OSError):
        if (newest := checkpoints.newest) is not None:
            remedy = f"save it as a model with `litgpt convert {newest} FOLDER`"
            report(Notice(f"The trained weights are in the checkpoint {newest}; {remedy}."))
        raise
    if trainer.is_global_zero:
        _draw_loss_curve(out, f"{llm.loaded.checkpoint.name}, {describe_method(config)}", report)
    seconds = time.perf_counter() - began
    if saved is not None and trainer.is_global_zero:
        report(Notice(end_table(config, saved, checkpoints.newest, trainer.global_step, metrics, seconds)))
    return TrainResult(
        saved=saved,
        checkpoint=checkpoints.newest,
        steps=trainer.global_step,
        train_loss=metrics.train_loss,
        val_loss=metrics.val_loss,
        seconds=seconds,
    )


def _router_loss_coefficient(llm: RunLLM, config: TrainConfig, report: Reporter) -> float:
    """Return the weight of the load-balancing loss of an MoE model; report a notice if it is 0."""
    if config.uses_lora:
        return 0.0  # routers are not trained
    weight = router_loss_coefficient(llm.loaded.checkpoint.config)
    if weight and config.strategy != "fsdp":
        return weight
    if weight:
        reason = "strategy='fsdp' does not support it; 'ddp' does"
    else:
        reason = "its family, or router_aux_loss_coef in its config.json, has none"
    report(Notice(f"{config.model} is trained without a load-balancing loss of its experts: {reason}."))
    return 0.0


def _sequence_length(config: TrainConfig, context_length: int) -> int:
    if config.max_seq_length is None:
        return min(context_length, _DEFAULT_LENGTH)
    if config.max_seq_length > context_length:
        raise InvalidArgument(
            "max_seq_length", config.max_seq_length, f"at most {context_length}, the model's context"
        )
    return config.max_seq_length


def _make_data(llm: RunLLM, config: TrainConfig, report: Reporter) -> DataModule:
    from litgpt.data import JSON, Alpaca, Alpaca2k, TextFiles

    style = llm.training_style(config)
    common: dict[str, Any] = {"seed": config.seed, "parse_special_tokens": config.parse_special_tokens}
    sft_options = {"mask_prompt": config.mask_prompt, "prompt_style": style, **common}
    path = local_path("data", config.data)
    data: DataModule
    if config.task == "pretrain":
        train_path, val_path = pretraining_paths(config)
        data = TextFiles(train_path, val_path, **common)
    elif config.data == "alpaca":
        data = Alpaca(**sft_options)
    elif config.data in ("alpaca2k", "alpaca_2k"):
        data = Alpaca2k(**sft_options)
    else:
        split = None if path.is_dir() else config.val_split
        data = JSON(path, val_split_fraction=split, **sft_options)
    data.report_to(report)
    return data


def _precision(hardware: Hardware, config: TrainConfig) -> tuple[str, torch.dtype]:
    """Return the precision of the Trainer and the dtype of the model's weights."""
    kind = hardware.accelerator if config.accelerator in ("auto", "gpu") else config.accelerator
    fast = kind in hardware.bfloat16_accelerators
    default = "32-true" if not fast else "bf16-true" if config.uses_lora else "bf16-mixed"
    precision = config.precision or default
    if precision == "16-mixed" and kind == "cpu":
        raise InvalidArgument("precision", precision, "'bf16-mixed', 'bf16-true' or '32-true' on a CPU")
    if precision == "bf16-true" and config.uses_lora:
        return "32-true", torch.bfloat16  # frozen weights are in bfloat16, adapters in float32
    return precision, torch.bfloat16 if precision == "bf16-true" else torch.float32


def _draw_loss_curve(out: Path, title: str, report: Reporter) -> None:
    try:
        draw_losses(out / "metrics.csv", out / "loss.png", title)
    except NotInstalled as error:
        report(Notice(str(error)))
    except OSError as error:
        report(Notice(f"The losses were not drawn: {error_message(error).lower()}."))


__all__ = ["TrainConfig", "TrainResult", "config_from_settings", "train"]

_RENAMED = {"Recipe": "TrainConfig", "Trained": "TrainResult", "recipe_of": "config_from_settings"}
"""Names of earlier versions, which still work."""


def __getattr__(name: str) -> Any:
    if name in _RENAMED:
        message = f"litgpt.training.{name} is called {_RENAMED[name]} now; the old name will be removed."
        warnings.warn(message, DeprecationWarning, stacklevel=2)
        return globals()[_RENAMED[name]]
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
