"""The size of the validation split of a data set."""

from litgpt.domain.training.errors import InvalidData
from litgpt.domain.validators import real


def check_fraction(fraction: object) -> None:
    """Check that the fraction of a validation split is in [0, 1) or None."""
    if fraction is None:
        return
    real("val_split_fraction", fraction, below=1, more=" or None")


def validation_size(num_records: int, fraction: float | None, *, location: str) -> int:
    """Return the number of validation records, at least one unless the fraction is 0 or None.

    It is rounded down, as in LitGPT and `torch.utils.data.random_split`.
    """
    check_fraction(fraction)
    if not fraction:
        return 0
    if num_records == 1:
        raise InvalidData(
            location,
            "its only record would be for validation, and none for training. Add records, or pass "
            "val_split_fraction=0 to train without validation.",
        )
    return max(1, int(num_records * fraction))
