"""Compile softmax attention."""

import attrs

from litgpt.adapters.native.program.instructions import Opcode, ProgramCache
from litgpt.adapters.native.program.layer_builder import LayerBuilder
from litgpt.domain.model import AttentionSpec, RopeSpec

_SIGMOID = 5


@attrs.define
class AttentionCompiler:
    """Adds attention to a program."""

    parts: LayerBuilder

    def add(self, number: int, spec: AttentionSpec, x: int) -> int:
        """Return the buffer with the output of all heads."""
        builder, name = self.parts.builder, f"transformer.h.{number}.attn"
        rows = spec.qkv_sizes
        qkv = builder.buffer("qkv", sum(rows) + (rows[1] if spec.shared_kv_projection else 0))
        self.parts.linear(f"{name}.qkv", qkv, x, bias=spec.qkv_bias)
        values = rows[0] + rows[1]
        if spec.qk_norm is None:
            self._clip(spec, qkv, 0, sum(rows))
        else:  # queries and keys are clipped after their norms
            self._clip(spec, qkv, values, rows[2])
        if spec.shared_kv_projection and rows[1]:  # before the keys are normalized and rotated
            self.parts.copy(qkv, qkv, rows[1], x_offset=rows[0], out_offset=values)
        owns_cache = spec.kv_shared_layer is None
        heads = [("norm_q", 0, spec.num_heads)]
        if owns_cache:
            heads.append(("norm_k", rows[0], spec.num_kv_heads))
        for norm, offset, count in heads:
            self._normalize_and_rotate(spec, f"{name}.{norm}", qkv, offset, count)
        if spec.attention_temperature is not None:
            it = spec.attention_temperature
            parameters = (it.scale, float(it.floor_scale), float(it.offset))
            builder.add(Opcode.TEMPERATURE, qkv, 0, rows[0], parameters=parameters)
        if owns_cache:
            self._normalize_and_scale_values(spec, f"{name}.norm_v", qkv, values)
        cache = number if spec.kv_shared_layer is None else spec.kv_shared_layer
        builder.caches.append(ProgramCache(spec.cache_spec, spec.sliding_window or 0, spec.chunked))
        out = builder.buffer("attended", spec.output_size)
        sinks = builder.optional_vector(f"{name}.sinks", exists=spec.attention_sinks)
        slopes, rounded = -1, 0.0
        if (alibi := spec.alibi) is not None and alibi.in_bfloat16:
            slopes, rounded = builder.constant("slopes", alibi.slopes), alibi.scale
        elif alibi is not None:
            slopes = builder.constant("slopes", [slope * alibi.scale for slope in alibi.slopes])
        builder.add(
            Opcode.ATTEND,
            out,
            qkv,
            qkv,
            0,
            rows[0],
            values,
            cache,
            int(owns_cache),
            spec.num_heads,
            sinks,
            slopes,
            parameters=(spec.scale, spec.attn_logit_softcap or 0.0, rounded),
        )
        if spec.output_gate:
            gate = builder.buffer("gate", spec.output_size)
            self.parts.linear(f"{name}.gate", gate, x, bias=spec.qkv_bias, reuse=True)
            builder.add(Opcode.ACTIVATE, out, gate, out, _SIGMOID, spec.output_size, 0, 0)
        return out

    def _normalize_and_rotate(
        self, spec: AttentionSpec, norm: str, buffer: int, offset: int, heads: int
    ) -> None:
        qk_norm = spec.qk_norm
        if qk_norm is None or qk_norm.after_rope:
            self.rotate(spec.rope, buffer, offset, heads, spec.head_dim)
        if qk_norm is not None:
            whole = qk_norm.scope == "all"
            self.parts.norm(
                qk_norm.norm,
                norm,
                buffer,
                buffer,
                size=heads * spec.head_dim if whole else spec.head_dim,
                count=1 if whole else heads,
                offset=offset,
                per_group=qk_norm.scope == "heads",
            )
            self._clip(spec, buffer, offset, heads * spec.head_dim)
            if not qk_norm.after_rope:
                self.rotate(spec.rope, buffer, offset, heads, spec.head_dim)

    def _normalize_and_scale_values(self, spec: AttentionSpec, norm: str, buffer: int, offset: int) -> None:
        size, count, factor = spec.value_dim, spec.num_kv_heads, spec.value_scale
        if spec.value_norm is not None:
            self.parts.norm(spec.value_norm, norm, buffer, buffer, size=size, count=count, offset=offset)
        if factor != 1:
            at = {"x_offset": offset, "out_offset": offset}
            self.parts.copy(buffer, buffer, count * size, alpha=factor, **at)

    def _clip(self, spec: AttentionSpec, buffer: int, offset: int, size: int) -> None:
        if spec.clip_qkv is not None and size:
            limits = (-spec.clip_qkv, spec.clip_qkv)
            self.parts.builder.add(Opcode.CLAMP, buffer, offset, size, parameters=limits)

    def rotate(self, rope: RopeSpec | None, buffer: int, offset: int, heads: int, step: int) -> None:
        """Rotate the first dimensions from `offset` on, and of further heads at distances of `step`."""
        if rope is None:
            return
        table = self.parts.builder.rope_table(rope)
        self.parts.builder.add(Opcode.ROPE, buffer, offset, heads, step, table, int(rope.interleaved))
