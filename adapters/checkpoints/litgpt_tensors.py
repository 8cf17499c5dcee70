"""LitGPT's tensors, translated to Hugging Face's: the inverse of the rules by which ours are read."""

import re
from collections.abc import Iterator, Mapping

import attrs

from litgpt.adapters.checkpoints.litgpt_dialect import family_of
from litgpt.adapters.checkpoints.litgpt_settings import LitGptSettings
from litgpt.domain.errors import DamagedFile
from litgpt.domain.families import FAMILIES


@attrs.frozen
class Piece:
    """A tensor of Hugging Face's: rows of one of LitGPT's.

    Attributes:
        source: LitGPT's name.
        spans: The rows, first and end of each run; empty takes the tensor as it is.

    """

    source: str
    spans: tuple[tuple[int, int], ...] = ()

    @property
    def rows(self) -> int:
        """How many rows the spans have together."""
        return sum(end - start for start, end in self.spans)


_LAYER = re.compile(r"transformer\.h\.(\d+)\.(.+)", re.ASCII)


def to_pieces(where: str, values: Mapping[str, object], sizes: Mapping[str, int]) -> dict[str, Piece]:
    """Return Hugging Face's tensors and what each is made of. A tensor unknown to the family keeps its name.

    Args:
        where: The file that holds the tensors, for errors.
        values: The contents of the `model_config.yaml` beside it, which `to_config` has accepted.
        sizes: The tensors in LitGPT's file, and how many rows each has.

    Raises:
        DamagedFile: A joined tensor has not the rows that the settings ask for.

    """
    said = LitGptSettings(where, values)
    rules = {rule.ours: rule.theirs for rule in FAMILIES[family_of(said)].weights}
    pieces: dict[str, Piece] = {}
    for source, rows in sizes.items():
        found = _LAYER.fullmatch(source)
        layer, generic = (found[1], f"transformer.h.{{}}.{found[2]}") if found else ("", source)
        # LitGPT up to 0.5.3 wrote the joined projection as attn.attn, group by group.
        by_group = generic.startswith("transformer.h.{}.attn.attn.")
        theirs = rules.get(generic.replace(".attn.attn.", ".attn.qkv.") if by_group else generic, (source,))
        if len(theirs) == 1:
            pieces[theirs[0].replace("{}", layer)] = Piece(source)
            continue
        spans = tuple(_grouped(said) if by_group else _joined(said))
        if sum(end - start for span in spans for start, end in span) != rows:
            raise DamagedFile(
                where, f"{source} has {rows} rows, which is not what model_config.yaml asks for."
            )
        for name, span in zip(theirs, spans, strict=True):
            pieces[name.replace("{}", layer)] = Piece(source, span)
    return pieces


def _joined(said: LitGptSettings) -> Iterator[tuple[tuple[int, int], ...]]:
    """Yield where the rows of Q, K and V are: all of Q, then all of K, then all of V."""
    reached = 0
    for heads in (said.integer("n_head"), said.groups, said.groups):
        yield ((reached, reached + heads * said.head_size),)
        reached += heads * said.head_size


def _grouped(said: LitGptSettings) -> Iterator[tuple[tuple[int, int], ...]]:
    """Yield where the rows of Q, K and V are: in each group its queries, its key, its value."""
    size, queries = said.head_size, said.integer("n_head") // said.groups
    for first, heads in ((0, queries), (queries, 1), (queries + 1, 1)):
        starts = [(group * (queries + 2) + first) * size for group in range(said.groups)]
        yield tuple((start, start + heads * size) for start in starts)
