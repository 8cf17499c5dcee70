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
    size = max(1, int(num_records * fraction))
    if size >= num_records:
        raise InvalidData(
            location, f"of its {num_records} record(s), {size} would be for validation and none for training."
        )
    return size
