"""instructor: objects through tools and through JSON schemas, and objects that grow in a stream."""

import instructor
from context import KEY, MODEL, URL
from openai import OpenAI
from pydantic import BaseModel, Field


class City(BaseModel):
    """A city."""

    name: str = Field(max_length=20)
    country: str = Field(max_length=20)


client = OpenAI(base_url=URL, api_key=KEY, max_retries=0)
for mode in (instructor.Mode.TOOLS, instructor.Mode.JSON_SCHEMA):
    patched = instructor.from_openai(client, mode=mode)
    asked = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Which city is the capital of France?"}],
        "temperature": 0,
        "max_tokens": 200,
        "max_retries": 0,
    }
    city = patched.chat.completions.create(**asked, response_model=City)
    assert isinstance(city, City), (mode, city)
    parts = list(patched.chat.completions.create_partial(**asked, response_model=City))
    assert parts[-1].model_dump() == city.model_dump(), (mode, parts[-1], city)
    assert len(parts) > 2, (mode, parts)
