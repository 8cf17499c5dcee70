"""The fields of requests to `/v1/responses`."""

from litgpt.application.openai.fields import CHAT_FIELDS, Field, Fields

_WHOLE = "Remove it, and send the whole conversation as input: nothing is stored."

RESPONSE_FIELDS: Fields = {
    **{
        name: CHAT_FIELDS[name]
        for name in (
            "model",
            "temperature",
            "top_p",
            "parallel_tool_calls",
            "safety_identifier",
            "prompt_cache_key",
            "prompt_cache_options",
            "prompt_cache_retention",
            "service_tier",
            "moderation",
            "user",
        )
    },
    "input": Field(
        note="A text, or a list of messages, `function_call`, `function_call_output` and `reasoning` items."
    ),
    "instructions": Field(note="A text, the system message."),
    "max_output_tokens": Field(note="Without it, an answer ends at the context length."),
    "stream": Field(note="Typed events, which end with `response.completed`, `incomplete` or `failed`."),
    "stream_options": Field("ignored", "`include_obfuscation` has no effect; the usage is always sent."),
    "tools": Field(note="Functions."),
    "tool_choice": Field(note="`auto`, `none`, `required`, a function or `allowed_tools`."),
    "text": Field(note="`format`: `text`, `json_object` or `json_schema`, which is always strict."),
    "reasoning": Field(note="`effort`; `summary` has no effect: the reasoning itself is sent."),
    "include": Field(
        note="`message.output_text.logprobs`; `reasoning.encrypted_content` has no effect: reasoning is sent "
        "as text."
    ),
    "top_logprobs": Field(note="Up to 20."),
    "metadata": Field(note="Strings, which are part of the answer."),
    "store": Field("ignored", "Nothing is stored."),
    "max_tool_calls": Field("ignored", "It bounds built-in tools, of which there are none."),
    "truncation": Field(
        "default only", "Shorten the conversation yourself: nothing is cut off silently.", ("disabled",)
    ),
    "background": Field("default only", _WHOLE, (False,)),
    "background_options": Field("refused", "Remove it: responses are not computed in the background."),
    "previous_response_id": Field("refused", _WHOLE),
    "conversation": Field("refused", _WHOLE),
    "prompt": Field("refused", "Send the text of the prompt as input: templates are not stored."),
    "context_management": Field("refused", "Remove it, and shorten the conversation yourself."),
    "image": Field("refused", "Remove it: only text models are served."),
    "access_programs": Field("refused", "Remove it: it concerns models of OpenAI."),
    **{name: field for name, field in CHAT_FIELDS.items() if field.is_own},
}
