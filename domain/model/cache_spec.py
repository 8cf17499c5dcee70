"""Size of a layer's cache."""

import attrs


@attrs.frozen(kw_only=True)
class CacheSpec:
    """Cache size of one layer, in elements: KV cache entries per token, and the state of linear attention.

    Attributes:
        num_kv_heads: Number of key-value heads.
        k_head_dim: Key dimension.
        v_head_dim: Value dimension.
        recurrent_state: Elements of the recurrent state, in float32, per sequence.
        conv_state: Elements of the convolution state, per sequence.

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
