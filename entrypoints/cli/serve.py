"""`litgpt serve`: serve a model over HTTP with OpenAI's API."""

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from litgpt.cli import console, options
from litgpt.cli.error_output import UsageError
from litgpt.cli.model_loading import DistributeArguments, load_adapters, load_model

if TYPE_CHECKING:
    from litgpt.server.api.predict import PredictRoute
    from litgpt.server.settings import ServerSettings

_OPENAI_PATHS = (None, "/v1/chat/completions")
"""The paths that LitGPT 0.5 has with `--openai_spec`."""


def _flag(text: str) -> bool:
    """Parse the value of a flag of LitGPT 0.5, as in `--stream true`."""
    if text.lower() not in ("true", "false"):
        message = f"{text!r} is neither true nor false."
        raise typer.BadParameter(message)
    return text.lower() == "true"


def serve(  # noqa: PLR0913 - one per option
    model: options.Model = options.DEFAULT_MODEL,
    *,
    host: Annotated[
        str, typer.Option(help="Address to listen on; 0.0.0.0 for all networks of this machine.")
    ] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="TCP port; 0 selects a free one.")] = 8000,
    api_key_file: Annotated[
        str | None,
        typer.Option(
            help="File of API keys, one a line, of which a request must have one.  "
            "[default: the keys in LITGPT_API_KEYS, else no key is needed]",
            metavar="FILE",
        ),
    ] = None,
    allowed_host: Annotated[
        list[str] | None,
        typer.Option(
            help="Further name under which clients reach this server, as behind a proxy; can be repeated.",
            metavar="NAME",
        ),
    ] = None,
    cors: Annotated[
        list[str] | None,
        typer.Option(
            help="Origin whose web pages may use the server, such as http://localhost:3000, or * for all; "
            "can be repeated.",
            metavar="ORIGIN",
        ),
    ] = None,
    tls_cert: Annotated[
        str | None, typer.Option(help="PEM file of a certificate, for HTTPS.", metavar="FILE")
    ] = None,
    tls_key: Annotated[
        str | None,
        typer.Option(help="PEM file of its private key.  [default: in --tls-cert]", metavar="FILE"),
    ] = None,
    adapter: Annotated[
        list[str] | None,
        typer.Option(
            help="LoRA adapter, which requests for the model MODEL:NAME use; can be repeated.",
            metavar="NAME=PATH",
        ),
    ] = None,
    max_queue: Annotated[
        int, typer.Option(help="Requests that may wait while others run; further ones get the status 429.")
    ] = 128,
    max_answer_tokens: Annotated[
        int | None,
        typer.Option(
            help="Maximum number of tokens of an answer.  [default: up to the context length]",
            show_default=False,
        ),
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="Maximum seconds of a request.  [default: no limit]")
    ] = None,
    grace_period: Annotated[
        float, typer.Option(help="Seconds that running answers have to finish when the server stops.")
    ] = 30,
    log_prompts: Annotated[
        bool, typer.Option("--log-prompts", help="Write prompts to the log, which has none otherwise.")
    ] = False,
    precision: options.Precision = None,
    quantize: options.Quantize = None,
    accelerator: options.Accelerator = "auto",
    devices: options.CopyDevices = None,
    generate_strategy: options.GenerateStrategy = None,
    engine: options.Engine = None,
    kv_cache: options.KVCache = None,
    draft: options.Draft = None,
    revision: options.Revision = None,
    offline: options.Offline = False,
    access_token: options.AccessToken = None,
    quiet: options.Quiet = False,
    openai_spec: Annotated[str | None, typer.Option(parser=_flag, hidden=True)] = None,
    stream: Annotated[str | None, typer.Option(parser=_flag, hidden=True)] = None,
    api_path: Annotated[str | None, typer.Option(hidden=True)] = None,
) -> None:
    """Serve a model over HTTP with OpenAI's API.

    The requests of all clients run in one batch. Try: litgpt serve smollm2, and in another terminal:

    curl http://localhost:8000/v1/chat/completions -H 'Content-Type: application/json' -d '{"messages":
    [{"role": "user", "content": "What do llamas eat?"}]}'
    """
    from litgpt.domain.reference import ModelReference
    from litgpt.server.listening import listen

    predict = _predict_route(is_openai=bool(openai_spec), path=api_path, stream=bool(stream))
    settings = _settings(
        api_key_file,
        host=host,
        port=port,
        allowed_hosts=allowed_host or (),
        cors_origins=cors or (),
        tls_cert=tls_cert,
        tls_key=tls_key,
        max_queue=max_queue,
        max_answer_tokens=max_answer_tokens,
        request_timeout=timeout,
        grace_period=grace_period,
        log_prompts=log_prompts,
    )
    reference = ModelReference(model, revision, offline or None, access_token)
    placement = DistributeArguments(
        accelerator, precision, quantize, devices, generate_strategy, engine, kv_cache
    )
    name, adapters = Path(model).name, _adapters(adapter or ())
    # The port first: a model may take minutes to load.
    if (devices or 1) > 1 and generate_strategy is None:
        from litgpt.cli.replicas.job import replica_job
        from litgpt.cli.replicas.serve import serve_replicas

        with listen(settings) as listener:
            job = replica_job(
                reference,
                placement,
                settings,
                name=name,
                draft=draft,
                quiet=quiet,
                adapters=adapters,
                predict=predict,
            )
            serve_replicas(job, devices or 1, settings, listener)
        return
    with listen(settings) as listener, load_model(reference, placement, draft=draft, quiet=quiet) as llm:
        from litgpt.server.app import create_app
        from litgpt.server.run import run
        from litgpt.server.startup_text import startup_text

        load_adapters(llm, adapters)
        served = llm._served_model(name)  # noqa: SLF001 - as LLM.serve, which loads no model
        app = create_app(served, settings, predict=predict)

        def announce(url: str) -> None:
            if not quiet:
                console.note(startup_text(served, settings, url))

        run(app, settings, engine=app.state.litgpt, listener=listener, on_ready=announce)


def _adapters(values: Iterable[str]) -> dict[str, str]:
    """Parse `NAME=PATH`, for each adapter."""
    adapters: dict[str, str] = {}
    for value in values:
        name, separator, path = value.partition("=")
        if not (name and separator and path) or name in adapters:
            raise UsageError(f"--adapter must be NAME=PATH with a name of its own, not {value}.")
        adapters[name] = path
    return adapters


def _predict_route(*, is_openai: bool, path: str | None, stream: bool) -> "PredictRoute | None":
    """Return LitGPT's own route, with which LitGPT 0.5 serves unless it is asked for OpenAI's API."""
    from litgpt.server.listening import require_packages

    require_packages()
    from litgpt.domain.errors import InvalidArgument
    from litgpt.server.api.predict import PredictRoute

    if path in _OPENAI_PATHS:
        return None if is_openai else PredictRoute(stream=stream)
    if is_openai:
        expected = f"{_OPENAI_PATHS[-1]} or nothing with --openai-spec, as OpenAI's API has its own paths"
        raise UsageError(f"--api-path must be {expected}.")
    try:
        return PredictRoute(path=path, stream=stream)
    except InvalidArgument as error:
        raise UsageError(f"--api-path must be {error.expected}.") from error


def _settings(api_key_file: str | None, **settings: Any) -> "ServerSettings":
    from litgpt.domain.validators import local_path
    from litgpt.server.key_file import keys_of_environment, read_key_file
    from litgpt.server.settings import ServerSettings

    if api_key_file is None:
        return ServerSettings(**settings, api_keys=keys_of_environment())
    keys, warning = read_key_file(local_path("api_key_file", api_key_file))
    if warning is not None:
        console.note(f"WARNING: {warning}")
    return ServerSettings(**settings, api_keys=keys)
