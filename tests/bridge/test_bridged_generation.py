"""Models that transformers computes: what the library generates and computes with them."""

from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch

from litgpt import LLM
from litgpt.domain.beam_search.request import BeamSearchParams, BeamSearchRequest
from litgpt.domain.families import FAMILIES as OWN_FAMILIES
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.generation.sampling_params import SamplingParams
from litgpt.domain.scoring.request import ScoringRequest
from tests.adapters.tiny_models import tiny_folder, tiny_model
from tests.bridge.bridged_models import BRIDGED, bridged_folder, bridged_model

GREEDY = SamplingParams(temperature=0)
PROMPTS = ([5, 60, 7, 8, 90, 4, 33], [3], [11, 12, 200], [5, 60, 7, 8, 90, 4, 33, 17])
FORCED = "mistral"


SLOW = ("mamba2", "zamba2", "ctrl")  # other interfaces of transformers are in the fast tests
CASES = [pytest.param(name, marks=pytest.mark.slow) if name in SLOW else name for name in (*BRIDGED, FORCED)]


@pytest.fixture(scope="module", params=CASES)
def family(request: Any) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def reference(family: str) -> Any:
    return tiny_model(FORCED) if family == FORCED else bridged_model(family)


@pytest.fixture(scope="module")
def llm(family: str) -> Iterator[LLM]:
    folder = tiny_folder(FORCED) if family == FORCED else bridged_folder(family)
    with LLM.load(folder, quiet=True, distribute=None) as model:
        model.distribute(precision="32-true", engine="transformers" if family in OWN_FAMILIES else None)
        yield model


def expected(reference: Any, prompt: Sequence[int], count: int = 8) -> list[int]:
    ids = torch.tensor([list(prompt)])
    mask = torch.ones_like(ids)
    out = reference.generate(ids, attention_mask=mask, max_new_tokens=count, do_sample=False, eos_token_id=-1)
    answer: list[int] = out[0, len(prompt) :].tolist()
    return answer


def generated(llm: LLM, prompts: Sequence[Sequence[int]], count: int = 8) -> list[list[int]]:
    requests = [
        GenerationRequest(prompt=list(prompt), max_new_tokens=count, sampling_params=GREEDY)
        for prompt in prompts
    ]
    answers: list[list[int]] = [[] for _ in prompts]
    for event in llm._generator().generate(requests):
        answers[event.index].append(event.token)
    return answers


def test_a_batch_of_ragged_prompts_has_the_answers_of_transformers(llm: LLM, reference: Any) -> None:
    answers = generated(llm, PROMPTS)
    assert answers == [expected(reference, prompt) for prompt in PROMPTS]


def test_a_conversation_continues_from_its_cached_prefix(llm: LLM, reference: Any) -> None:
    prompt = [9, 8, 70, 6, 5, 40, 3, 2] * 3
    (answer,) = generated(llm, [prompt])
    longer = [*prompt, *answer, 77, 78]
    assert generated(llm, [longer]) == [expected(reference, longer)]


def test_the_logits_are_those_of_transformers(llm: LLM, reference: Any) -> None:
    ids = torch.tensor([PROMPTS[0], PROMPTS[0][::-1]])
    with torch.no_grad():
        torch.testing.assert_close(llm(ids), reference(ids).logits)


def test_scores_are_the_log_probabilities_of_transformers(llm: LLM, reference: Any) -> None:
    requests = [ScoringRequest(ids=list(prompt), start=1) for prompt in PROMPTS if len(prompt) > 1]
    for scores, request in zip(llm._generator().score(requests), requests, strict=True):
        ids = torch.tensor([request.ids])
        with torch.no_grad():
            logprobs = reference(ids).logits[0, :-1].float().log_softmax(-1)
        wanted = logprobs.gather(1, ids[0, 1:, None])[:, 0]
        assert torch.allclose(torch.tensor(scores.logprobs), wanted, atol=1e-4)


def test_embeddings_pool_what_the_head_reads(llm: LLM, reference: Any) -> None:
    seen: list[torch.Tensor] = []
    hook = reference.get_output_embeddings().register_forward_pre_hook(lambda _, args: seen.append(args[0]))
    with torch.no_grad():
        reference(torch.tensor([PROMPTS[2]]))
    hook.remove()
    _, found, _ = llm._generator().embed([PROMPTS[0], PROMPTS[2], PROMPTS[1]], "mean")
    assert torch.allclose(torch.tensor(found), seen[0][0].mean(0), atol=1e-5)


def test_a_beam_has_the_score_of_its_tokens(llm: LLM) -> None:
    params = BeamSearchParams(num_beams=3)
    search = BeamSearchRequest(prompt=PROMPTS[0], max_new_tokens=4, params=params)
    ((best,),) = llm._generator().beam_search([search])
    request = ScoringRequest(ids=[*PROMPTS[0], *best.tokens], start=len(PROMPTS[0]))
    (scores,) = llm._generator().score([request])
    assert sum(scores.logprobs) / 4 == pytest.approx(best.score, abs=1e-3)
