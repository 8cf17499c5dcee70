"""The log-probabilities of `/v1/completions`, from which evaluations take those of the prompt."""

import pytest
from openai import OpenAI

from tests.server.openai.conftest import NAME

PROMPT = (
    "<|im_start|>user\nWhat is the capital of France?<|im_end|>\n"
    "<|im_start|>assistant\nThe capital of France is Paris."
)


@pytest.mark.parametrize("echo", [True, False])
def test_the_stop_token_is_one_of_the_tokens(client: OpenAI, *, echo: bool) -> None:
    answer = client.completions.create(
        model=NAME, prompt=PROMPT, max_tokens=8, temperature=0, logprobs=1, echo=echo
    )
    choice, usage = answer.choices[0], answer.usage
    assert choice.logprobs is not None
    assert usage is not None
    assert choice.text == (PROMPT if echo else "")
    assert choice.finish_reason == "stop"
    assert choice.logprobs.tokens is not None
    assert choice.logprobs.tokens[-1] == "<|im_end|>"
    assert len(choice.logprobs.tokens) == usage.completion_tokens + echo * usage.prompt_tokens
    streamed = []
    for chunk in client.completions.create(
        model=NAME, prompt=PROMPT, max_tokens=8, temperature=0, logprobs=1, echo=echo, stream=True
    ):
        if chunk.choices[0].logprobs is not None:
            streamed += chunk.choices[0].logprobs.tokens or []
    assert streamed == choice.logprobs.tokens
