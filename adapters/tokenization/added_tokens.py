"""Tokens that `tokenizer_config.json` and similar files add to a vocabulary, in transformers' order.

Source: `TokenizersBackend` and `PreTrainedTokenizerBase._from_pretrained` of transformers 5.24. The ids in
the files only determine the order: a token of the vocabulary keeps its id, new tokens get the next free ids.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence

import attrs

from litgpt.domain.validators import is_integer

SPECIAL_TOKEN_KEYS = (
    "bos_token",
    "eos_token",
    "unk_token",
    "sep_token",
    "pad_token",
    "cls_token",
    "mask_token",
)
"""Names of the standard special tokens, in the order in which they are added."""

_MAX_ID = 10**9  # more than any vocabulary has
_ID = re.compile(r"[0-9]{1,9}")


@attrs.frozen
class AddedToken:
    """A token added to a vocabulary, with the fields of `tokenizers.AddedToken`.

    Attributes:
        special: Whether decoding skips it.
        lstrip: Whether it includes preceding whitespace.
        rstrip: Whether it includes following whitespace.
        single_word: Whether it matches only where it is not adjacent to word characters.
        normalized: Whether it is matched in the normalized text.
    """

    text: str
    special: bool
    lstrip: bool = False
    rstrip: bool = False
    single_word: bool = False
    normalized: bool = attrs.field()

    @normalized.default
    def _only_if_it_is_not_special(self) -> bool:
        return not self.special


@attrs.frozen(kw_only=True)
class AddedTokens:
    """The tokens that the files next to a vocabulary add to it.

    Attributes:
        by_id: Tokens of `added_tokens_decoder` or `added_tokens.json` by id.
        special_tokens: Special tokens by name: `bos_token`, `eos_token`, …, `image_token`.
        legacy: Whether the ids are from `added_tokens.json`, over which the vocabulary's added tokens take
            precedence.
    """

    by_id: Mapping[int, AddedToken] = attrs.field(factory=dict, repr=False)
    special_tokens: Mapping[str, AddedToken] = attrs.field(factory=dict)
    extra: Sequence[AddedToken] = ()
    legacy: bool = True

    def missing_from(self, present: Mapping[int, AddedToken]) -> list[AddedToken]:
        """Return the tokens to add in order, including changes of the flags of `present` tokens."""
        special = {
            token.text for token in (*self.special_tokens.values(), *present.values()) if token.special
        }
        by_id = {**self.by_id, **present} if self.legacy else self.by_id
        tokens = [
            attrs.evolve(token, special=True) if token.text in special else token
            for _, token in sorted(by_id.items())
        ]
        known = {token.text for token in (*present.values(), *tokens)}
        further: dict[str, AddedToken] = {}  # the last token with a text replaces earlier ones in place
        for token in (*self.special_tokens.values(), *self.extra):
            if token.text not in known:
                further[token.text] = attrs.evolve(token, special=token.special or token.text in special)
        unchanged = frozenset(present.values())
        return [token for token in (*tokens, *further.values()) if token not in unchanged]


def read_added_tokens(
    config: Mapping[str, object], special_tokens_map: Mapping[str, object], added_tokens: Mapping[str, object]
) -> AddedTokens:
    """Return the tokens that these files add.

    If `config` (`tokenizer_config.json`) has `added_tokens_decoder`, the other two are ignored; otherwise
    `special_tokens_map.json` takes precedence over the config.
    """
    decoder = config.get("added_tokens_decoder")
    legacy = not isinstance(decoder, dict)
    settings = {**config, **special_tokens_map} if legacy else dict(config)
    named = {role: token for role, token in _named(settings) if token is not None}
    extra = _extra(config, special_tokens_map if legacy else {})
    if isinstance(decoder, dict):
        by_id = dict(_from_added_tokens_decoder(decoder))
    else:
        by_id = dict(
            _from_added_tokens_json(added_tokens, {token.text for token in (*named.values(), *extra)})
        )
    flags = {token.text: token for token in by_id.values()}
    named = {role: attrs.evolve(flags.get(token.text, token), special=True) for role, token in named.items()}
    return AddedTokens(by_id=by_id, special_tokens=named, extra=extra, legacy=legacy)


def _named(settings: Mapping[str, object]) -> Iterator[tuple[str, AddedToken | None]]:
    for role in SPECIAL_TOKEN_KEYS:
        yield role, _token(settings.get(role))
    for name, value in settings.items():
        if name.endswith("_token") and name not in SPECIAL_TOKEN_KEYS:
            yield name, _token(value)
    extra = settings.get("extra_special_tokens") or settings.get("additional_special_tokens")
    for name, value in extra.items() if isinstance(extra, dict) else ():
        yield str(name), _token(value)


def _extra(config: Mapping[str, object], special_tokens_map: Mapping[str, object]) -> tuple[AddedToken, ...]:
    """Return the special tokens without a name, from the current or the older key."""
    values: list[object] = []
    for settings in (config, special_tokens_map):
        extra, older = settings.get("extra_special_tokens"), settings.get("additional_special_tokens")
        if isinstance(extra, list):
            values += extra
        if isinstance(older, list) and not values:
            values += older
    tokens = {token.text: token for value in values if (token := _token(value)) is not None}
    return tuple(tokens.values())


def _from_added_tokens_decoder(entries: Mapping[str, object]) -> Iterator[tuple[int, AddedToken]]:
    for key, value in entries.items():
        token = _token(value, special=not isinstance(value, dict))
        if token is not None and _ID.fullmatch(key):
            yield int(key), token


def _from_added_tokens_json(
    entries: Mapping[str, object], special: Collection[str]
) -> Iterator[tuple[int, AddedToken]]:
    for text, token_id in entries.items():
        if is_integer(token_id, 0) and token_id < _MAX_ID and text:
            yield token_id, AddedToken(text, special=text in special)


def _token(value: object, *, special: bool = True) -> AddedToken | None:
    """Return a token from a string or an object with flags, or None.

    An object with the type `AddedToken` is special only if it has that flag; named tokens become special
    afterwards. `special` is the default of the flag for other values.
    """
    if isinstance(value, str):
        return AddedToken(value, special=special) if value else None
    if not isinstance(value, dict) or not isinstance(text := value.get("content"), str) or not text:
        return None
    flags = {
        name: flag
        for name in ("special", "lstrip", "rstrip", "single_word", "normalized")
        if isinstance(flag := value.get(name), bool)
    }
    special = special and value.get("__type") != "AddedToken"
    return AddedToken(text, **{"special": special, **flags})
