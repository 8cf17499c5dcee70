"""Statistics of truncated and dropped examples."""

import attrs


@attrs.frozen
class TruncationStats:
    """Statistics of the examples of a data set; examples without a token to train on are dropped."""

    num_examples: int = 0
    num_truncated: int = 0
    longest_example: int = 0
    num_dropped: int = 0

    def add(self, tokens: int, kept_tokens: int, *, has_targets: bool) -> "TruncationStats":
        return TruncationStats(
            self.num_examples + 1,
            self.num_truncated + (kept_tokens < tokens),
            max(self.longest_example, tokens),
            self.num_dropped + (not has_targets),
        )

    def summary(self, max_length: int | None) -> str:
        """Return sentences for the user; empty if all examples are used in full."""
        sentences = []
        if self.num_truncated:
            sentences.append(
                f"{self.num_truncated} of {self.num_examples} examples have more than {max_length} tokens "
                f"(the longest has {self.longest_example}) and are truncated."
            )
        if self.num_dropped:
            sentences.append(
                f"{self.num_dropped} of {self.num_examples} have no tokens to train on and are dropped."
            )
        return " ".join(sentences)
