"""Start a chat with a server: `litgpt chat --url`."""

from collections.abc import Mapping, Sequence
from typing import Any

from litgpt.cli import console
from litgpt.cli.error_output import UsageError
from litgpt.cli.remote.chat import RemoteChat
from litgpt.cli.remote.client import ServerClient
from litgpt.cli.remote.models import ServedModels
from litgpt.cli.repl.adapter_switch import AdapterSwitch
from litgpt.cli.repl.keyboard import raise_interrupt
from litgpt.cli.repl.opening import Opening
from litgpt.cli.repl.session import Session
from litgpt.domain.chat.messages import Message
from litgpt.domain.errors import InvalidArgument


def require_remote_options(local: Mapping[str, Any]) -> None:
    """Refuse options of models on this machine, which are passed by their names with their values.

    Raises:
        UsageError: One is set.
    """
    for name, value in local.items():
        if value is not None and value is not False:
            option = f"--{name.replace('_', '-')}"
            raise UsageError(
                f"{option} is for a model on this machine, and --url for one of a server: remove either."
            )


def server_session(
    client: ServerClient, model: str | None, settings: dict[str, Any], opening: Opening, *, quiet: bool
) -> Session:
    """Return a chat with a model of a server; None: the first one that it lists.

    Raises:
        ServerUnreachable: The connection failed.
        RequestFailed: The server does not list its models, for instance because it needs an API key.
        ModelNotFound: It does not have the model.
    """
    models = ServedModels.list(client, model)

    def start_chat(messages: Sequence[Message], settings: dict[str, Any]) -> RemoteChat:
        from litgpt.application.generation_options import GenerationOptions

        sampling = {name: value for name, value in settings.items() if name not in _TEMPLATE}
        GenerationOptions(**sampling)  # before the request
        return RemoteChat(client, models, settings, list(messages))

    messages = opening.messages or []
    if prompt := opening.sys_prompt:
        if messages:
            raise InvalidArgument("sys_prompt", prompt, "None with --resume: the conversation has its own")
        messages = [Message("system", prompt)]
    if client.exposes_key and not quiet:
        console.note(f"(The API key is sent to {client.host} without encryption: use https:// if it can.)")
    return Session(
        start_chat,
        start_chat(messages, settings),
        settings,
        AdapterSwitch(models),
        details={"model": models.name, "server": client.url},
        files=opening.files,
        on_interrupt=raise_interrupt,
        quiet=quiet,
    )


_TEMPLATE = ("tools", "chat_template_kwargs")
