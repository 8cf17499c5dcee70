"""Size of a layer's cache."""

import attrs


@attrs.frozen(kw_only=True)
class CacheSpec:
    """Cache size of one layer, in elements: KV cache entries per token, and the state of linear attention.

    The states are per sequence; `recurrent_state` is in float32.
    """

    num_kv_heads: int
    k_head_dim: int
    v_head_dim: int
    recurrent_state: int = 0
    conv_state: int = 0

    @property
    def numel_per_token(self) -> int:
        """Elements added by each token."""
        return self.num_kv_heads * (self.k_head_dim + self.v_head_dim)
