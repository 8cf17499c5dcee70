"""What is to be said when examples are longer than a model is to read."""

import attrs


@attrs.frozen
class TruncationStats:
    """What the length rule has done to examples.

    Attributes:
        num_examples: How many there were.
        num_truncated: How many were cut.
        longest_example: The tokens of the longest.
        num_dropped: How many had nothing left to learn, and were left out.

    """

    num_examples: int = 0
    num_truncated: int = 0
    longest_example: int = 0
    num_dropped: int = 0

    def add(self, tokens: int, kept_tokens: int, *, has_targets: bool) -> "TruncationStats":
        """Return it with one more example."""
        return TruncationStats(
            self.num_examples + 1,
            self.num_truncated + (kept_tokens < tokens),
            max(self.longest_example, tokens),
            self.num_dropped + (not has_targets),
        )

    def summary(self, max_length: int | None) -> str:
        """Return it as sentences; empty if there is nothing to tell."""
        said = []
        if self.num_truncated:
            said.append(
                f"{self.num_truncated} of {self.num_examples} examples have more than {max_length} tokens "
                f"(the longest has {self.longest_example}) and are cut at their end."
            )
        if self.num_dropped:
            said.append(
                f"{self.num_dropped} of {self.num_examples} have nothing to learn in them and are left out."
            )
        return " ".join(said)
