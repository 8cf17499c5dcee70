"""Distinguish errors of a chat template from errors of this library."""

from pathlib import Path
from traceback import walk_tb

import jinja2
from jinja2.exceptions import TemplateError, TemplateSyntaxError

from litgpt.adapters.tokenization.chat_template.budget import BudgetExceeded
from litgpt.domain.errors import LitGPTError

_JINJA = Path(jinja2.__file__).parent
_HERE = Path(__file__).parent
_COMPILED = ("<template>", "<unknown>")  # Jinja's file names of templates from strings

# These two files process operands and arguments of any type from the template.
_HANDLES_OPERANDS = ("sandbox.py", "costs.py")
_OPERAND_ERRORS = (ArithmeticError, LookupError, TypeError, ValueError)


def is_template_error(error: Exception) -> bool:
    """Return whether an error is caused by the template, not by this library or the caller's arguments."""
    if isinstance(error, LitGPTError):
        return False
    if isinstance(error, (TemplateError, BudgetExceeded, RecursionError, MemoryError)):
        return True
    for frame, _ in reversed([*walk_tb(error.__traceback__)]):
        file = Path(frame.f_code.co_filename)
        if str(file) in _COMPILED or _JINJA in file.parents:
            return True
        if file.parent == _HERE:
            rendering = file.name in _HANDLES_OPERANDS and frame.f_code.co_name != "compile_template"
            return rendering and isinstance(error, _OPERAND_ERRORS)
    return False


def template_message(error: Exception) -> str:
    """Return the error message, with the line number for a syntax error."""
    if isinstance(error, TemplateSyntaxError):
        return f"line {error.lineno}: {error.message}"
    return str(error) or repr(error)
