"""Gemma 3n, text: AltUp, LAuReL, activation sparsity, cross-layer KV sharing, per-layer embeddings.

Source: Google DeepMind 2025, "Gemma 3n"; see `AlternatingUpdates` for the papers.
"""

from collections.abc import Mapping

import attrs

from litgpt.domain.architecture import AlternatingUpdates, Norm
from litgpt.domain.families.attention import SoftmaxAttention, Windows
from litgpt.domain.families.feedforward import Gated
from litgpt.domain.families.gemma import GEMMA3_TEXT
from litgpt.domain.families.inputs import PER_LAYER, Inputs
from litgpt.domain.families.llama import BIAS, KEYS_AND_VALUES, LLAMA
from litgpt.domain.families.names import layer_rule
from litgpt.domain.families.norms import QkNorms, RmsNorm
from litgpt.domain.families.rotary import Rope
from litgpt.domain.families.settings import LAYER_TABLE, Key, Settings
from litgpt.domain.weights import Rule

_SPARSE_LAYERS = 10
_SPARSITY = 0.95


def _derived(settings: Settings) -> Mapping[str, object]:
    """Return the per-layer settings, which the config holds as lists, and default sizes."""
    layers = settings.integer(Key("num_hidden_layers"))
    default = [_SPARSITY if layers > _SPARSE_LAYERS and at < _SPARSE_LAYERS else 0.0 for at in range(layers)]
    sparsity = _of_layers(settings, Key("activation_sparsity_pattern", default), layers)
    sizes = settings.get(Key("intermediate_size", 16_384))
    if isinstance(sizes, list):
        sizes = _of_layers(settings, Key("intermediate_size"), layers)
    else:
        sizes = [sizes] * layers
    table = settings.mapping(Key(LAYER_TABLE))
    return {
        "num_attention_heads": settings.get(Key("num_attention_heads", 8)),
        "vocab_size": settings.get(Key("vocab_size", 262_400)),
        LAYER_TABLE: {
            str(at): {"intermediate_size": size, "activation_sparsity": share, **table.get(str(at), {})}
            for at, (size, share) in enumerate(zip(sizes, sparsity, strict=True))
        },
    }


def _of_layers(settings: Settings, key: Key, layers: int) -> list[object]:
    value = settings.get(key)
    if not isinstance(value, list) or len(value) != layers:
        settings.refuse_value(key, f"a list with an entry for each of the {layers} layers")
    return value


def _updates(settings: Settings, norm: Norm) -> AlternatingUpdates:
    streams, active = settings.integer(Key("altup_num_inputs", 4)), settings.get(Key("altup_active_idx", 0))
    if active not in range(streams):
        settings.refuse_value(Key("altup_active_idx", 0), f"a stream index from 0 to {streams - 1}")
    return AlternatingUpdates(
        streams=streams,
        active=active,
        scaled=settings.flag(Key("altup_correct_scale", default=True)),
        rank=settings.integer(Key("laurel_rank", 64)),
        norm=norm,
    )


_NORM = RmsNorm()

GEMMA3N_TEXT = attrs.evolve(
    GEMMA3_TEXT,
    model_type="gemma3n_text",
    derived=_derived,
    attention=SoftmaxAttention(
        qkv_bias=BIAS,
        output_bias=BIAS,
        groups=Key("num_key_value_heads", 2),
        head_size=Key("head_dim", 256),
        scale=1.0,
        qk_norm=QkNorms(norm=_NORM),
        value_norm=attrs.evolve(_NORM, weight=False),
        windows=Windows(size=Key("sliding_window", 512), pattern=Key("sliding_window_pattern", 5)),
        rope=Rope(base=Key("rope_theta", 1_000_000.0), local_base=Key("rope_local_base_freq", 10_000.0)),
        borrowing=Key("num_kv_shared_layers", 15),
    ),
    feed_forward=Gated(
        activation=Key("hidden_act", "gelu_pytorch_tanh"), sparsity=Key("activation_sparsity", 0.0)
    ),
    norm=_NORM,
    inputs=Inputs(),
    updates=_updates,
    logit_cap=Key("final_logit_softcapping", 30.0, null=True),
    context=Key("max_position_embeddings", 32_768),
    refused=LLAMA.refused,
    # Files also contain the unused key and value projections of KV-sharing layers, and an unused scale.
    unused=(*LLAMA.unused, *KEYS_AND_VALUES, "*.altup.correct_output_scale"),
    weights=(
        *GEMMA3_TEXT.weights,
        *PER_LAYER,
        Rule("transformer.fork.{}.weight", ("model.altup_projections.{}.weight",)),
        Rule("transformer.merge.{}.weight", ("model.altup_unembed_projections.{}.weight",)),
        layer_rule("altup.prediction.weight", "altup.prediction_coefs.weight"),
        layer_rule("altup.correction.weight", "altup.correction_coefs.weight"),
        layer_rule("altup.router.weight", "altup.modality_router.weight"),
        layer_rule("altup.norm.weight", "altup.router_norm.weight"),
        layer_rule("altup.scale", "altup.correct_output_scale"),
        layer_rule("laurel.left.weight", "laurel.linear_left.weight"),
        layer_rule("laurel.right.weight", "laurel.linear_right.weight"),
        layer_rule("laurel.norm.weight", "laurel.post_laurel_norm.weight"),
    ),
)
