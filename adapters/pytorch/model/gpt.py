"""The decoder-only transformer of all families, built from an `Architecture`.

Shapes: B batch, T tokens of this call, V vocabulary size, D hidden size.
"""

from collections.abc import Sequence
from typing import TypeAlias

import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from litgpt.adapters.pytorch.model.altup import AltUpBlock, StreamProjection, StreamUnembedding
from litgpt.adapters.pytorch.model.attention.alibi import add_alibi_bias
from litgpt.adapters.pytorch.model.attention.attention_mask import AttentionMask, build_mask
from litgpt.adapters.pytorch.model.attention.kv_sharing import KVSharing, sharing_layers
from litgpt.adapters.pytorch.model.block import Block, ShortcutBlock
from litgpt.adapters.pytorch.model.cache.kv_cache import KVCache
from litgpt.adapters.pytorch.model.causal_lm import CausalLM
from litgpt.adapters.pytorch.model.loss import Reduction, linear_cross_entropy, shift_labels
from litgpt.adapters.pytorch.model.norm import build_norm
from litgpt.adapters.pytorch.model.per_layer_embedding import PerLayerEmbedding
from litgpt.adapters.pytorch.model.rope import (
    InverseFrequencyCache,
    PositionInfo,
    RopeTable,
    build_position_embedding,
    query_temperature,
    rope_table,
)
from litgpt.adapters.pytorch.ops.linear import Embedding, Linear
from litgpt.domain.model import AlibiSpec, Architecture, AttentionTemperature, LayerSpec, RopeSpec

MaskKey: TypeAlias = tuple[int | None, bool, AlibiSpec | None, torch.device]
"""Layers with equal keys share an attention mask: sliding window, chunked attention, ALiBi, device."""


class GPT(CausalLM):
    """A decoder-only transformer with LitGPT's parameter names. The weights are uninitialized.

    Attributes:
        head_device: The device of the final norm and the head; None if the model is on a single device.
    """

    def __init__(
        self,
        architecture: Architecture,
        *,
        layer_devices: Sequence[torch.device] | None = None,
        head_device: torch.device | None = None,
    ) -> None:
        super().__init__(architecture)
        self.layer_devices, self.head_device = layer_devices, head_device
        width, vocab, streams = architecture.hidden_size, architecture.vocab_size, architecture.num_streams
        self.lm_head = Linear(width, vocab, bias=architecture.lm_head_bias)
        self.transformer = nn.ModuleDict(
            {
                "wte": Embedding(vocab, width),
                "fork": nn.Identity() if streams == 1 else StreamProjection(width, streams),
                "h": nn.ModuleList(_make_block(width, layer) for layer in architecture.layers),
                "merge": nn.Identity() if streams == 1 else StreamUnembedding(width, streams),
                "ln_f": build_norm(width, architecture.final_norm),
            }
        )
        if architecture.embedding_norm is not None:
            self.transformer["wte_norm"] = build_norm(width, architecture.embedding_norm)
        if (position_embedding := build_position_embedding(architecture)) is not None:
            self.transformer["wpe"] = position_embedding
        if (per_layer := architecture.per_layer_embedding) is not None:
            self.transformer["per_layer"] = PerLayerEmbedding(width, len(architecture.layers), per_layer)
        self._sharing_layers = sharing_layers(architecture)
        self.tie_weights()
        self._frequencies = InverseFrequencyCache()

    def empty_cache(
        self,
        *,
        max_length: int,
        row_offsets: Sequence[int] = (0,),
        lengths: Sequence[int] | None = None,
        fixed: bool = False,
    ) -> KVCache:
        """Return an empty cache with the dtype and devices of this model; see `KVCache.empty`."""
        return KVCache.empty(
            self.architecture,
            max_length=max_length,
            device=self.layer_devices or self.input_device,
            dtype=self.lm_head.weight.dtype,
            row_offsets=row_offsets,
            lengths=lengths,
            fixed=fixed,
        )

    def tie_weights(self) -> None:
        if self.architecture.tie_word_embeddings:
            embedding = self.transformer["wte"]
            assert isinstance(embedding, Embedding)  # noqa: S101 - ModuleDict is not typed
            self.lm_head.weight = embedding.weight

    def forward(
        self,
        input_ids: Tensor,
        cache: KVCache | None = None,
        *,
        positions: Tensor | None = None,
        last_token_only: bool = False,
    ) -> Tensor:
        """Return the logits (B, T, V), or (B, 1, V) if `last_token_only`, in the model's dtype.

        Args:
            input_ids: (B, T).
            cache: KV cache of the preceding tokens, to which this call appends; its first B rows are used.
            positions: (B, T); None: positions count from the start of each row.
            last_token_only: Compute the logits of the last token only.
        """
        x = self.hidden_states(input_ids, cache, positions=positions, last_token_only=last_token_only)
        return self.logits(x)

    def loss(self, input_ids: Tensor, target_ids: Tensor, reduction: Reduction = "mean") -> Tensor:
        """Return the next-token cross-entropy without materializing all logits.

        Args:
            input_ids: (B, T).
            target_ids: (B, T), unshifted; -100 is ignored.
            reduction: `mean` or `sum` over the targets.

        Raises:
            InvalidArgument: `reduction` is `mean` and all targets are ignored.
        """
        x, targets = self.hidden_states(input_ids).flatten(0, 1), shift_labels(target_ids).flatten()
        scale, cap = self.architecture.logit_scale, self.architecture.final_logit_softcap
        return linear_cross_entropy(x, self.lm_head, targets, scale=scale, softcap=cap, reduction=reduction)

    def hidden_states(
        self,
        input_ids: Tensor,
        cache: KVCache | None = None,
        *,
        positions: Tensor | None = None,
        last_token_only: bool = False,
    ) -> Tensor:
        """Return the input of the head, (B, T, D); the arguments are as in `forward`."""
        batch, tokens = input_ids.shape
        starts: Sequence[int] = (0,)
        lengths: Sequence[int] = (tokens,)
        slot = 0
        if cache is not None:
            cache.reserve(tokens)
            starts, slot, lengths = cache.row_offsets[:batch], cache.length, cache.lengths[:batch]
        if positions is None:
            positions = _positions(slot, tokens, starts, input_ids.device)
        x = self._embed(input_ids, positions)
        per_layer = None
        if self.architecture.per_layer_embedding is not None:
            per_layer = self.transformer["per_layer"](input_ids, x)
        x = self.transformer["fork"](x)
        kv_sharing = KVSharing(self._sharing_layers)
        infos: dict[tuple[RopeSpec | None, AttentionTemperature | None, torch.device], PositionInfo] = {}
        masks: dict[MaskKey, AttentionMask] = {}
        blocks, device = self.transformer["h"].children(), x.device
        recompute = self.gradient_checkpointing and torch.is_grad_enabled()
        for index, (block, layer) in enumerate(zip(blocks, self.architecture.layers, strict=True)):
            if self.layer_devices is not None:
                device = self.layer_devices[index]
                x, positions = x.to(device), positions.to(device)
            mixer = layer.mixer
            info_key = (mixer.rope, mixer.attention_temperature, device)
            mask_key = (mixer.sliding_window, mixer.chunked, mixer.alibi, device)
            layer_cache = cache.layers[index] if cache is not None else None
            if info_key not in infos:
                table = self._rope_table(mixer.rope, positions, lengths, x.dtype, device)
                temperature = query_temperature(mixer.attention_temperature, positions, x.dtype)
                infos[info_key] = PositionInfo(table, temperature)
            if mask_key not in masks:
                masks[mask_key] = _build_mask(mask_key, slot=slot, tokens=tokens, starts=starts)
            state = kv_sharing.layer_state(index, mixer, layer_cache)
            embedding = None if per_layer is None else per_layer[:, :, index].to(x.device)
            inputs = (x, infos[info_key], masks[mask_key], state, slot, embedding)
            x = checkpoint(block, *inputs, use_reentrant=False) if recompute else block(*inputs)
        if cache is not None:
            cache.length += tokens
        x = x[:, -1:] if last_token_only else x
        if self.head_device is not None:
            x = x.to(self.head_device)
        hidden: Tensor = self.transformer["ln_f"](self.transformer["merge"](x))
        return hidden

    def _embed(self, input_ids: Tensor, positions: Tensor) -> Tensor:
        architecture = self.architecture
        x: Tensor = self.transformer["wte"](input_ids)
        if architecture.embedding_scale is not None:
            # The factor is rounded to the model's dtype, as it was in training.
            x = x * torch.tensor(architecture.embedding_scale, dtype=x.dtype)
        if architecture.embedding_norm is not None:
            x = self.transformer["wte_norm"](x)
        if "wpe" in self.transformer:
            x = x + self.transformer["wpe"](positions + architecture.position_offset).to(x.dtype)
        return x

    def logits(self, hidden: Tensor) -> Tensor:
        """Return the logits (…, V) of hidden states (…, D)."""
        logits: Tensor = self.lm_head(hidden)
        scale, cap = self.architecture.logit_scale, self.architecture.final_logit_softcap
        if scale is not None:
            logits = logits * scale
        if cap is not None:
            logits = (logits / cap).tanh() * cap
        return logits

    def _rope_table(
        self,
        rope: RopeSpec | None,
        positions: Tensor,
        lengths: Sequence[int],
        dtype: torch.dtype,
        device: torch.device,
    ) -> RopeTable | None:
        if rope is None:
            return None
        specs = [rope.for_length(length) for length in lengths]
        if all(spec == specs[0] for spec in specs):
            return rope_table(specs[0], self._frequencies(specs[0], device), positions, dtype)
        tables = [
            rope_table(spec, self._frequencies(spec, device), row[None], dtype)
            for spec, row in zip(specs, positions.expand(len(specs), -1), strict=True)
        ]
        cos, sin = torch.cat([table.cos for table in tables]), torch.cat([table.sin for table in tables])
        return RopeTable(cos, sin, rope.interleaved)


def _make_block(hidden_size: int, layer: LayerSpec) -> Block:
    if layer.altup is not None:
        return AltUpBlock(hidden_size, layer, layer.altup)
    return (ShortcutBlock if layer.has_shortcut else Block)(hidden_size, layer)


def _positions(slot: int, tokens: int, row_offsets: Sequence[int], device: torch.device) -> Tensor:
    """Return the positions (B or 1, T) of the slots from `slot` on, relative to the start of each row."""
    positions = torch.arange(slot, slot + tokens, device=device)[None]
    if any(row_offsets):
        positions = (positions - torch.tensor(row_offsets, device=device)[:, None]).clamp(min=0)
    return positions


def _build_mask(key: MaskKey, *, slot: int, tokens: int, starts: Sequence[int]) -> AttentionMask:
    window, chunked, alibi, device = key
    mask = build_mask(
        slot=slot, tokens=tokens, sliding_window=window, chunked=chunked, row_offsets=starts, device=device
    )
    if alibi is None:
        return mask
    return add_alibi_bias(mask, alibi, end=slot + tokens, row_offsets=starts, device=device)
