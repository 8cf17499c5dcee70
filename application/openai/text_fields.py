"""The fields of requests about given texts: embeddings, scores, tokens, and LitGPT's `/predict`."""

from litgpt.application.openai.fields import Field, Fields

_MODEL = Field(note="The served model, or `model:adapter`. None: the model.", is_own=True)
_TEMPLATE: Fields = {
    "messages": Field(note="A conversation, rendered with the chat template.", is_own=True),
    "tools": Field(note="The functions that the chat template lists.", is_own=True),
    "chat_template_kwargs": Field(
        note="Variables of the chat template, such as `enable_thinking`.", is_own=True
    ),
    "continue_final_message": Field(
        note="Whether the prompt ends within the last message, which the model continues.", is_own=True
    ),
}

SCORE_FIELDS: Fields = {
    "model": _MODEL,
    "prompt": Field(note="A text, or a list of texts.", is_own=True),
    "continuations": Field(note="A list of texts; for a list of prompts, a list of such lists.", is_own=True),
    "text_1": Field(note="Instead of `prompt`: a text, or a list of texts.", is_own=True),
    "text_2": Field(
        note="Instead of `continuations`: a text, or a list. One `text_1` is scored with each; "
        "of two lists, each with its counterpart.",
        is_own=True,
    ),
}

RERANK_FIELDS: Fields = {
    "model": _MODEL,
    "query": Field(note="A text.", is_own=True),
    "documents": Field(note="A list of texts, or of objects with `text`.", is_own=True),
    "top_n": Field(note="The largest number of results. None: all documents.", is_own=True),
    "return_documents": Field(note="Whether results have their documents; true by default.", is_own=True),
    "method": Field(note="`cosine` or `yes_no`, as in `LLM.rerank`; `cosine` by default.", is_own=True),
    "instruction": Field(note="What the query asks for, with `yes_no`.", is_own=True),
    "max_chunks_per_doc": Field("refused", "Remove it: a document is read as a whole.", is_own=True),
    "max_tokens_per_doc": Field("refused", "Remove it, and shorten the documents yourself.", is_own=True),
}

TOKENIZE_FIELDS: Fields = {
    "model": _MODEL,
    "content": Field(note="A text, in which special tokens are recognized.", is_own=True),
    **_TEMPLATE,
    "pieces": Field(note="Whether the answer has the text of each token.", is_own=True),
}

DETOKENIZE_FIELDS: Fields = {
    "model": _MODEL,
    "tokens": Field(note="A list of token ids.", is_own=True),
}

TEMPLATE_FIELDS: Fields = {"model": _MODEL, **_TEMPLATE}

PREDICT_FIELDS: Fields = {
    "prompt": Field(note="A text, which the prompt style or chat template of the model wraps.", is_own=True),
    "max_new_tokens": Field(note="The server's setting by default.", is_own=True),
    "temperature": Field(note="Its default is the model's; 0 takes the likeliest token.", is_own=True),
    "top_k": Field(note="Its default is the model's.", is_own=True),
    "top_p": Field(note="Its default is the model's.", is_own=True),
}
