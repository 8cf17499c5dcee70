"""nanochat: norms without weights, also of embeddings, queries and keys; squared ReLU; capped logits.

Source: Karpathy 2025, "nanochat".
"""

import attrs

from litgpt.domain.families.llama import ATTENTION_WEIGHTS, BIASED_ATTENTION, EMBEDDING_WEIGHTS, LLAMA
from litgpt.domain.families.schema.hf_config import ConfigField
from litgpt.domain.families.schema.mlp import MLPSchema
from litgpt.domain.families.schema.norm import QkNormSchema, RMSNormSchema
from litgpt.domain.families.schema.rope import RopeSchema
from litgpt.domain.families.schema.weight_rules import linear_tensors

_NORM = RMSNormSchema(weight=False)

NANOCHAT = attrs.evolve(
    LLAMA,
    model_type="nanochat",
    attention=attrs.evolve(
        BIASED_ATTENTION,
        qk_norm=QkNormSchema(norm=_NORM, after_rope=True),
        rope=RopeSchema(clockwise=True),
    ),
    mlp=MLPSchema(activation=ConfigField("hidden_act", "relu2"), bias=False),
    norm=_NORM,
    embedding_norm=True,
    final_logit_softcap=ConfigField("final_logit_softcapping", 15.0, nullable=True),
    weights=(
        *EMBEDDING_WEIGHTS,
        *ATTENTION_WEIGHTS,
        *linear_tensors("mlp.fc", "mlp.fc1"),
        *linear_tensors("mlp.proj", "mlp.fc2"),
    ),
)
