"""A tiny model whose chat template supports tools, documents, names and thinking."""

import json
import shutil
import tempfile
from functools import cache
from pathlib import Path

from tests.adapters.tiny_models import tiny_folder

TEMPLATE = """
{%- if tools %}<|begin|>tools
{{ tools | tojson }}<|end|>
{% endif %}
{%- if documents %}<|begin|>{{ documents | tojson }}{% endif %}
{%- for m in messages %}<|begin|>{{ m.role }}{{ ' ' + m.name if m.name }}
{% if m.content is string %}{{ m.content }}
{%- else %}{% for part in m.content %}{{ part.text }}{% endfor %}{% endif %}
{%- for call in m.tool_calls or [] -%}
[{{ call.function.name }} {{ call.function.arguments | tojson }}]{% endfor -%}
<|end|>
{% endfor %}
{%- if add_generation_prompt %}<|begin|>assistant
{{ '' if enable_thinking | default(true) else 'now: ' }}{% endif %}"""

CALL = {"id": "1", "type": "function", "function": {"name": "weather", "arguments": {"city": "Rome"}}}
_HOME = tempfile.TemporaryDirectory()


def weather(city: str) -> str:
    """Say what the weather is.

    Args:
        city: Where.
    """
    return city


@cache
def templated_folder() -> Path:
    """Return a folder with a tiny Llama that has the template; read-only."""
    folder = Path(_HOME.name) / "model"
    shutil.copytree(tiny_folder("llama"), folder)
    sizes = json.loads((folder / "config.json").read_text(encoding="utf-8")) | {
        "max_position_embeddings": 4096
    }
    (folder / "config.json").write_text(json.dumps(sizes), encoding="utf-8")
    config = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<|begin|>",
        "eos_token": "<|end|>",
        "add_bos_token": True,
        "chat_template": TEMPLATE,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder
