"""Models that transformers computes, because this library's own network does not have a part of them."""

from litgpt.domain.bridge.architecture import BridgedArchitecture

__all__ = ["BridgedArchitecture"]
