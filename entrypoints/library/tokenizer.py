"""`litgpt.Tokenizer`: LitGPT's tokenizer interface, with torch tensors."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias

from litgpt.domain import ports
from litgpt.domain.chat.styles.prompt_style import PromptStyle
from litgpt.domain.errors import InvalidArgument, ModelNotFound, WrongType
from litgpt.domain.formatting.bounded_text import summary_repr
from litgpt.domain.tokenizer_source import TokenizerSource
from litgpt.domain.validation.call_signatures import public_function

if TYPE_CHECKING:
    import torch
    from torch import Tensor

TokenIds: TypeAlias = "Tensor | Sequence[int] | int"
"""Token ids: a tensor of any shape, a list, or a single id."""


class Tokenizer:
    """Encodes text as tensors of token ids, and decodes them.

    Args:
        checkpoint: A model as in `LLM.load`, a folder of tokenizer files, or an implementation of the
            tokenizer port.

    Attributes:
        port: The implementation of the tokenizer port.
        prompt_style: The prompt style of its model, in which data modules format examples; None: the chat
            template, or the default of the data module.
    """

    @public_function()
    def __init__(self, checkpoint: "str | Path | ports.Tokenizer") -> None:
        self.port = _open(checkpoint) if isinstance(checkpoint, (str, Path)) else checkpoint
        self.prompt_style: PromptStyle | None = None

    def __repr__(self) -> str:
        style = {} if self.prompt_style is None else {"prompt_style": self.prompt_style.name}
        return summary_repr(
            "Tokenizer", vocab_size=self.vocab_size, bos_id=self.bos_id, eos_id=self.eos_id, **style
        )

    @property
    def vocab_size(self) -> int:
        """The largest id plus one."""
        return self.port.vocab_size

    @property
    def bos_id(self) -> int | None:
        return self.port.bos_id

    @property
    def eos_id(self) -> int | None:
        return self.port.eos_id

    @property
    def use_bos(self) -> bool:
        """Whether `encode` prepends `bos_id` by default."""
        return self.port.adds_bos

    def token_to_id(self, token: str) -> int:
        """Return the id of a token such as `<|im_end|>`; raise ValueError if it is not in the vocabulary."""
        if not isinstance(token, str):
            raise WrongType("token", token, "a string such as '<|im_end|>'")
        token_id = self.port.token_to_id(token)
        if token_id is None:
            raise ValueError(f"token {token!r} not found in the vocabulary.")
        return token_id

    def encode(
        self,
        string: str,
        device: "torch.device | str | None" = None,
        bos: bool | None = None,  # noqa: FBT001 - LitGPT's signature
        eos: bool = False,  # noqa: FBT001, FBT002
        max_length: int = -1,
        *,
        parse_special_tokens: bool = True,
    ) -> "Tensor":
        """Return the token ids of a text, (T,), truncated to `max_length` unless that is -1.

        Special tokens such as `<|im_end|>` become control tokens, as in transformers. Pass
        `parse_special_tokens=False` for untrusted text, to encode them as plain text.
        """
        import torch  # not needed to generate text

        if parse_special_tokens:
            ids = self.port.encode(string, bos=bos)
        else:
            ids = self.port.encode(self.port.escape(string), bos=bos, escaped=True)
        if eos:
            if self.eos_id is None:
                raise ValueError("This tokenizer has no end-of-text token; call encode with eos=False.")
            ids.append(self.eos_id)
        return torch.tensor(ids if max_length < 0 else ids[:max_length], dtype=torch.long, device=device)

    def decode(self, tensor: TokenIds) -> str:
        """Return the text of token ids, without special tokens.

        Raises:
            WrongType: The input is not token ids.
            InvalidArgument: An id is outside the vocabulary.
        """
        return self.port.decode(_integers("tensor", tensor))

    def decode_stream(
        self,
        token_stream: Iterable[TokenIds],
        device: "torch.device | str | None" = None,  # noqa: ARG002
    ) -> Iterator[str]:
        """Yield the text of a stream of token ids in complete characters; raises the errors of `decode`."""
        decoder = self.port.decoder()
        for ids in token_stream:
            for token in _integers("token_stream", ids):
                if piece := decoder.push(token):
                    yield piece
        if rest := decoder.finish():
            yield rest


def _integers(name: str, ids: Any) -> list[int]:
    import torch

    expected = "token ids, as a tensor or a list of integers"
    try:
        tensor = torch.as_tensor(ids)
    except (TypeError, ValueError, RuntimeError) as error:
        raise WrongType(name, ids, expected) from error
    if tensor.numel() and (tensor.is_floating_point() or tensor.is_complex() or tensor.dtype == torch.bool):
        raise WrongType(name, ids, expected)
    return list(map(int, tensor.reshape(-1).tolist()))


def _open(checkpoint: str | Path) -> ports.Tokenizer:
    from litgpt.container import container
    from litgpt.domain.reference import ModelReference

    name = checkpoint.as_posix() if isinstance(checkpoint, Path) else checkpoint
    source = container.find_tokenizer()(ModelReference(name))
    return container.open_tokenizer()(source, name=name, vocab_size=None)


def find_tokenizer_source(name: str | Path, *, offline: bool | None, token: str | None) -> TokenizerSource:
    """Return the tokenizer source of a model, named as in `LLM.load`, or of a folder of tokenizer files."""
    from litgpt.container import container
    from litgpt.domain.reference import ModelReference

    try:
        text = name.as_posix() if isinstance(name, Path) else name
        return container.find_tokenizer()(ModelReference(text, None, offline, token))
    except InvalidArgument as error:
        error.name = "tokenizer_dir"
        raise
    except ModelNotFound as error:
        error.hint = f"{error.hint} It was asked for as tokenizer_dir.".strip()
        raise
