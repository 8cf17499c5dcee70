"""Compile layers that update several residual streams (AltUp and LAuReL, arXiv:2301.13310)."""

import attrs

from litgpt.adapters.native.program.instructions import Opcode
from litgpt.adapters.native.program.layer import LayerCompiler
from litgpt.adapters.native.program.per_layer import per_layer_update
from litgpt.domain.model import AltUpSpec, LayerSpec

_MIN_MEAN_SQUARE = 1e-5


@attrs.define
class AltUpCompiler:
    """Adds what a model with several residual streams has; does nothing for one stream.

    The streams are in one of two buffers, one after another. The residual stream of a layer's other parts is
    a copy of the active one.
    """

    layers: LayerCompiler
    num_streams: int
    _is_second: bool = False

    def fork(self) -> None:
        """Make the other streams of the embedding: projections, rescaled to its RMS."""
        parts, streams = self.layers.parts, self._streams()
        for number in range(self.num_streams if self.num_streams > 1 else 0):
            source = parts.residual
            if number > 0:
                source = parts.builder.buffer("update", parts.width)
                parts.linear(f"transformer.fork.{number - 1}", source, parts.residual, bias=False)
                self._match_rms(source, parts.residual)
            parts.copy(streams, source, parts.width, out_offset=number * parts.width)

    def merge(self) -> None:
        """Set the residual stream to the mean of the first stream and projections with its RMS."""
        parts, streams, width = self.layers.parts, self._streams(), self.layers.parts.width
        for number in range(self.num_streams if self.num_streams > 1 else 0):
            if number == 0:
                parts.copy(parts.residual, streams, width)
                continue
            stream, update = parts.builder.buffer("normed", width), parts.builder.buffer("update", width)
            parts.copy(stream, streams, width, x_offset=number * width)
            parts.linear(f"transformer.merge.{number - 1}", update, stream, bias=False)
            self._match_rms(update, streams)
            parts.builder.add(Opcode.ADD, parts.residual, update, width, parameters=(1.0,))
        if self.num_streams > 1:
            parts.copy(parts.residual, parts.residual, width, alpha=1 / self.num_streams)

    def add(self, number: int, layer: LayerSpec, spec: AltUpSpec) -> None:
        """Add a layer: predict all streams, compute it on the active one, and correct all with its result."""
        parts, builder, name = self.layers.parts, self.layers.parts.builder, f"transformer.h.{number}"
        residual, width, active = parts.residual, parts.width, spec.active_stream * parts.width
        before = self._streams()
        self._is_second = not self._is_second
        streams = self._streams()
        parts.copy(residual, before, width, x_offset=active)
        coefficients = self._route(f"{name}.altup", spec, "prediction")
        builder.add(Opcode.MIX, streams, before, coefficients, self.num_streams, width)
        parts.copy(residual, streams, width, x_offset=active)

        normed = parts.normed(layer.norm_1, f"{name}.norm_1", "normed")
        self.layers.add_mixer(number, layer, normed)
        self._add_laurel(f"{name}.laurel", spec, normed)
        parts.copy(residual, residual, width, alpha=2**-0.5)
        self.layers.add_mlp(number, layer, parts.normed(layer.norm_2, f"{name}.norm_2", "normed"))

        coefficients = self._route(f"{name}.altup", spec, "correction")
        builder.add(Opcode.ADD, residual, streams, width, active, 0, parameters=(-1.0,))
        builder.add(
            Opcode.SPREAD, streams, residual, coefficients, self.num_streams, width, parameters=(1.0,)
        )
        if layer.per_layer_input is None:
            return
        parts.copy(residual, streams, width, x_offset=active)
        if spec.correct_scale:
            builder.add(Opcode.SCALE, residual, width, builder.vector(f"{name}.altup.scale"), 1)
        update = per_layer_update(parts, f"{name}.input", layer.per_layer_input, number)
        for stream in range(1, self.num_streams):
            builder.add(Opcode.ADD, streams, update, width, 0, stream * width, parameters=(1.0,))

    def _streams(self) -> int:
        if self.num_streams == 1:
            return self.layers.parts.residual
        name = "streams 2" if self._is_second else "streams 1"
        return self.layers.parts.builder.buffer(name, self.num_streams * self.layers.parts.width)

    def _route(self, name: str, spec: AltUpSpec, kind: str) -> int:
        """Return the buffer with the coefficients of the streams that the residual stream determines."""
        parts, builder = self.layers.parts, self.layers.parts.builder
        normed = builder.buffer("normed", parts.width)
        routes = builder.buffer("stream routes", self.num_streams)
        coefficients = builder.buffer("stream coefficients", self.num_streams**2)
        parts.norm(spec.norm, f"{name}.norm", normed, parts.residual)
        parts.copy(normed, normed, parts.width, alpha=1 / parts.width)
        parts.linear(f"{name}.router", routes, normed, bias=False)
        builder.add(Opcode.TANH, routes, self.num_streams)
        parts.linear(f"{name}.{kind}", coefficients, routes, bias=False)
        return coefficients

    def _add_laurel(self, name: str, spec: AltUpSpec, x: int) -> None:
        """Add `x`, and a low-rank projection of it, to the residual stream."""
        parts, builder = self.layers.parts, self.layers.parts.builder
        low_rank, update = builder.buffer("laurel", spec.laurel_rank), builder.buffer("update", parts.width)
        parts.linear(f"{name}.left", low_rank, x, bias=False)
        parts.linear(f"{name}.right", update, low_rank, bias=False)
        parts.norm(spec.norm, f"{name}.norm", update, update)
        for source in (x, update):
            builder.add(Opcode.ADD, parts.residual, source, parts.width, parameters=(1.0,))

    def _match_rms(self, buffer: int, other: int) -> None:
        parts = self.layers.parts
        parts.builder.add(Opcode.MATCH_RMS, buffer, other, parts.width, parameters=(_MIN_MEAN_SQUARE,))
