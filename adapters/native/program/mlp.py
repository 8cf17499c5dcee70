"""Compile MLPs and mixtures of experts."""

import attrs

from litgpt.adapters.native.program.coverage import ACTIVATIONS, SCORING_FUNCTIONS
from litgpt.adapters.native.program.instructions import Opcode
from litgpt.adapters.native.program.layer_builder import LayerBuilder, Update
from litgpt.domain.model import DenseAndMoESpec, FeedForwardSpec, GatedMLPSpec, MLPSpec, MoESpec
from litgpt.domain.model.mlp import XIELU_PARAMETERS

_EXPERT = ("fc_1", "fc_2", "proj")


@attrs.define
class MLPCompiler:
    """Adds feed-forward layers to a program."""

    parts: LayerBuilder

    def add(self, name: str, spec: FeedForwardSpec, x: int, out: Update) -> None:
        """Add the output of a feed-forward layer for the buffer `x` to the residual stream."""
        if isinstance(spec, MoESpec):
            self.parts.add_update(self._experts(name, spec, x, x), out)
            return
        if isinstance(spec, DenseAndMoESpec):
            self.parts.add_update(self._dense_and_experts(name, spec, x), out)
            return
        hidden = self._hidden(name, spec, x)
        self.parts.project(f"{name}.proj", hidden, out, bias=bool(getattr(spec, "bias", False)))

    def _hidden(self, name: str, spec: FeedForwardSpec, x: int) -> int:
        """Return the buffer with the input of an MLP's output projection."""
        builder = self.parts.builder
        assert isinstance(spec, (MLPSpec, GatedMLPSpec))  # noqa: S101 - checked by unsupported_part
        size = spec.intermediate_size
        gate = builder.buffer("gate", size)
        if isinstance(spec, MLPSpec):
            self.parts.linear(f"{name}.fc", gate, x, bias=spec.bias)
            if spec.activation == "xielu":
                vectors = [builder.vector(f"{name}.activation.{leaf}") for leaf, *_ in XIELU_PARAMETERS]
                builder.add(Opcode.XIELU, gate, size, *vectors)
            else:
                builder.add(Opcode.ACTIVATE, gate, gate, -1, ACTIVATIONS[spec.activation], size, 0, 0)
            return gate
        up = builder.buffer("up", size)
        self.parts.linear(f"{name}.fc_1", gate, x, bias=spec.bias)
        self.parts.linear(f"{name}.fc_2", up, x, bias=spec.bias, reuse=True)
        if spec.activation_sparsity:
            from statistics import NormalDist  # imports fractions and decimal, for few models

            threshold = NormalDist().inv_cdf(spec.activation_sparsity)
            builder.add(Opcode.SPARSIFY, gate, size, parameters=(threshold,))
        if spec.clamp is None:
            builder.add(Opcode.ACTIVATE, gate, gate, up, ACTIVATIONS[spec.activation], size, 0, 0)
        else:
            builder.add(Opcode.SWIGLU, gate, gate, up, size, parameters=attrs.astuple(spec.clamp))
        return gate

    def _dense_and_experts(self, name: str, spec: DenseAndMoESpec, x: int) -> int:
        """Return the buffer with the sum of a dense MLP and experts, each between norms of its own."""
        parts, width = self.parts, self.parts.width
        normed, dense = parts.builder.buffer("mlp input", width), parts.builder.buffer("dense", width)
        parts.norm(spec.norm, f"{name}.norm_dense", normed, x)
        hidden = self._hidden(f"{name}.dense", spec.dense, normed)
        parts.linear(f"{name}.dense.proj", dense, hidden, bias=spec.dense.bias)
        parts.norm(spec.norm, f"{name}.post_norm_dense", dense, dense)
        parts.norm(spec.norm, f"{name}.norm_sparse", normed, x)
        update = self._experts(f"{name}.sparse", spec.moe, normed, x)
        parts.norm(spec.norm, f"{name}.post_norm_sparse", update, update)
        parts.builder.add(Opcode.ADD, update, dense, width, parameters=(1.0,))
        return update

    def _experts(self, name: str, spec: MoESpec, x: int, router_input: int) -> int:
        """Return the buffer with the output of the experts."""
        builder, router, expert = self.parts.builder, spec.router, spec.expert
        assert isinstance(expert, GatedMLPSpec)  # noqa: S101 - checked by unsupported_part
        routes = self._route(f"{name}.gate", spec, router_input)
        names = [f"{name}.experts.{number}.{leaf}" for number in range(spec.num_experts) for leaf in _EXPERT]
        matrices = [builder.matrix(f"{each}.weight") for each in names]
        biases = [builder.vector(f"{each}.bias") for each in names] if expert.bias else [-1]
        update = builder.buffer("update", self.parts.width)
        clamp = expert.clamp
        builder.add(
            Opcode.EXPERTS,
            update,
            x,
            routes,
            matrices[0],
            spec.num_experts,
            spec.num_experts_per_token,
            expert.intermediate_size,
            ACTIVATIONS[expert.activation],
            biases[0],
            int(clamp is not None),
            int(router.weights_before_experts),
            parameters=(0.0, 0.0, 0.0) if clamp is None else attrs.astuple(clamp),
        )
        if spec.shared_expert is not None:
            hidden = self._hidden(f"{name}.shared_experts", spec.shared_expert, x)
            if spec.shared_expert_gate:
                # The projection has no bias, so that its input may be multiplied instead of its output.
                gate = builder.buffer("expert logits", 1)
                self.parts.linear(f"{name}.shared_gate", gate, x, bias=False)
                builder.add(Opcode.GATE, hidden, gate, spec.shared_expert.intermediate_size)
            bias = spec.shared_expert.bias
            out, scale = f"{name}.shared_experts.proj", spec.shared_expert_scale
            self.parts.linear(out, update, hidden, bias=bias, add=True, alpha=scale)
        return update

    def _route(self, name: str, spec: MoESpec, x: int) -> int:
        """Return the buffer with the weights and numbers of each token's experts."""
        builder, router = self.parts.builder, spec.router
        if router.norm is not None:
            normed = builder.buffer("router input", self.parts.width)
            self.parts.norm(router.norm, f"{name}.norm", normed, x)
            self.parts.copy(normed, normed, self.parts.width, alpha=router.logit_factor)
            x = normed
        logits = builder.buffer("expert logits", spec.num_experts)
        self.parts.linear(name, logits, x, bias=router.bias)
        routes = builder.buffer("routes", 2 * spec.num_experts_per_token)
        correction = f"{name}.e_score_correction_bias"
        builder.add(
            Opcode.ROUTE,
            routes,
            logits,
            spec.num_experts,
            spec.num_experts_per_token,
            SCORING_FUNCTIONS[router.scoring_func],
            int(router.norm_topk_prob),
            router.n_group,
            router.topk_group if router.n_group > 1 else 1,
            router.group_score_top_k,
            builder.optional_vector(correction, exists=router.score_correction_bias),
            builder.optional_vector(f"{name}.expert_scale", exists=router.expert_scale),
            parameters=(router.routed_scaling_factor, router.jitter_eps),
        )
        return routes
