"""Chatting in a browser: streaming, stop, branches, continuation, errors."""

from typing import TYPE_CHECKING

import pytest

from tests.server.page.chat_page import StubPage

if TYPE_CHECKING:
    from playwright.sync_api import expect
else:
    expect = pytest.importorskip("playwright.sync_api", reason="playwright is not installed").expect

pytestmark = pytest.mark.browser


def test_an_answer_is_rendered_while_it_is_written(chat: StubPage) -> None:
    chat.begin("hold")
    chat.stub.write("# Title\n\nOne **bold** word.")
    expect(chat.answers.get_by_role("heading", name="Title")).to_be_visible()
    expect(chat.answers.locator("strong")).to_have_text("bold")
    heading = chat.answers.locator("h1").element_handle()
    chat.stub.write("\n\n```python\nprint(1)")
    expect(chat.answers.locator("pre")).to_contain_text("print(1)")
    assert heading.evaluate("element => element.isConnected"), (
        "blocks that are complete are not rendered again"
    )
    chat.stub.write("\n```\n", None)
    chat.done()
    expect(chat.answers.locator(".hljs-built_in")).to_have_text("print")


def test_code_is_copied(chat: StubPage) -> None:
    chat.ask("markdown")
    chat.answers.locator(".code").get_by_role("button", name="Copy").click()
    expect(chat.answers.locator(".code").get_by_role("button", name="Copied")).to_be_visible()
    assert chat.page.evaluate("navigator.clipboard.readText()").startswith("import math\n\ndef softmax")


@pytest.mark.parametrize("by", ["button", "Escape"])
def test_stop_ends_the_request_and_keeps_what_was_written(chat: StubPage, by: str) -> None:
    chat.begin("hold")
    chat.stub.write("Half of")
    expect(chat.answers).to_contain_text("Half of")
    if by == "button":
        chat.button("Stop").click()
    else:
        chat.page.keyboard.press("Escape")
    chat.done()
    assert chat.stub.closed_by_client.wait(120)
    expect(chat.answers).to_contain_text("Half of")
    expect(chat.answers).to_contain_text("Stopped.")


def test_continue_lets_the_model_go_on_in_the_same_answer(chat: StubPage) -> None:
    chat.ask("length")
    chat.answers.get_by_role("button", name="Continue").click()
    chat.done()
    expect(chat.answers).to_contain_text("cut off in the And this is the rest")
    body = chat.stub.requests[-1]
    assert body["continue_final_message"] is True
    assert body["messages"][-1] == {"role": "assistant", "content": "This answer was cut off in the"}


def test_regenerated_answers_are_alternatives(chat: StubPage) -> None:
    chat.ask("think")
    chat.button("Regenerate").click()
    expect(chat.answers.get_by_text("2 / 2")).to_be_visible()
    chat.done()
    chat.button("Previous version").click()
    expect(chat.answers.get_by_text("1 / 2")).to_be_visible()
    assert [body["messages"] for body in chat.stub.requests] == [[{"role": "user", "content": "think"}]] * 2


def test_an_edited_message_begins_a_branch_and_the_old_one_is_kept(chat: StubPage) -> None:
    chat.ask("think")
    chat.ask("length")
    first = chat.prompts.first
    first.hover()
    first.get_by_role("button", name="Edit").click()
    chat.page.get_by_label("Edit your message").fill("tool")
    chat.button("Send").first.click()
    expect(chat.answers.get_by_label("Tool calls")).to_contain_text("weather")
    expect(chat.prompts).to_have_count(1)
    assert chat.stub.requests[-1]["messages"] == [{"role": "user", "content": "tool"}]
    first.get_by_role("button", name="Previous version").click()
    expect(chat.answers).to_have_count(2)
    expect(chat.prompts.nth(1)).to_contain_text("length")


def test_an_edited_answer_is_what_the_model_reads(chat: StubPage) -> None:
    chat.ask("length")
    chat.answers.get_by_role("button", name="Edit").click()
    chat.page.get_by_label("Edit the answer").fill("What I would have said.")
    chat.button("Save").click()
    expect(chat.answers.get_by_text("2 / 2")).to_be_visible()
    chat.ask("think")
    assert chat.stub.requests[-1]["messages"][1] == {
        "role": "assistant",
        "content": "What I would have said.",
    }


def test_reasoning_is_folded_and_tool_calls_are_shown(chat: StubPage) -> None:
    chat.ask("think")
    thoughts = chat.answers.get_by_text("21 is 3 times 7")
    expect(thoughts).to_be_hidden()
    chat.answers.get_by_text("Thoughts").click()
    expect(thoughts).to_be_visible()
    chat.ask("tool")
    expect(chat.answers.last.locator("pre")).to_have_text('{\n  "city": "Zürich",\n  "days": 3\n}')


def test_an_error_in_mid_stream_can_be_retried(chat: StubPage) -> None:
    chat.ask("break")
    expect(chat.answers.get_by_role("alert")).to_contain_text("The model is out of memory.")
    chat.button("Retry").click()
    chat.done()
    assert chat.stub.requests[-1]["continue_final_message"] is True


def test_a_full_server_says_when_to_come_back(chat: StubPage) -> None:
    chat.expected.append("429")
    chat.ask("busy")
    expect(chat.answers.get_by_role("alert")).to_contain_text("no free place. Try again in 2 s.")


def test_a_slow_request_shows_where_its_time_went(chat: StubPage) -> None:
    chat.ask("slow")
    expect(chat.answers.locator(".timing")).to_contain_text("Waiting2.1 s")
    expect(chat.answers.locator(".timing")).to_contain_text("Reading5.2 s 412 tokens, 256 cached")
    expect(chat.page.get_by_label("626 of 2,048 tokens of context")).to_be_visible()
    expect(chat.answers.get_by_text("52 tokens/s · 214 tokens")).to_have_css("opacity", "1")


def test_settings_are_sent_and_defaults_are_the_placeholders(chat: StubPage) -> None:
    chat.button("Settings").click()
    expect(chat.page.get_by_label("Temperature")).to_have_attribute("placeholder", "0.8")
    expect(chat.page.get_by_label("Top k")).to_have_attribute("placeholder", "50")
    chat.page.get_by_label("Temperature").fill("0.3")
    chat.page.get_by_label("System prompt").fill("Be brief.")
    chat.ask("think")
    body = chat.stub.requests[-1]
    assert body["temperature"] == 0.3
    assert body["messages"][0] == {"role": "system", "content": "Be brief."}
    assert "top_k" not in body
    chat.button("Use the model's settings").click()
    chat.ask("think")
    assert "temperature" not in chat.stub.requests[-1]


def test_probabilities_of_tokens_and_their_alternatives(chat: StubPage) -> None:
    chat.button("Settings").click()
    chat.page.get_by_role("switch", name="Token probabilities").check()
    chat.ask("markdown")
    assert chat.stub.requests[-1]["top_logprobs"] == 5
    chat.answers.get_by_role("button", name="Token probabilities").click()
    chat.answers.locator(".token").nth(2).hover()
    alternatives = chat.answers.get_by_label("Likeliest tokens here").get_by_role("listitem")
    expect(alternatives).to_have_text(["·perhaps34.5%", "·turns31.0%", "·the17.3%", "↵1.0%"])
    chat.answers.locator(".token").nth(2).focus()
    chat.page.keyboard.press("ArrowRight")
    expect(chat.answers.locator(".token").nth(3)).to_be_focused()


def test_a_base_model_and_its_adapter_side_by_side(chat: StubPage) -> None:
    chat.ask("think")
    chat.button("Compare two models").click()
    chat.ask("markdown")
    columns = chat.page.locator("section.thread")
    expect(columns).to_have_count(2)
    expect(columns.nth(0)).to_contain_text("A softmax turns scores")
    expect(columns.nth(1)).to_contain_text("The moon, a pale coin.")
    bodies = chat.stub.requests[-2:]
    assert {body["model"] for body in bodies} == {"smollm2", "smollm2:poet"}
    assert bodies[0]["messages"] == bodies[1]["messages"]
    chat.button("Compare two models").click()
    expect(chat.answers.get_by_text("1 / 2")).to_be_visible()
    chat.button("Next version").click()
    expect(chat.answers.last).to_contain_text("smollm2:poet")
