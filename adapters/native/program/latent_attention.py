"""Compile multi-head latent attention (arXiv:2405.04434). The cache has the keys and values of all heads."""

from litgpt.adapters.native.program.attention import AttentionCompiler
from litgpt.adapters.native.program.instructions import Opcode, ProgramCache
from litgpt.domain.model import MLASpec
from litgpt.domain.model.mixer import CacheSpec


def add_latent_attention(attention: AttentionCompiler, number: int, spec: MLASpec, x: int) -> int:
    """Return the buffer with the output of all heads."""
    parts, builder = attention.parts, attention.parts.builder
    name, heads, rotated = f"transformer.h.{number}.attn", spec.num_heads, spec.rope.rotary_dim
    nope, values, rank, head_dim = spec.qk_nope_head_dim, spec.v_head_dim, spec.kv_lora_rank, spec.head_dim
    queries, cache = heads * head_dim, CacheSpec(num_kv_heads=heads, k_head_dim=head_dim, v_head_dim=values)
    qkv = builder.buffer("qkv", queries + cache.numel_per_token)
    if spec.q_lora_rank is None:
        parts.linear(f"{name}.q_proj", qkv, x, bias=False)
    else:
        latent = builder.buffer("query latent", spec.q_lora_rank)
        parts.linear(f"{name}.q_a_proj", latent, x, bias=spec.bias)
        parts.norm(spec.norm, f"{name}.q_a_norm", latent, latent, size=spec.q_lora_rank)
        parts.linear(f"{name}.q_b_proj", qkv, latent, bias=False)
    attention.rotate(spec.rope, qkv, nope, heads, head_dim)
    if (it := spec.attention_temperature) is not None:
        parameters = (it.scale, float(it.floor_scale), float(it.offset))
        builder.add(Opcode.TEMPERATURE, qkv, 0, queries, parameters=parameters)

    latent = builder.buffer("latent", rank + rotated)
    parts.linear(f"{name}.kv_a_proj_with_mqa", latent, x, bias=spec.bias)
    attention.rotate(spec.rope, latent, rank, 1, rotated)
    parts.norm(spec.norm, f"{name}.kv_a_norm", latent, latent, size=rank)
    expanded = builder.buffer("expanded", heads * (nope + values))
    parts.linear(f"{name}.kv_b_proj", expanded, latent, bias=False)
    first = queries + heads * head_dim  # of the values
    both = nope + values
    parts.copy(qkv, expanded, nope, out_offset=queries, count=heads, x_step=both, out_step=head_dim)
    parts.copy(qkv, latent, rotated, x_offset=rank, out_offset=queries + nope, count=heads, out_step=head_dim)
    parts.copy(
        qkv, expanded, values, x_offset=nope, out_offset=first, count=heads, x_step=both, out_step=values
    )
    builder.caches.append(ProgramCache(cache, 0, chunked=False))
    out = builder.buffer("attended", heads * values)
    operands = (out, qkv, qkv, 0, queries, first, number, 1, heads, -1, -1)
    builder.add(Opcode.ATTEND, *operands, parameters=(spec.scale, 0.0, 0.0))
    return out
