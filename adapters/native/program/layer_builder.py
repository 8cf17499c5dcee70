"""Parts of programs that all layers use: products, norms and updates of the residual stream."""

import attrs

from litgpt.adapters.native.program.instructions import Opcode, ProgramBuilder
from litgpt.domain.model import NormSpec

_NORM_KINDS = {"rms": 0, "layer": 1}


@attrs.frozen
class Update:
    """How an update is added to the residual stream: after its norm `name`, multiplied by `scale`."""

    norm: NormSpec | None
    name: str
    scale: float


@attrs.define
class LayerBuilder:
    """Adds parts to a program.

    Attributes:
        width: The hidden size.
    """

    width: int
    builder: ProgramBuilder

    @property
    def residual(self) -> int:
        return self.builder.buffer("residual", self.width)

    def linear(
        self,
        name: str,
        out: int,
        x: int,
        *,
        bias: bool,
        add: bool = False,
        alpha: float = 1.0,
        reuse: bool = False,
    ) -> None:
        """Add a product; with `reuse`, of the input of the previous product."""
        weight = self.builder.matrix(f"{name}.weight")
        vector = self.builder.optional_vector(f"{name}.bias", exists=bias)
        self.builder.add(Opcode.LINEAR, out, x, weight, vector, int(add), int(reuse), parameters=(alpha,))

    def norm(
        self,
        norm: NormSpec,
        name: str,
        out: int,
        x: int,
        *,
        size: int = 0,
        count: int = 1,
        offset: int = 0,
        per_group: bool = False,
    ) -> None:
        weight = self.builder.optional_vector(f"{name}.weight", exists=norm.weight)
        bias = self.builder.optional_vector(f"{name}.bias", exists=norm.bias)
        self.builder.add(
            Opcode.NORM,
            out,
            x,
            weight,
            bias,
            _NORM_KINDS[norm.kind],
            size or self.width,
            count,
            offset,
            offset,
            int(norm.unit_offset),
            int(per_group),
            parameters=(norm.eps,),
        )

    def normed(self, norm: NormSpec | None, name: str, buffer: str) -> int:
        """Return the buffer with the normalized residual stream, or that stream without a norm."""
        if norm is None:
            return self.residual
        out = self.builder.buffer(buffer, self.width)
        self.norm(norm, name, out, self.residual)
        return out

    def norm_residual(self, norm: NormSpec | None, name: str) -> None:
        """Normalize the residual stream, if there is a norm."""
        if norm is not None:
            self.norm(norm, name, self.residual, self.residual)

    def copy(  # noqa: PLR0913 - the places of the pieces
        self,
        out: int,
        x: int,
        size: int,
        *,
        alpha: float = 1.0,
        x_offset: int = 0,
        out_offset: int = 0,
        count: int = 1,
        x_step: int = 0,
        out_step: int = 0,
    ) -> None:
        """Copy `count` pieces of `size` values, times `alpha`; steps are the distances of pieces."""
        operands = (out, x, size, x_offset, out_offset, count, x_step, out_step)
        self.builder.add(Opcode.COPY, *operands, parameters=(alpha,))

    def project(self, name: str, x: int, out: Update, *, bias: bool) -> None:
        """Add the projection of a buffer to the residual stream."""
        if out.norm is None:
            self.linear(name, self.residual, x, bias=bias, add=True, alpha=out.scale)
            return
        update = self.builder.buffer("update", self.width)
        self.linear(name, update, x, bias=bias)
        self.add_update(update, out)

    def add_update(self, update: int, out: Update) -> None:
        """Add an update to the residual stream."""
        if out.norm is not None:
            self.norm(out.norm, out.name, update, update)
        self.builder.add(Opcode.ADD, self.residual, update, self.width, parameters=(out.scale,))
