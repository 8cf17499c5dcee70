"""Write a tokenizer down as files, whatever it was read from."""

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING

from litgpt.domain.errors import DamagedFile
from litgpt.domain.vocabulary import TokenizerSource, Vocabulary

if TYPE_CHECKING:
    from litgpt.adapters.text.tokenizers_json import TokenizersCodec


def tokenizer_files_of(source: TokenizerSource, *, name: str) -> Mapping[str, bytes]:
    """Return the files, by name, by which anybody can open the same tokenizer again.

    Args:
        source: Where it is. Files are taken as they are; the vocabulary of a GGUF file is written anew.
        name: What to call the model in an error.

    Raises:
        DamagedFile: Its files cannot be read.

    """
    if isinstance(source, Vocabulary):
        return _of_vocabulary(name, source)
    try:
        return {file: path.read_bytes() for file, path in source.paths.items()}
    except OSError as error:
        raise DamagedFile(f"the tokenizer of {name}", f"it cannot be read ({error.strerror}).") from error


def _of_vocabulary(name: str, vocabulary: Vocabulary) -> dict[str, bytes]:
    from litgpt.adapters.text.gguf_vocabulary import codec_of, facts_of
    from litgpt.adapters.text.sentencepiece_model import SentencePieceCodec
    from litgpt.adapters.text.tokenizers_json import TokenizersCodec

    codec = codec_of(name, vocabulary)
    config: dict[str, object] = {
        **facts_of(vocabulary).named,
        "add_bos_token": vocabulary.add_bos,
        "clean_up_tokenization_spaces": False,
    }
    if vocabulary.chat_template is not None:
        config["chat_template"] = vocabulary.chat_template
    files: dict[str, bytes] = {}
    if isinstance(codec, TokenizersCodec):
        config["tokenizer_class"] = "PreTrainedTokenizerFast"
        files["tokenizer.json"] = _tokenizer_json(codec, vocabulary)
    elif isinstance(codec, SentencePieceCodec):
        config |= {
            "tokenizer_class": "LlamaTokenizer",
            "legacy": False,
            "add_prefix_space": vocabulary.add_space_prefix,
        }
        files["tokenizer.model"] = codec.library.serialized_model_proto()
    return files | {"tokenizer_config.json": json.dumps(config, indent=2, ensure_ascii=False).encode()}


def _tokenizer_json(codec: "TokenizersCodec", vocabulary: Vocabulary) -> bytes:
    from tokenizers import Tokenizer, decoders, processors

    # A copy, for what is needed in a file (how ids become text, what goes before one) is no part of our
    # codec.
    library = Tokenizer.from_str(codec.library.to_str())
    library.decoder = decoders.ByteLevel()
    if vocabulary.add_bos and vocabulary.bos_id is not None:
        begin = vocabulary.tokens[vocabulary.bos_id]
        library.post_processor = processors.TemplateProcessing(
            single=f"{begin} $A", pair=f"{begin} $A {begin} $B", special_tokens=[(begin, vocabulary.bos_id)]
        )
    return library.to_str().encode()
