import math

from litgpt.domain.benchmark import BenchmarkResult, benchmark_dict_to_markdown_table


def measured(**more: object) -> BenchmarkResult:
    figures = {
        "prompt_tokens": 20,
        "completion_tokens": 11,
        "seconds": 3.0,
        "time_to_first_token": 1.0,
        "decoded_tokens": 10,
        "peak_bytes": {},
    }
    return BenchmarkResult(**(figures | more))  # type: ignore[arg-type]


def test_speeds_are_of_what_was_counted() -> None:
    assert measured().as_dict() == {
        "Seconds total": 3.0,
        "Seconds to first token": 1.0,
        "Tokens generated": 11,
        "Inference speed in tokens/sec": 11 / 3,
        "Prefill speed in tokens/sec": 20.0,
        "Decode speed in tokens/sec": 5.0,
    }


def test_gpu_memory_is_of_all_gpus_and_has_litgpts_name() -> None:
    figures = measured(peak_bytes={"cuda:0": 2_000_000_000, "cuda:1": 1_000_000_000}).as_dict()
    assert figures["Total GPU memory allocated in GB"] == 3.0


def test_a_single_token_has_no_decoding_speed() -> None:
    figures = measured(completion_tokens=1, decoded_tokens=0).as_dict()
    assert math.isnan(figures["Decode speed in tokens/sec"])


# ruff: noqa: E501 - the table is as wide as it is
def test_the_table_is_litgpts() -> None:
    table = benchmark_dict_to_markdown_table({"Seconds total": [1.0, 2.0], "Tokens generated": [26]})
    assert table == (
        "| Metric                              | Mean                        | Std Dev                     |\n"
        "|-------------------------------------|-----------------------------|-----------------------------|\n"
        "| Seconds total                       | 1.50                        | 0.71                        |\n"
        "| Tokens generated                    | 26.00                       | -                           |\n"
    )


def test_a_single_iteration_has_no_deviation() -> None:
    figures = measured(completion_tokens=1, decoded_tokens=0).as_dict()
    table = benchmark_dict_to_markdown_table({name: [value] for name, value in figures.items()})
    assert "nan" not in table
    assert table.splitlines()[:3] == [
        "| Metric                              | Mean                        |",
        "|-------------------------------------|-----------------------------|",
        "| Seconds total                       | 3.00                        |",
    ]
    assert table.splitlines()[-1] == "| Decode speed in tokens/sec          | -                           |"
