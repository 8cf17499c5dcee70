"""Tests of scoring and embeddings for every family, by both engines, against transformers."""

from pathlib import Path

import attrs
import pytest
import torch
from torch import Tensor

from litgpt.adapters.native.generator import NativeGenerator
from litgpt.adapters.native.library import is_installed
from litgpt.adapters.native.program.coverage import unsupported_part
from litgpt.adapters.pytorch.generation import padded_rows
from litgpt.adapters.pytorch.generation.generator import TorchGenerator
from litgpt.adapters.pytorch.generation.scoring import scorer
from litgpt.domain.generation.errors import NonFiniteLogits
from litgpt.domain.ports import Generator
from litgpt.domain.scoring.request import Pooling, ScoringRequest, TokenScores
from tests.agreement.models import VARIANTS, Pair, Variant, pair, random_ids
from tests.agreement.test_layer_split import over
from tests.agreement.test_tensor_parallel import Meeting, on_all_ranks, rank_of


def requests() -> list[ScoringRequest]:
    """Return ragged texts, continuations of shared prefixes, and a prefix within a prefix."""
    rows = random_ids(6, 60).tolist()
    first, second = [*rows[0][:40], *rows[1][:35]], [*rows[0][:40], *rows[2][:33]]
    continuations = [
        (first, rows[3][:1]),
        (first, rows[3][:7]),
        (second, rows[4][:3]),
        (second, rows[4][2:4]),
    ]
    found = [ScoringRequest(ids=[*prompt, *end], start=len(prompt)) for prompt, end in continuations]
    found += [ScoringRequest(ids=rows[5][:length]) for length in (2, 60, 17)]
    return [*found, ScoringRequest(ids=rows[4][:50], start=31)]


def expected_scores(both: Pair, request: ScoringRequest) -> TokenScores:
    ids = torch.tensor(request.ids)
    both.expected(ids[None, :1])  # transformers keeps dynamic frequencies of longer texts until a short one
    logits = both.expected(ids[None])[0, request.start - 1 : -1]
    targets = ids[request.start :]
    logprobs = logits.log_softmax(-1).gather(1, targets[:, None])[:, 0]
    return TokenScores(tuple(logprobs.tolist()), tuple((logits.argmax(-1) == targets).tolist()))


def assert_scores(actual: list[TokenScores], both: Pair) -> None:
    for scores, request in zip(actual, requests(), strict=True):
        expected = expected_scores(both, request)
        assert scores.logprobs == pytest.approx(expected.logprobs, abs=1e-4)
        assert scores.is_greedy == expected.is_greedy


def engines(both: Pair) -> list[Generator]:
    """Return the torch engine, the same on two devices, and the native engine if it has all parts."""
    generators: list[Generator] = [TorchGenerator(both.actual), TorchGenerator(over(both, 2))]
    if is_installed() and unsupported_part(both.actual.architecture) is None:
        from tests.agreement.test_native_engine import native

        generators.append(NativeGenerator(native(both.actual), lambda: 0))
    return generators


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_scores_of_both_engines_are_those_of_transformers(variant: Variant, tmp_path: Path) -> None:
    both = pair(variant, tmp_path)
    for generator in engines(both):
        if generator.context < 80:
            pytest.skip("its context is shorter than the texts")
        assert_scores(generator.score(requests()), both)


@pytest.mark.parametrize("pass_tokens", [7, 64])
@pytest.mark.parametrize("name", ["llama", "mistral", "qwen3_next"])
def test_scores_do_not_depend_on_the_size_of_the_passes(
    name: str, pass_tokens: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = pair(next(each for each in VARIANTS if each.name == name), tmp_path)
    monkeypatch.setattr(padded_rows, "PASS_TOKENS", pass_tokens)
    assert_scores(TorchGenerator(both.actual).score(requests()), both)


def test_the_head_is_applied_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    both = pair(next(each for each in VARIANTS if each.name == "llama"), tmp_path)
    model, rows = both.actual, []
    head, vocab_size = model.logits, model.architecture.vocab_size

    def logits(hidden: Tensor) -> Tensor:
        rows.append(len(hidden))
        return head(hidden)

    monkeypatch.setattr(scorer, "LOGITS_CHUNK", 5 * vocab_size)
    monkeypatch.setattr(model, "logits", logits)
    assert_scores(TorchGenerator(model).score(requests()), both)
    assert max(rows) == 5


def test_logits_that_are_not_finite_name_their_text(tmp_path: Path) -> None:
    both = pair(next(each for each in VARIANTS if each.name == "llama" and not each.settings), tmp_path)
    with torch.inference_mode():
        both.actual.transformer["wte"].weight[9] = float("nan")  # type: ignore[operator]
    texts = [ScoringRequest(ids=ids) for ids in ([5, 6, 7], [5, 9, 7], [5, 6])]
    with pytest.raises(NonFiniteLogits, match="prompt 1"):
        TorchGenerator(both.actual).score(texts)


@pytest.mark.parametrize("name", ["llama", "gemma2"])
def test_scores_of_ranks_are_those_of_transformers(name: str, tmp_path: Path) -> None:
    both, meeting = pair(next(each for each in VARIANTS if each.name == name), tmp_path), Meeting(2)
    models = [rank_of(both, meeting, rank) for rank in range(2)]
    for model in models:
        model.has_whole_head = False  # as in the ranks' own class
    scores: list[list[TokenScores]] = [[], []]

    def work(rank: int) -> Tensor:
        scores[rank] = TorchGenerator(models[rank]).score(requests())
        return torch.zeros(())

    on_all_ranks(2, work)
    for of_rank in scores:
        assert_scores(of_rank, both)


def test_the_likeliest_tokens_are_those_of_transformers(tmp_path: Path) -> None:
    both = pair(next(each for each in VARIANTS if each.name == "llama"), tmp_path)
    asked = [attrs.evolve(request, top_logprobs=at % 4) for at, request in enumerate(requests())]
    for generator in engines(both):
        for request, scores in zip(asked, generator.score(asked), strict=True):
            count = request.top_logprobs
            assert (scores.top_logprobs is None) == (count == 0)
            logits = both.expected(torch.tensor([request.ids]))[0, request.start - 1 : -1]
            values, ids = logits.log_softmax(-1).topk(max(count, 1))
            for found, row, row_ids in zip(
                scores.top_logprobs or (), values.tolist(), ids.tolist(), strict=count > 0
            ):
                assert list(found) == row_ids
                assert list(found.values()) == pytest.approx(row, abs=1e-4)


@pytest.mark.parametrize("variant", VARIANTS, ids=lambda variant: variant.name)
def test_embeddings_of_both_engines_are_the_last_hidden_states_of_transformers(
    variant: Variant, tmp_path: Path
) -> None:
    both = pair(variant, tmp_path)
    sequences = [random_ids(1, 40)[0, :length].tolist() for length in (3, 40, 1, 18)]
    base = both.reference.base_model
    network = both.reference.model if base is both.reference else base  # Llama 4 names another part so
    expected = []
    for ids in sequences:
        with torch.inference_mode():
            both.reference(torch.tensor([ids[:1]]))  # as above
            expected.append(network(torch.tensor([ids])).last_hidden_state[0])
    poolings: tuple[Pooling, ...] = ("last", "mean")
    for generator in engines(both):
        for pooling in poolings:
            for embedding, hidden in zip(generator.embed(sequences, pooling), expected, strict=True):
                pooled = hidden[-1] if pooling == "last" else hidden.mean(0)
                tolerance = 1e-4 * float(pooled.abs().max())
                assert torch.allclose(torch.tensor(embedding), pooled, atol=tolerance, rtol=1e-4)


def test_embeddings_of_long_texts_are_computed_in_steps(tmp_path: Path) -> None:
    settings = {"max_position_embeddings": 2048}
    both = pair(Variant("a long context", "llama", settings), tmp_path)
    sequences = [random_ids(1, 1300)[0, :length].tolist() for length in (1300, 5, 700)]
    poolings: tuple[Pooling, ...] = ("last", "mean")
    for pooling in poolings:
        embeddings = [generator.embed(sequences, pooling) for generator in engines(both)]
        for other in embeddings[1:]:
            for embedding, expected in zip(other, embeddings[0], strict=True):
                assert embedding.tolist() == pytest.approx(expected.tolist(), abs=1e-4)
