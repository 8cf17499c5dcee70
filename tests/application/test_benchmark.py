from litgpt.application.benchmark import Benchmark
from litgpt.domain.benchmark import BANDWIDTH_SHARE, DECODE_SPEED
from litgpt.domain.generation.request import GenerationRequest
from litgpt.domain.progress import null_reporter
from litgpt.testing import ByteTokenizer, ScriptedGenerator, ScriptedProfiler


def test_a_benchmark_reports_the_measured_times_and_token_counts() -> None:
    profiler = ScriptedProfiler(tick=1.0, bytes_in_use={"cuda:0": 5})
    run = Benchmark(ByteTokenizer(), ScriptedGenerator(b"abc"), profiler)
    (answer,), measured = run([GenerationRequest(prompt=[1, 2, 3, 4], max_new_tokens=5)])
    assert answer.text == "abcab"
    # The clock is looked at when it begins, at the first token and at the end, a second apart.
    assert (measured.time_to_first_token, measured.seconds) == (1.0, 2.0)
    assert (measured.prompt_tokens, measured.completion_tokens, measured.decoded_tokens) == (4, 5, 4)
    assert measured.peak_bytes == {"cuda:0": 5}


def test_each_run_begins_with_a_fresh_high_water_mark() -> None:
    profiler = ScriptedProfiler()
    run = Benchmark(ByteTokenizer(), ScriptedGenerator(b"abc"), profiler)
    for _ in range(2):
        run([GenerationRequest(prompt=[1], max_new_tokens=2)])
    assert profiler.resets == 2


def test_the_tokens_of_all_answers_are_counted_and_each_but_the_first_of_each_is_decoded() -> None:
    run = Benchmark(ByteTokenizer(), ScriptedGenerator(b"abc"), ScriptedProfiler())
    requests = [GenerationRequest(prompt=[1, 2], max_new_tokens=at_most) for at_most in (3, 2, 0)]
    _, measured = run(requests)
    assert (measured.prompt_tokens, measured.completion_tokens, measured.decoded_tokens) == (6, 5, 3)


def test_an_answer_without_tokens_has_a_duration() -> None:
    run = Benchmark(ByteTokenizer(), ScriptedGenerator(b"abc"), ScriptedProfiler())
    _, measured = run([GenerationRequest(prompt=[1], max_new_tokens=0)])
    assert measured.time_to_first_token == measured.seconds == 1.0


def test_the_decode_speed_of_one_prompt_is_compared_with_the_limit_of_the_memory() -> None:
    run = Benchmark(ByteTokenizer(), ScriptedGenerator(b"abc", decode_limit=16.0), ScriptedProfiler())
    request = GenerationRequest(prompt=[1, 2], max_new_tokens=5)
    _, figures = run.repeat(2, [request], null_reporter)
    assert figures[DECODE_SPEED] == [4.0, 4.0]
    assert figures[BANDWIDTH_SHARE] == [25.0, 25.0]
    assert BANDWIDTH_SHARE not in run.repeat(1, [request, request], null_reporter)[1]


def test_without_a_known_limit_there_is_no_such_figure() -> None:
    run = Benchmark(ByteTokenizer(), ScriptedGenerator(b"abc"), ScriptedProfiler())
    _, figures = run.repeat(1, [GenerationRequest(prompt=[1, 2], max_new_tokens=5)], null_reporter)
    assert BANDWIDTH_SHARE not in figures
