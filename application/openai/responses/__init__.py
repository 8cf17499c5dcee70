"""Requests and answers of OpenAI's Responses API, without stored responses."""
