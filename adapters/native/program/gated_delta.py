"""Compile mixers with a state of fixed size: gated delta nets (arXiv:2412.06464) and short convolutions."""

from litgpt.adapters.native.program.coverage import ACTIVATIONS, IDENTITY
from litgpt.adapters.native.program.instructions import Opcode, ProgramCache
from litgpt.adapters.native.program.layer_builder import LayerBuilder
from litgpt.domain.model import CacheSpec, GatedDeltaSpec, ShortConvSpec

_EPS = 1e-6  # of the L2 norm of queries and keys


def add_gated_delta(parts: LayerBuilder, number: int, spec: GatedDeltaSpec, x: int) -> int:
    """Return the buffer with the gated output of all heads."""
    builder, name = parts.builder, f"transformer.h.{number}.attn"
    heads, groups, size = spec.num_heads, spec.num_kv_heads, spec.k_head_dim
    keys, _, values, _ = spec.split_sizes
    qkvz, gates = builder.buffer("qkvz", sum(spec.split_sizes)), builder.buffer("delta gates", 2 * heads)
    parts.linear(f"{name}.qkvz", qkvz, x, bias=False)
    parts.linear(f"{name}.ba", gates, x, bias=False, reuse=True)
    state = _add_state(parts, spec.cache_spec)
    qkv, kernel = builder.buffer("qkv", spec.conv_dim), builder.vector(f"{name}.conv.weight")
    builder.add(Opcode.CAUSAL_CONV, qkv, qkvz, kernel, state, ACTIVATIONS[spec.activation], -1)
    # Queries get length 1 / sqrt(size), the scale of attention; keys get length 1.
    for offset, scale in ((0, 1 / size), (keys, size**-0.5)):
        _l2_normalize(parts, qkv, offset, groups, size, scale)
    out = builder.buffer("attended", values)
    builder.add(
        Opcode.GATED_DELTA,
        out,
        qkv,
        gates,
        0,
        keys,
        2 * keys,
        groups,
        state,
        builder.vector(f"{name}.A_log"),
        builder.vector(f"{name}.dt_bias"),
    )
    parts.norm(spec.norm, f"{name}.norm", out, out, size=spec.v_head_dim, count=heads)
    builder.add(Opcode.ACTIVATE, out, qkvz, out, ACTIVATIONS["silu"], values, spec.conv_dim, 0)
    return out


def add_short_conv(parts: LayerBuilder, number: int, spec: ShortConvSpec, x: int) -> int:
    """Return the buffer with the gated convolution."""
    builder, name, size = parts.builder, f"transformer.h.{number}.attn", spec.channels
    gates, gated = builder.buffer("conv gates", 3 * size), builder.buffer("conv input", size)
    parts.linear(f"{name}.in_proj", gates, x, bias=spec.bias)
    builder.add(Opcode.ACTIVATE, gated, gates, gates, IDENTITY, size, 0, 2 * size)
    state, out = _add_state(parts, spec.cache_spec), builder.buffer("attended", size)
    kernel = builder.vector(f"{name}.conv.weight")
    bias = builder.optional_vector(f"{name}.conv.bias", exists=spec.bias)
    builder.add(Opcode.CAUSAL_CONV, out, gated, kernel, state, IDENTITY, bias)
    builder.add(Opcode.ACTIVATE, out, gates, out, IDENTITY, size, size, 0)
    return out


def _add_state(parts: LayerBuilder, spec: CacheSpec) -> int:
    """Add the state of a layer, which has an empty KV cache, and return its number."""
    builder = parts.builder
    builder.states.append(spec)
    builder.caches.append(ProgramCache(spec, 0, chunked=False))
    return len(builder.states) - 1


def _l2_normalize(
    parts: LayerBuilder, buffer: int, offset: int, groups: int, size: int, weight: float
) -> None:
    """Scale each group to an L2 norm of `weight * sqrt(size)`, with an RMS norm."""
    scale = parts.builder.constant("scale", [weight] * size)
    parts.builder.add(
        Opcode.NORM,
        buffer,
        buffer,
        scale,
        -1,
        0,
        size,
        groups,
        offset,
        offset,
        0,
        0,
        parameters=(_EPS / size,),
    )
