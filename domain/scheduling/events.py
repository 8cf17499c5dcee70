"""What the steps of an engine return."""

from collections.abc import Sequence

import attrs

from litgpt.domain.generation.request import TokenEvent


@attrs.frozen
class FailedRequest:
    """A request that ended with an error, which concerns no other request.

    Attributes:
        index: The number of the request in the engine.
        tokens: The prompt and the tokens that were generated.
    """

    index: int
    error: BaseException
    tokens: Sequence[int] = attrs.field(repr=False)


EngineEvent = TokenEvent | FailedRequest
