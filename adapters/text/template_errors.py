"""Errors while a chat template is rendered: the template's, in its words, and those of this library."""

from pathlib import Path
from traceback import walk_tb

import jinja2
from jinja2.exceptions import TemplateError, TemplateSyntaxError

from litgpt.adapters.text.budget import TooCostly
from litgpt.domain.errors import LitGPTError

_JINJA = Path(jinja2.__file__).parent
_HERE = Path(__file__).parent
_COMPILED = ("<template>", "<unknown>")  # the file names that jinja gives to templates made of strings

# These two files work on the operands and arguments that a template passes, which may be of any type.
_GIVEN_ANYTHING = ("sandbox.py", "charges.py")
_OF_OPERANDS = (ArithmeticError, LookupError, TypeError, ValueError)


def is_of_template(error: Exception) -> bool:
    """Return whether the template is to blame for an error, not this library or an argument of the caller."""
    if isinstance(error, LitGPTError):
        return False
    if isinstance(error, (TemplateError, TooCostly, RecursionError, MemoryError)):
        return True
    for frame, _ in reversed([*walk_tb(error.__traceback__)]):
        file = Path(frame.f_code.co_filename)
        if str(file) in _COMPILED or _JINJA in file.parents:
            return True
        if file.parent == _HERE:
            rendering = file.name in _GIVEN_ANYTHING and frame.f_code.co_name != "compiled"
            return rendering and isinstance(error, _OF_OPERANDS)
    return False


def words_of(error: Exception) -> str:
    """Return what the template says; of a template that cannot be compiled, what is wrong in which line."""
    if isinstance(error, TemplateSyntaxError):
        return f"line {error.lineno}: {error.message}"
    return str(error) or repr(error)
