"""Make the checkpoint that every library in the benchmark reads, from the GGUF of SmolLM2-135M-Instruct.

Runs in the environment of transformers: `make_checkpoint.py FILE.gguf FOLDER TEXT NEWS`. The folder gets bf16
safetensors, `config.json`, a tokenizer, and `prompts.json`: prompts of 10 and 512 tokens from the file TEXT;
from NEWS, which has a document per line, prompts of the lengths of `CONTEXTS` and a `batch` of short ones.
It has no chat template, so that every library gets the prompts unchanged.
"""

import json
import sys
from pathlib import Path
from typing import Any

CONTROL = 3
"""How GGUF marks a special token (llama.cpp, `LLAMA_TOKEN_TYPE_CONTROL`)."""

PROMPT_TOKENS = (10, 512)
CONTEXTS = (256, 1024, 2048, 4096, 8000)
BATCH, BATCH_TOKENS = 32, 10

PLACES = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}
"""What Llama's tensors within a layer are called in a GGUF file and by transformers."""


def facts(reader: Any) -> dict[str, Any]:
    """Return the file's key-value pairs."""
    return {name: field.contents() for name, field in reader.fields.items()}


def save_model(reader: Any, folder: Path) -> None:
    """Write the weights in bf16, and `config.json`.

    By hand, since transformers wants accelerate to read a GGUF file, and the environment that is measured
    should hold no more than a user's. transformers checks the names and shapes.
    """
    import torch
    from gguf import dequantize
    from transformers import LlamaConfig, LlamaForCausalLM

    of = facts(reader)
    config = LlamaConfig(
        vocab_size=of["llama.vocab_size"],
        hidden_size=of["llama.embedding_length"],
        intermediate_size=of["llama.feed_forward_length"],
        num_hidden_layers=of["llama.block_count"],
        num_attention_heads=of["llama.attention.head_count"],
        num_key_value_heads=of["llama.attention.head_count_kv"],
        max_position_embeddings=of["llama.context_length"],
        rms_norm_eps=of["llama.attention.layer_norm_rms_epsilon"],
        rope_parameters={"rope_type": "default", "rope_theta": of["llama.rope.freq_base"]},
        bos_token_id=of["tokenizer.ggml.bos_token_id"],
        eos_token_id=of["tokenizer.ggml.eos_token_id"],
        tie_word_embeddings=True,
    )
    heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
    state = {}
    for tensor in reader.tensors:
        values = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy())
        if tensor.name.startswith("blk."):
            _, layer, part, kind = tensor.name.split(".")
            if part in heads:  # llama.cpp keeps the two halves of each head's rotation interleaved
                width = values.shape[-1]
                values = values.view(heads[part], -1, 2, width).transpose(1, 2).reshape(-1, width)
            state[f"model.layers.{layer}.{PLACES[part]}.{kind}"] = values
        else:
            name = {
                "token_embd.weight": "model.embed_tokens.weight",
                "output_norm.weight": "model.norm.weight",
            }
            state[name[tensor.name]] = values
    state["lm_head.weight"] = state["model.embed_tokens.weight"]
    model = LlamaForCausalLM(config)
    model.load_state_dict(state)
    model.to(torch.bfloat16).save_pretrained(folder)


def save_tokenizer(reader: Any, folder: Path) -> Any:
    """Write `tokenizer.json` from the vocabulary in the GGUF file and return it.

    A byte-level BPE that takes digits one by one, which is what the file's `tokenizer.ggml.pre`, `smollm`,
    stands for. Not left to transformers, whose tokenizers made from GGUF files split some texts otherwise.
    """
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    fields = facts(reader)
    tokens = fields["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in fields["tokenizer.ggml.merges"]]
    tokenizer = Tokenizer(models.BPE(vocab={token: at for at, token in enumerate(tokens)}, merges=merges))
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Digits(individual_digits=True), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    tokenizer.decoder = decoders.ByteLevel()
    types = fields["tokenizer.ggml.token_type"]
    special = [token for token, kind in zip(tokens, types, strict=True) if kind == CONTROL]
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "add_bos_token": False,
        "bos_token": tokens[fields["tokenizer.ggml.bos_token_id"]],
        "eos_token": tokens[fields["tokenizer.ggml.eos_token_id"]],
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return tokenizer


def cut(tokenizer: Any, text: str, length: int) -> str:
    """Return the beginning of `text` that is `length` tokens long, encoded anew."""
    prompt = tokenizer.decode(tokenizer.encode(text).ids[:length])
    found = len(tokenizer.encode(prompt).ids)
    if found != length:
        message = f"the prompt of {length} tokens came back as {found}"
        raise SystemExit(message)
    return str(prompt)


def write_prompts(tokenizer: Any, text: str, news: str, file: Path) -> None:
    """Write the prompts; each of `CONTEXTS` begins with the shorter ones."""
    prompts: dict[str, Any] = {str(length): cut(tokenizer, text, length) for length in PROMPT_TOKENS}
    prompts |= {str(length): cut(tokenizer, news, length) for length in CONTEXTS}
    prompts["batch"] = [cut(tokenizer, line, BATCH_TOKENS) for line in news.splitlines()[:BATCH]]
    file.write_text(json.dumps(prompts), encoding="utf-8")


def make(file: Path, folder: Path, text: Path, news: Path) -> None:
    """Write the checkpoint."""
    from gguf import GGUFReader

    folder.mkdir(parents=True, exist_ok=True)
    reader = GGUFReader(file)
    save_model(reader, folder)
    tokenizer = save_tokenizer(reader, folder)
    words = " ".join(text.read_text(encoding="utf-8").split())
    write_prompts(tokenizer, words, news.read_text(encoding="utf-8"), folder / "prompts.json")


if __name__ == "__main__":
    make(*map(Path, sys.argv[1:5]))
