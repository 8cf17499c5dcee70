"""Every reader of the library, with a valid file for it."""

import base64
import io
import json
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import attrs
import yaml

from tests.adapters import tiny_tokenizers as tiny

CONFIG: dict[str, Any] = {
    "model_type": "llama",
    "vocab_size": 64,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 8,
    "max_position_embeddings": 128,
    "hidden_act": "silu",
    "rms_norm_eps": 1e-5,
    "rope_theta": 10000.0,
    "rope_scaling": {
        "rope_type": "llama3",
        "factor": 8.0,
        "low_freq_factor": 1.0,
        "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64,
    },
    "layer_types": ["full_attention", "full_attention"],
    "tie_word_embeddings": False,
    "attention_bias": False,
    "sliding_window": None,
    "bos_token_id": 1,
    "eos_token_id": [2, 3],
    "quantization_config": None,
}


@attrs.frozen
class Reader:
    """A reader and a valid file for it.

    Attributes:
        file: The file to damage.
        beside: The files beside it.
        use: Reads the file, and uses the result as a caller would.
        tree: The file's value, if it is JSON or YAML; otherwise None.
    """

    file: str
    use: Callable[[Path], object]
    content: bytes | None = None
    tree: Any = None
    beside: Mapping[str, bytes] = attrs.field(factory=dict)

    @property
    def raw(self) -> bytes:
        """The valid file."""
        return written(self.file, self.tree) if self.content is None else self.content


def written(file: str, tree: Any) -> bytes:
    """Return a tree in the file's format."""
    if file.endswith(".yaml"):
        return yaml.safe_dump(tree, allow_unicode=False).encode("utf-8", "surrogatepass")
    if file.endswith(".jsonl"):
        return b"\n".join(
            json.dumps(value).encode() for value in (tree if isinstance(tree, list) else [tree])
        )
    return json.dumps(tree).encode()


def use_tokenizer(path: Path) -> None:
    """Open the tokenizer of a folder, encode, decode, render and export."""
    from litgpt.adapters.tokenization.export import export_tokenizer
    from litgpt.adapters.tokenization.factory import open_tokenizer
    from litgpt.domain.chat.messages import Message
    from litgpt.domain.tokenizer_source import TokenizerFiles

    files = TokenizerFiles({path.name: path for path in path.parent.iterdir() if path.is_file()})
    tokenizer = open_tokenizer(files, name="m", vocab_size=None)
    ids = tokenizer.encode("The quick brown fox né 🦙")
    tokenizer.decode(ids)
    tokenizer.decode(range(min(tokenizer.vocab_size, 50)), include_special_tokens=True)
    assert tokenizer.stop_token_ids is not None
    if tokenizer.has_chat_template:
        tokenizer.render((Message("user", "Hi"),))
    export_tokenizer(files, name="m")


def use_litgpt_yaml(path: Path) -> None:
    from litgpt.adapters.checkpoints.hf.config_files import read_yaml
    from litgpt.adapters.checkpoints.litgpt.config_reader import to_hf_config
    from litgpt.domain.families import parse_config

    parse_config("m", to_hf_config(str(path), read_yaml(path)))


def use_prompt_style(path: Path) -> None:
    from litgpt.adapters.checkpoints.hf.config_files import read_prompt_style

    read_prompt_style(path.parent)


def use_recipe(path: Path) -> None:
    from litgpt.adapters.training.config_file import read_settings
    from litgpt.domain.training.config import config_from_settings

    config_from_settings(read_settings(path))


def use_config(path: Path) -> None:
    """Read `config.json` and resolve the model's architecture."""
    from litgpt.adapters.checkpoints.hf.config_files import read_json
    from litgpt.domain.families import parse_config

    parse_config("m", read_json(path))


def use_adapter(path: Path) -> None:
    from litgpt.adapters.checkpoints.hf.config_files import read_json
    from litgpt.adapters.checkpoints.peft.config import parse_peft_config

    parse_peft_config(read_json(path), location=str(path))


def use_folder(path: Path) -> None:
    """Open a folder and read all of its tensors."""
    from litgpt.adapters.checkpoints.hf.checkpoint import open_hf_folder

    checkpoint = open_hf_folder(path.parent, "m")
    for name in checkpoint.tensors:
        checkpoint.read(name)


def use_litgpt_folder(path: Path) -> None:
    """Open a LitGPT folder and read all of its tensors."""
    from litgpt.adapters.checkpoints.litgpt.checkpoint import open_litgpt_folder

    checkpoint = open_litgpt_folder(path.parent, "m")
    for name in checkpoint.tensors:
        checkpoint.read(name)


def use_ckpt(path: Path) -> None:
    from litgpt.adapters.training.checkpoint_reader import read_checkpoint

    read_checkpoint(path)


def use_sharded(path: Path) -> None:
    from litgpt.adapters.training.checkpoint_reader import check_readable, read_checkpoint

    check_readable(path.parent)
    read_checkpoint(path.parent)


def use_gguf(path: Path) -> None:
    """Open a GGUF file and read all of its tensors, and its tokenizer."""
    from litgpt.adapters.checkpoints.gguf.checkpoint import open_gguf
    from litgpt.adapters.tokenization.factory import open_tokenizer

    checkpoint = open_gguf(path, "m")
    for name in checkpoint.tensors:
        checkpoint.read(name)
    open_tokenizer(checkpoint.read_tokenizer(), name="m").encode("a b")


def use_records(path: Path) -> None:
    from litgpt.adapters.training.data.documents import documents

    for document in documents(path):
        for _ in document.chunks:
            pass


def use_quantized(path: Path) -> None:
    """Open a folder whose weights are quantized, and read all of its tensors."""
    from litgpt.adapters.checkpoints.local_store import LocalStore
    from litgpt.domain.reference import ModelReference

    checkpoint = LocalStore(path.parent).open(ModelReference(str(path.parent)))
    for name in checkpoint.tensors:
        checkpoint.read(name)


def use_quantization(path: Path) -> None:
    """Open a folder with these settings as its `quantization_config`, and read all of its tensors."""
    from litgpt.adapters.checkpoints.hf.config_files import read_json

    settings, config = read_json(path), path.parent / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"quantization_config": settings}))
    use_quantized(path)


def use_tools(path: Path) -> None:
    from litgpt.cli.chat_template_options import template_kwargs

    template_kwargs(str(path), None, apply_chat_template=True)


def use_chat(path: Path) -> None:
    from litgpt.chat import read_chat

    read_chat(path)


def use_metrics(path: Path) -> None:
    from litgpt.adapters.training.metrics import read_metrics

    read_metrics(path)


TOKENIZER_CONFIG = {
    "bos_token": "<|begin|>",
    "eos_token": "<|im_end|>",
    "add_bos_token": True,
    "tokenizer_class": "GPT2Tokenizer",
    "added_tokens_decoder": {
        "0": {"content": "<|begin|>", "special": True, "lstrip": False, "rstrip": False, "normalized": False}
    },
    "chat_template": "{% for m in messages %}<|im_start|>{{ m['role'] }}\n{{ m['content'] }}{% endfor %}",
}


QUANTIZED = ("awq", "gptq", "bitsandbytes", "fp8", "compressed-tensors", "mxfp4")


def _saved(content: Any) -> bytes:
    import torch

    stream = io.BytesIO()
    torch.save(content, stream)
    return stream.getvalue()


def _sharded(folder: Path) -> dict[str, bytes]:
    """Return the files of a checkpoint as Lightning's FSDP writes it."""
    import torch
    from torch.distributed.checkpoint.filesystem import FileSystemWriter
    from torch.distributed.checkpoint.state_dict_saver import save

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        save(
            {"state_dict": {"a.weight": torch.ones(3, 2)}},
            storage_writer=FileSystemWriter(folder),
            no_dist=True,
        )
    torch.save({"epoch": 1, "global_step": 2, "hyper_parameters": {"rate": 0.1}}, folder / "meta.pt")
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def _parquet(folder: Path) -> bytes:
    import pyarrow as pa
    from pyarrow import parquet

    rows = [{"text": f"text {i}", "messages": [{"role": "user", "content": "a"}]} for i in range(20)]
    parquet.write_table(pa.Table.from_pylist(rows), folder / "a.parquet")
    return (folder / "a.parquet").read_bytes()


def _quantized(folder: Path, method: str) -> tuple[Any, dict[str, bytes]]:
    """Return the config of a quantized model, and its files."""
    import torch

    from tests.adapters import test_quantized_mxfp4 as mxfp4
    from tests.adapters.packed_weights import pack_awq, pack_gptq, write_packed
    from tests.adapters.test_quantized_awq_gptq import AWQ, GPTQ
    from tests.adapters.test_quantized_bitsandbytes import BNB, pack_bnb
    from tests.adapters.test_quantized_fp8 import BLOCKS, compressed, pack_fp8

    pack, settings = {
        "awq": (pack_awq(16), AWQ),
        "gptq": (pack_gptq(16), GPTQ),
        "bitsandbytes": (pack_bnb(nested=True), BNB),
        "fp8": (pack_fp8("blocks", "_scale_inv"), BLOCKS),
        "compressed-tensors": (
            pack_fp8("blocks", "_scale"),
            compressed(strategy="block", block_structure=[32, 40]),
        ),
        "mxfp4": (lambda name, weight: ({name: torch.from_numpy(weight)}, weight), mxfp4.MXFP4),
    }[method]
    blocks = mxfp4.packed()[0] if method == "mxfp4" else {}
    write_packed(folder, pack, settings, more=blocks)
    files = {path.name: path.read_bytes() for path in folder.iterdir() if path.is_file()}
    return json.loads(files["config.json"]), files


def readers(home: Path) -> dict[str, Reader]:
    """Return all readers by name.

    Args:
        home: A folder for valid files.
    """
    import torch

    from tests.adapters.gguf_files import llama_tensors, write_gguf
    from tests.adapters.litgpt_writer import litgpt_state, settings_of
    from tests.adapters.tiny_models import tiny_folder

    for name in ("sharded", "parquet"):
        (home / name).mkdir()
    folder = {path.name: path.read_bytes() for path in tiny_folder("llama", sharded=True).iterdir()}
    index = json.loads(folder["model.safetensors.index.json"])
    shard = min(value for value in folder if value.endswith(".safetensors"))
    from safetensors.torch import load

    tensors = {
        name: tensor
        for key, raw in folder.items()
        if key.endswith(".safetensors")
        for name, tensor in load(raw).items()
    }
    state = litgpt_state("llama", tensors)
    settings = settings_of("llama")
    write_gguf(home / "a.gguf", tensors=llama_tensors(size=32, layers=1), settings={"block_count": 1})
    sharded = _sharded(home / "sharded")
    ckpt = _saved({"state_dict": {"a": torch.ones(3)}, "hyper_parameters": {"rate": 0.1}, "epoch": 1})
    bpe = json.loads(tiny.byte_level().to_str())
    vocab, merges = bpe["model"]["vocab"], bpe["model"]["merges"]
    merges_txt = ("#version: 0.2\n" + "".join(f"{left} {right}\n" for left, right in merges)).encode()
    config = json.dumps(TOKENIZER_CONFIG).encode()
    tokens = [bytes([i]) for i in range(256)] + [b"th", b"the", b"qu"]
    ranks = b"".join(base64.b64encode(token) + b" %d\n" % rank for rank, token in enumerate(tokens))
    tekken = {
        "config": {"pattern": r"\w+|\s+", "default_vocab_size": 280, "default_num_special_tokens": 21},
        "vocab": [
            {"rank": rank, "token_bytes": base64.b64encode(token).decode()}
            for rank, token in enumerate(tokens)
        ],
        "special_tokens": [{"rank": i, "token_str": f"<t{i}>"} for i in range(21)],
    }
    words = b"\n".join((b"[PAD]", b"[UNK]", b"[CLS]", b"[SEP]", b"[MASK]", b"the", b"qu", b"##ick", b"a"))
    bert = json.dumps({"tokenizer_class": "BertTokenizer"}).encode()
    lora = {
        "peft_type": "LORA",
        "r": 4,
        "lora_alpha": 8,
        "lora_dropout": 0.0,
        "target_modules": ["q_proj"],
        "rank_pattern": {"q_proj": 2},
        "alpha_pattern": {},
        "bias": "none",
        "use_rslora": False,
        "modules_to_save": None,
        "base_model_name_or_path": "x",
        "init_lora_weights": True,
        "trainable_token_indices": [1, 2],
    }
    chat = {
        "messages": [{"role": "user", "content": "Hi"}, {"role": "assistant", "content": "Hello"}],
        "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
        "chat_template_kwargs": {"a": 1},
    }
    records = [
        {"instruction": "a", "output": "b", "text": "c"},
        {"text": "d", "messages": [{"role": "user"}]},
    ]
    recipe = {
        "model": "m",
        "out_dir": "o",
        "data": "d.json",
        "batch_size": 4,
        "learning_rate": 2e-4,
        "epochs": 1,
    }
    quantized = {family: _quantized(home / family, family) for family in QUANTIZED}
    with_tokenizer = {"tokenizer.json": folder["tokenizer.json"]}
    return {
        "config": Reader("config.json", use_config, tree=CONFIG),
        "weights": Reader(shard, use_folder, folder[shard], beside=folder),
        "index": Reader("model.safetensors.index.json", use_folder, tree=index, beside=folder),
        "config of weights": Reader(
            "config.json", use_folder, tree=json.loads(folder["config.json"]), beside=folder
        ),
        "generation_config": Reader(
            "generation_config.json",
            use_folder,
            tree=json.loads(folder["generation_config.json"]),
            beside=folder,
        ),
        "model_config": Reader("model_config.yaml", use_litgpt_yaml, tree=settings),
        "lit_model": Reader(
            "lit_model.pth",
            use_litgpt_folder,
            _saved(state),
            beside={"model_config.yaml": written("a.yaml", settings)},
        ),
        "prompt_style": Reader(
            "prompt_style.yaml", use_prompt_style, tree={"class_path": "litgpt.prompts.Alpaca"}
        ),
        "recipe": Reader("recipe.yaml", use_recipe, tree=recipe),
        "ckpt": Reader("a.ckpt", use_ckpt, ckpt),
        **{
            f"sharded {name}": Reader(name, use_sharded, raw, beside=sharded) for name, raw in sharded.items()
        },
        "gguf": Reader("a.gguf", use_gguf, (home / "a.gguf").read_bytes()),
        "adapter_config": Reader("adapter_config.json", use_adapter, tree=lora),
        "tokenizer.json": Reader(
            "tokenizer.json", use_tokenizer, tree=bpe, beside={"tokenizer_config.json": config}
        ),
        "pieces": Reader("tokenizer.json", use_tokenizer, tree=json.loads(tiny.pieces().to_str())),
        "tokenizer.model": Reader("tokenizer.model", use_tokenizer, tiny.sentencepiece_bytes()),
        "tokenizer_config": Reader(
            "tokenizer_config.json", use_tokenizer, tree=TOKENIZER_CONFIG, beside=with_tokenizer
        ),
        "vocab.json": Reader(
            "vocab.json",
            use_tokenizer,
            tree=vocab,
            beside={"merges.txt": merges_txt, "tokenizer_config.json": config},
        ),
        "merges.txt": Reader(
            "merges.txt",
            use_tokenizer,
            merges_txt,
            beside={"vocab.json": json.dumps(vocab).encode(), "tokenizer_config.json": config},
        ),
        "vocab.txt": Reader("vocab.txt", use_tokenizer, words, beside={"tokenizer_config.json": bert}),
        "tiktoken": Reader("tokenizer.model", use_tokenizer, ranks),
        "tekken": Reader("tekken.json", use_tokenizer, tree=tekken),
        "chat_template": Reader(
            "chat_template.jinja",
            use_tokenizer,
            str(TOKENIZER_CONFIG["chat_template"]).encode(),
            beside=with_tokenizer | {"tokenizer_config.json": config},
        ),
        "special_tokens_map": Reader(
            "special_tokens_map.json",
            use_tokenizer,
            tree={
                "bos_token": {"content": "<a>", "lstrip": False},
                "eos_token": "<b>",
                "additional": ["<c>"],
            },
            beside=with_tokenizer,
        ),
        "added_tokens": Reader("added_tokens.json", use_tokenizer, tree={"<a>": 258}, beside=with_tokenizer),
        "json": Reader("a.json", use_records, tree=records),
        "jsonl": Reader("a.jsonl", use_records, tree=records),
        "parquet": Reader("a.parquet", use_records, _parquet(home / "parquet")),
        "txt": Reader("a.txt", use_records, "né à Paris\n\nb".encode()),
        "chat": Reader("chat.json", use_chat, tree=chat),
        **{
            f"{name} config": Reader("config.json", use_quantized, tree=tree, beside=files)
            for name, (tree, files) in quantized.items()
        },
        **{
            f"{name} settings": Reader(
                "settings.json", use_quantization, tree=tree["quantization_config"], beside=files
            )
            for name, (tree, files) in quantized.items()
        },
        "tools": Reader("tools.json", use_tools, tree=chat["tools"]),
        "metrics": Reader("metrics.csv", use_metrics, b"step,loss,val_loss\n1,0.5,\n2,0.4,0.6\n"),
    }
