"""What is to be said when examples are longer than a model is to read."""

import attrs


@attrs.frozen
class Cut:
    """What the length rule has done to examples.

    Attributes:
        of: How many there were.
        longer: How many were cut.
        longest: The tokens of the longest.
        lost: How many had nothing left to learn, and were left out.

    """

    of: int = 0
    longer: int = 0
    longest: int = 0
    lost: int = 0

    def and_one(self, tokens: int, left: int, *, kept: bool) -> "Cut":
        """Return it with one more example."""
        return Cut(
            self.of + 1, self.longer + (left < tokens), max(self.longest, tokens), self.lost + (not kept)
        )

    def told(self, at_most: int | None) -> str:
        """Return it as sentences; empty if there is nothing to tell."""
        said = []
        if self.longer:
            said.append(
                f"{self.longer} of {self.of} examples have more than {at_most} tokens (the longest has "
                f"{self.longest}) and are cut at their end."
            )
        if self.lost:
            said.append(f"{self.lost} of {self.of} have nothing to learn in them and are left out.")
        return " ".join(said)
