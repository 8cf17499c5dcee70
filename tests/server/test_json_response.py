"""JSON bodies of responses."""

import json
import math

import pytest

from litgpt.server.json_response import LEAST_LOGPROB, encode_json


def test_log_probabilities_of_minus_infinity_are_numbers() -> None:
    raw = encode_json({"logprobs": [{"token": "é", "logprob": -math.inf}, {"logprob": -0.5}]})
    assert json.loads(raw) == {"logprobs": [{"token": "é", "logprob": LEAST_LOGPROB}, {"logprob": -0.5}]}
    assert "é".encode() in raw


def test_no_other_value_is_left_out_in_silence() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        encode_json([math.nan])
