"""`litgpt convert`: convert a model to a Hugging Face folder."""

from pathlib import Path
from typing import Annotated

import typer

from litgpt.cli import console, options
from litgpt.cli.model_loading import StatusLine


def convert(
    model: options.Model,
    out_dir: Annotated[Path, typer.Argument(help="Output directory.", metavar="OUT_DIR")],
    *,
    precision: Annotated[
        str | None,
        typer.Option(
            help="32-true, bf16-true or 16-true.  [default: as stored; bf16-true for quantized models]"
        ),
    ] = None,
    force: options.Force = False,
    revision: options.Revision = None,
    offline: options.Offline = False,
    access_token: options.AccessToken = None,
    quiet: options.Quiet = False,
) -> None:
    """Convert a model, an adapter or a training checkpoint to a Hugging Face folder.

    A LoRA adapter is merged into its base model. Loading never needs a conversion: Hugging Face, GGUF and
    LitGPT files load directly.
    """
    from litgpt.container import container
    from litgpt.domain.reference import ModelReference
    from litgpt.domain.validators import local_path

    reference = ModelReference(model, revision, offline or None, access_token)
    folder = local_path("--out-dir", out_dir)
    with StatusLine(f"Converting {reference.name} …", quiet=quiet) as work:
        if model.endswith(".ckpt"):
            from litgpt.training_run.training_io import save_checkpoint_as_model

            checkpoint = local_path("MODEL", model)
            save_checkpoint_as_model(checkpoint, folder, work.report, overwrite=force)
            console.show(str(out_dir))
            return
        container.convert_model()(reference, folder, work.report, precision=precision, overwrite=force)
    console.show(str(out_dir))
