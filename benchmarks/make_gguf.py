"""Write a GGUF file again in other formats, and with random weights: `make_gguf.py FILE.gguf FOLDER`.

Runs in the environment of transformers, which has gguf. As llama.cpp's own quantizer does with a tied
embedding of this width, the embedding of a 4-bit file gets 8 bits.
"""

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import GGUFReader, GGUFValueType, GGUFWriter, LlamaFileType, dequantize, quantize

FORMATS = {
    "Q4_0": LlamaFileType.MOSTLY_Q4_0,
    "Q8_0": LlamaFileType.MOSTLY_Q8_0,
    "BF16": LlamaFileType.MOSTLY_BF16,
    "F32": LlamaFileType.ALL_F32,
}


@dataclass(frozen=True)
class Sizes:
    """The sizes of a model with random weights."""

    layers: int
    width: int = 2048
    hidden: int = 8192
    heads: int = 32
    kv_heads: int = 8
    vocab_size: int | None = None


RANDOM = {
    "random-4": Sizes(4),  # of the 16 layers of Llama 3.2 1B
    "random-16": Sizes(16),
    "random-150k": Sizes(24, 896, 4864, 14, 2, vocab_size=151_936),  # Qwen2.5 0.5B
}
"""The models with random weights, and whose sizes they have; without a vocabulary, it is that of the file."""

UNUSED = 5
"""How GGUF marks a token that has no text (llama.cpp, `LLAMA_TOKEN_TYPE_UNUSED`)."""

WRITTEN_BY_GGUF = ("GGUF.", "general.architecture", "general.file_type", "general.quantization_version")


def copy_fields(reader: Any, writer: Any, replaced: dict[str, Any] | None = None) -> None:
    """Copy the key-value pairs, some with other values."""
    for name, field in reader.fields.items():
        if name.startswith(WRITTEN_BY_GGUF):
            continue
        kind = field.types[0]
        element = field.types[-1] if kind == GGUFValueType.ARRAY else None
        value = (replaced or {}).get(name, field.contents())
        writer.add_key_value(name, value, kind, sub_type=element)


def format_of(name: str, file_format: str) -> Type:
    """Return the type of a tensor in a file."""
    if name.endswith("norm.weight"):
        return Type.F32
    return Type.Q8_0 if name == "token_embd.weight" and file_format == "Q4_0" else Type[file_format]


def new_writer(file: Path, file_format: str) -> Any:
    """Return a writer for a Llama model in a format."""
    writer = GGUFWriter(file, "llama")
    writer.add_file_type(FORMATS[file_format])
    writer.add_quantization_version(2)
    return writer


def save(writer: Any) -> None:
    """Write all that was added."""
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def convert(reader: Any, file: Path, file_format: str) -> None:
    """Write the model in another format."""
    writer = new_writer(file, file_format)
    copy_fields(reader, writer)
    for tensor in reader.tensors:
        values = dequantize(tensor.data, tensor.tensor_type)
        kind = format_of(tensor.name, file_format)
        data = values.astype(np.float32) if kind == Type.F32 else quantize(values, kind)
        writer.add_tensor(tensor.name, data, raw_dtype=kind)
    save(writer)


def shapes(sizes: Sizes, vocab_size: int) -> dict[str, tuple[int, ...]]:
    """Return the tensors of a Llama model with a tied embedding."""
    width, hidden = sizes.width, sizes.hidden
    kv_width = width * sizes.kv_heads // sizes.heads
    widths = {
        "attn_norm": (width,),
        "attn_q": (width, width),
        "attn_k": (kv_width, width),
        "attn_v": (kv_width, width),
        "attn_output": (width, width),
        "ffn_norm": (width,),
        "ffn_gate": (hidden, width),
        "ffn_up": (hidden, width),
        "ffn_down": (width, hidden),
    }
    blocks = {
        f"blk.{at}.{name}.weight": shape for at in range(sizes.layers) for name, shape in widths.items()
    }
    return {"token_embd.weight": (vocab_size, width), **blocks, "output_norm.weight": (width,)}


def with_more_tokens(reader: Any, vocab_size: int) -> dict[str, Any]:
    """Return the fields of a vocabulary that unused tokens fill up."""
    tokens, types = (reader.fields[f"tokenizer.ggml.{name}"].contents() for name in ("tokens", "token_type"))
    unused = range(len(tokens), vocab_size)
    return {
        "llama.vocab_size": vocab_size,
        "tokenizer.ggml.tokens": [*tokens, *(f"<|unused_{at}|>" for at in unused)],
        "tokenizer.ggml.token_type": [*types, *(UNUSED for _ in unused)],
    }


def make_random(reader: Any, file: Path, sizes: Sizes) -> None:
    """Write a model in 4 bits with random weights and the vocabulary of another."""
    replaced: dict[str, Any] = {
        "llama.block_count": sizes.layers,
        "llama.embedding_length": sizes.width,
        "llama.feed_forward_length": sizes.hidden,
        "llama.attention.head_count": sizes.heads,
        "llama.attention.head_count_kv": sizes.kv_heads,
    }
    vocab_size = sizes.vocab_size or reader.fields["llama.vocab_size"].contents()
    if sizes.vocab_size is not None:
        replaced |= with_more_tokens(reader, vocab_size)
    writer, generator = new_writer(file, "Q4_0"), np.random.default_rng(0)
    copy_fields(reader, writer, replaced)
    for name, shape in shapes(sizes, vocab_size).items():
        kind = format_of(name, "Q4_0")
        if kind == Type.F32:
            writer.add_tensor(name, np.ones(shape, dtype=np.float32))
            continue
        rows, columns = shape
        blocks = generator.integers(
            0, 256, (rows, columns // 32, 34 if kind == Type.Q8_0 else 18), dtype=np.uint8
        )
        scale = np.float16(1e-4 if kind == Type.Q8_0 else 2e-3)
        blocks[..., :2] = np.frombuffer(scale.tobytes(), dtype=np.uint8)
        writer.add_tensor(name, blocks.reshape(rows, -1), raw_dtype=kind)
    save(writer)


def main(source: Path, folder: Path) -> None:
    """Write all files."""
    folder.mkdir(parents=True, exist_ok=True)
    reader = GGUFReader(source)
    for file_format in FORMATS:
        convert(reader, folder / f"smollm2-{file_format}.gguf", file_format)
    for name, sizes in RANDOM.items():
        make_random(reader, folder / f"{name}.gguf", sizes)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
