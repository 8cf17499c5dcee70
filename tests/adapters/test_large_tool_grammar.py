"""Tools whose schemas compile one by one, but not together."""

import json

import pytest

pytest.importorskip("llguidance")

from litgpt.adapters.constraints.llguidance_compiler import LlguidanceCompiler
from litgpt.domain.errors import InvalidArgument
from litgpt.domain.tool_calls.known_formats import HARMONY
from litgpt.domain.tool_calls.tool_choice import CalledTool, ToolCallSpec, ToolChoice
from litgpt.testing import ByteTokenizer

_FIELDS = {f"p{at}": {"type": "integer", "minimum": 0, "maximum": 1000 + at} for at in range(10)}
_ITEM = {"type": "array", "items": {"type": "object", "properties": _FIELDS}}
_SCHEMA = json.dumps({"type": "object", "properties": {f"a{at}": _ITEM for at in range(100)}})


@pytest.mark.slow
def test_tools_that_cannot_be_compiled_together_are_refused() -> None:
    tools = tuple(CalledTool(f"f{at}", _SCHEMA) for at in range(20))
    spec = ToolCallSpec(format=HARMONY, tools=tools, choice=ToolChoice("required"))
    with pytest.raises(InvalidArgument, match="all of them together") as raised:
        LlguidanceCompiler().compile(spec, ByteTokenizer(), stop_token_ids=frozenset([257]))
    assert raised.value.name == "tools"
    assert "backtrace" not in str(raised.value)
