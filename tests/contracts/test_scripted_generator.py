import pytest

from litgpt.testing import ScriptedGenerator
from tests.contracts.generator import GeneratorContract


class TestScriptedGenerator(GeneratorContract):
    @pytest.fixture
    def generator(self) -> ScriptedGenerator:
        return ScriptedGenerator([31, 41, 59, 26], context=64)
