"""Errors of the library's own tree end at the caller's line, in scripts and notebooks.

Their messages say what is wrong and what to do; what the library was doing helps only its developers. JAX
filters its tracebacks in the same way (`jax_traceback_filtering`). LITGPT_FULL_TRACEBACKS=1 keeps all lines.
"""

import os
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from litgpt.domain.errors import LitGPTError

FunctionT = TypeVar("FunctionT", bound=Callable[..., Any])


def short_traceback(function: FunctionT) -> FunctionT:
    """Return the function, whose `LitGPTError`s have a traceback without the library's frames and causes.

    The cause is still the error's `__context__`.
    """

    @wraps(function)
    def called(*arguments: Any, **options: Any) -> Any:
        __tracebackhide__ = True  # IPython and pytest leave this frame out
        try:
            return function(*arguments, **options)
        except LitGPTError as error:
            if os.environ.get("LITGPT_FULL_TRACEBACKS", "") not in ("", "0"):
                raise
            raise error.with_traceback(None) from None

    return cast("FunctionT", called)
