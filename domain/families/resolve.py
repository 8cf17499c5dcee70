"""Resolve a config and tensor names to an architecture and a plan for reading its weights."""

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from fnmatch import fnmatchcase

import attrs

from litgpt.domain.errors import CheckpointMismatch, CorruptFile, UnsupportedModel
from litgpt.domain.families.multimodal import TEXT_MODEL_TYPES, is_multimodal, text_config, text_tensor_names
from litgpt.domain.families.registry import FAMILIES, MODEL_TYPE_ALIASES
from litgpt.domain.families.schema.family import Family
from litgpt.domain.families.schema.hf_config import HFConfig
from litgpt.domain.families.tensor_name_variants import TensorNameVariants
from litgpt.domain.formatting.bounded_text import short_repr
from litgpt.domain.model import Architecture
from litgpt.domain.validation.untrusted_files import translate_read_errors
from litgpt.domain.weights.mapping import (
    ParameterSource,
    SourceSlice,
    WeightMapping,
    map_parameters,
    validate_mapping,
)
from litgpt.domain.weights.tensor_info import TensorInfo


@attrs.frozen(kw_only=True)
class ResolvedModel:
    """A model as described by its config and its tensors' headers.

    Attributes:
        sources: The tensors that each parameter is read from, with the checkpoint's names.
        notes: Notices for the user.
        untied_head: The LM head in a checkpoint whose config ties it to the embedding; None if there is none.
            Only the weights show whether both are equal.
    """

    architecture: Architecture
    sources: tuple[ParameterSource, ...] = attrs.field(repr=False)
    notes: tuple[str, ...] = ()
    untied_head: ParameterSource | None = attrs.field(default=None, repr=False)

    def untied(self) -> "ResolvedModel":
        """Return the model with the checkpoint's separate LM head, if it has one."""
        if self.untied_head is None:
            return self
        architecture = attrs.evolve(self.architecture, tie_word_embeddings=False)
        return attrs.evolve(
            self, architecture=architecture, sources=(*self.sources, self.untied_head), untied_head=None
        )


def family_of(model: str, config: Mapping[str, object]) -> Family:
    """Return the family of a config; for a multimodal model, the family of its text config."""
    model_type = text_config(config).get("model_type")
    if not isinstance(model_type, str):
        raise CorruptFile(f"config.json of {model}", "it has no 'model_type'.")
    model_type = MODEL_TYPE_ALIASES.get(model_type, model_type)
    if model_type not in FAMILIES:
        known = ", ".join(sorted({*FAMILIES, *TEXT_MODEL_TYPES}))
        raise UnsupportedModel(
            model, f"its model_type {short_repr(model_type)} is not supported. Supported: {known}."
        )
    return FAMILIES[model_type]


def parse_config(model: str, config: Mapping[str, object]) -> Architecture:
    """Return the architecture of a Hugging Face config; errors as in `resolve_model`."""
    family, text = family_of(model, config), text_config(config)
    # A multimodal config has the quantization_config outside its text config.
    values = {"quantization_config": config.get("quantization_config"), **text}
    with translate_read_errors(f"config.json of {model}"):
        return family.read(HFConfig(model, values))


def resolve_model(
    model: str, config: Mapping[str, object], tensors: Mapping[str, TensorInfo]
) -> ResolvedModel:
    """Return a model's structure and the tensors that each parameter is read from.

    Raises:
        CorruptFile: A setting is missing or invalid.
        UnsupportedModel: The family or a setting is not supported.
        CheckpointMismatch: Tensors are missing, unexpected or of the wrong shape; the error lists all.
    """
    architecture, family = parse_config(model, config), family_of(model, config)
    multimodal, names = is_multimodal(config), _known_tensors(family, config, tensors)
    rules, tied = family.select_weights(names), architecture.tie_word_embeddings
    head, embedding = _tensor_of(architecture, rules, _HEAD), _tensor_of(architecture, rules, _EMBEDDING)
    if tied and head in names and embedding not in names:  # only the head was saved
        names[embedding] = names.pop(head)
    if multimodal:  # the outer config, the text config, both or neither set tie_word_embeddings
        tied = tied or head not in names
    architecture = attrs.evolve(architecture, tie_word_embeddings=tied and head not in names)
    usual = {name: tensors[own] for name, own in names.items()}
    try:
        planned = _validated(model, architecture, family, usual)
    except CheckpointMismatch as error:
        unread = tuple(names[name] for name in error.unexpected)
        raise CheckpointMismatch(model, error.missing, unread, error.shape_mismatches) from None
    renamed = tuple(_with_checkpoint_names(join, names) for join in planned)
    own_head = next((join for join in renamed if join.parameter.name == _HEAD), None) if tied else None
    return ResolvedModel(
        architecture=attrs.evolve(architecture, tie_word_embeddings=tied),
        sources=tuple(join for join in renamed if join is not own_head),
        notes=(_TEXT_ONLY_NOTE.format(config["model_type"], family.model_type),) if multimodal else (),
        untied_head=own_head,
    )


def _validated(
    model: str, architecture: Architecture, family: Family, tensors: Mapping[str, TensorInfo]
) -> tuple[ParameterSource, ...]:
    """Return the sources of all parameters; if they do not fit, those of transposed tensors that do."""
    unused = family.unused_tensors
    try:
        rules = family.select_weights(tensors)
        return validate_mapping(model, architecture, rules, tensors, unused=unused)
    except CheckpointMismatch:
        transposed = family.select_weights(tensors, transposed=True)
        if len(transposed) == len(family.weights):
            raise
        with suppress(CheckpointMismatch):
            return validate_mapping(model, architecture, transposed, tensors, unused=unused)
        raise


def _tensor_of(architecture: Architecture, mappings: Sequence[WeightMapping], parameter: str) -> str:
    """Return the name of the single tensor that the embedding or LM head is read from."""
    (source,) = next(
        rule.hf_names
        for rule in mappings
        if rule.name == parameter and (rule.condition is None or rule.condition(architecture))
    )
    return source.name if isinstance(source, SourceSlice) else source


def expected_shapes(
    model: str, config: Mapping[str, object], names: Iterable[str]
) -> dict[str, tuple[int, ...]]:
    """Return the expected shapes of a checkpoint's tensors, without tensors that the model does not use."""
    architecture, family = parse_config(model, config), family_of(model, config)
    architecture = attrs.evolve(
        architecture, tie_word_embeddings=False
    )  # to include an LM head, if there is one
    checkpoint_names = _known_tensors(family, config, names)
    expected = {
        piece.name: piece.shape
        for join in map_parameters(architecture, family.select_weights(checkpoint_names))
        for piece in join.views
    }
    return {own: expected[usual] for usual, own in checkpoint_names.items() if usual in expected}


def _known_tensors(family: Family, config: Mapping[str, object], names: Iterable[str]) -> dict[str, str]:
    """Return a mapping from the family's tensor names to the checkpoint's names."""
    text = text_tensor_names(names) if is_multimodal(config) else {name: name for name in names}
    renamed = {_canonical_prefix(name, family.prefix_aliases): own for name, own in text.items()}
    spelling = TensorNameVariants.from_mappings((*family.weights, *family.alternative_weights))
    aligned = spelling.align(
        renamed, lambda name: any(fnmatchcase(name, pattern) for pattern in family.unused_tensors)
    )
    return {usual: renamed[name] for usual, name in aligned.items()}


_HEAD, _EMBEDDING = "lm_head.weight", "transformer.wte.weight"
_TEXT_ONLY_NOTE = "it is a multimodal model ({}): only its text model is loaded ({})."

# Settings of the stored weights or of remote code, which do not apply to a newly written model.
_FILE_SETTINGS = ("quantization_config", "auto_map", "torch_dtype", "dtype")


def config_to_save(config: Mapping[str, object]) -> dict[str, object]:
    """Return the `config.json` for saving the text model without quantization."""
    text = text_config(config)
    dropped = (*_FILE_SETTINGS, "architectures") if text is not config else _FILE_SETTINGS
    saved = {name: value for name, value in text.items() if name not in dropped}
    model_type = saved.get("model_type")
    if isinstance(model_type, str) and model_type in MODEL_TYPE_ALIASES:
        saved["model_type"] = MODEL_TYPE_ALIASES[model_type]  # which transformers opens without remote code
    return saved


def _canonical_prefix(name: str, prefixes: tuple[tuple[str, str], ...]) -> str:
    for beginning, usual in prefixes:
        if name.startswith(beginning):
            return usual + name.removeprefix(beginning)
    return name


def _with_checkpoint_names(source: ParameterSource, names: Mapping[str, str]) -> ParameterSource:
    pieces = tuple(attrs.evolve(piece, name=names[piece.name]) for piece in source.views)
    return attrs.evolve(source, views=pieces)
