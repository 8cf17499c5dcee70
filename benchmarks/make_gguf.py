"""Write a GGUF file again in other formats, and with random weights: `make_gguf.py FILE.gguf FOLDER`.

Runs in the environment of transformers, which has gguf. As llama.cpp's own quantizer does with a tied
embedding of this width, the embedding of a 4-bit file gets 8 bits.
"""

import sys
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

RANDOM_LAYERS = (4, 16)
"""The layers of the models with random weights; 16 as in Llama 3.2 1B, whose widths they all have."""

WIDTH, HIDDEN, HEADS, KV_HEADS = 2048, 8192, 32, 8

WRITTEN_BY_GGUF = ("GGUF.", "general.architecture", "general.file_type", "general.quantization_version")


def copy_fields(reader: Any, writer: Any, replaced: dict[str, int] | None = None) -> None:
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


def shapes(vocab_size: int, layers: int) -> dict[str, tuple[int, ...]]:
    """Return the tensors of a Llama model with a tied embedding."""
    widths = {
        "attn_norm": (WIDTH,),
        "attn_q": (WIDTH, WIDTH),
        "attn_k": (WIDTH * KV_HEADS // HEADS, WIDTH),
        "attn_v": (WIDTH * KV_HEADS // HEADS, WIDTH),
        "attn_output": (WIDTH, WIDTH),
        "ffn_norm": (WIDTH,),
        "ffn_gate": (HIDDEN, WIDTH),
        "ffn_up": (HIDDEN, WIDTH),
        "ffn_down": (WIDTH, HIDDEN),
    }
    blocks = {f"blk.{at}.{name}.weight": shape for at in range(layers) for name, shape in widths.items()}
    return {"token_embd.weight": (vocab_size, WIDTH), **blocks, "output_norm.weight": (WIDTH,)}


def make_random(reader: Any, file: Path, layers: int) -> None:
    """Write a model in 4 bits with random weights and the vocabulary of another."""
    replaced = {
        "llama.block_count": layers,
        "llama.embedding_length": WIDTH,
        "llama.feed_forward_length": HIDDEN,
        "llama.attention.head_count": HEADS,
        "llama.attention.head_count_kv": KV_HEADS,
    }
    writer, generator = new_writer(file, "Q4_0"), np.random.default_rng(0)
    copy_fields(reader, writer, replaced)
    for name, shape in shapes(reader.fields["llama.vocab_size"].contents(), layers).items():
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
    for layers in RANDOM_LAYERS:
        make_random(reader, folder / f"random-{layers}.gguf", layers)


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:3]))
