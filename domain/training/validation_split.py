"""How many records of a data set are held back for validation."""

from litgpt.domain.training.errors import InvalidData
from litgpt.domain.validators import real


def check_fraction(fraction: object) -> None:
    """Refuse what is no share of a data set.

    Raises:
        BadArgument: It is not from 0 to below 1, or None.

    """
    if fraction is None:
        return
    real("val_split_fraction", fraction, below=1, more=" or None")


def validation_size(num_records: int, fraction: float | None, *, location: str) -> int:
    """Return how many of these records to validate with: at least one, if any are wanted.

    It is the number that LitGPT holds back, which is `torch.utils.data.random_split`'s: what the fraction
    leaves over is learned from.

    Args:
        num_records: How many there are.
        fraction: The share to validate with; None and 0 are none.
        location: What to call the data set in an error.

    Raises:
        BadArgument: The fraction is not from 0 to below 1.
        BadData: Nothing would be left to learn from.

    """
    check_fraction(fraction)
    if not fraction:
        return 0
    held = max(1, int(num_records * fraction))
    if held >= num_records:
        raise InvalidData(
            location, f"of its {num_records} record(s), {held} would be for validation and none for training."
        )
    return held
