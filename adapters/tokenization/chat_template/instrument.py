"""Instrument a template's syntax tree with budget charges for loops, macros, text and new lists."""

from typing import TypeVar

from jinja2 import Environment, nodes
from jinja2.exceptions import SecurityError
from jinja2.visitor import NodeTransformer

from litgpt.adapters.tokenization.chat_template.budget import STEP_COST

_NODE_COST = 10  # cost of evaluating one node
_Running = TypeVar("_Running", nodes.For, nodes.Macro, nodes.CallBlock)

# Jinja's visitor dispatches on node names, hence the capital letters.


class CostInstrumenter(NodeTransformer):
    """Insert calls that charge the budget into a template's syntax tree.

    The environment provides the functions: `spent` charges a number and returns True, `weighed` charges the
    recursive size of a value and returns the value, `searched` does the same for the right operand of `in`,
    and `sized` for a copied value.
    """

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        """Charge each iteration of a loop, and each item that its condition tests."""
        if node.test is not None:
            node.test = nodes.And(self._charge_node([node.test]), node.test)
        return self.visit_Macro(node)

    def visit_Macro(self, node: _Running) -> nodes.Node:  # noqa: N802
        """Charge each execution of the body; macros can be recursive."""
        node.body.insert(0, nodes.ExprStmt(self._charge_node(node.body)))
        return self.generic_visit(node)

    visit_CallBlock = visit_Macro  # noqa: N815

    def visit_Block(self, node: nodes.Block) -> nodes.Node:  # noqa: N802
        """Refuse blocks, which are for template inheritance and can be recursive."""
        raise SecurityError(f"it may not have a block {node.name!r}.")

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        """Charge the parts of `a ~ b`."""
        self.generic_visit(node)
        node.nodes = [self._call("weighed", operand) for operand in node.nodes]
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        """Charge the operands of `a in b` and `a == b`."""
        self.generic_visit(node)
        node.expr = self._call("weighed", node.expr)
        for operand in node.ops:
            operand.expr = self._call(
                "searched" if operand.op in ("in", "notin") else "weighed", operand.expr
            )
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        """Charge the copy made by `a[1:]`."""
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            node.node = self._call("sized", node.node)
        return node

    def visit_List(self, node: nodes.Expr) -> nodes.Node:  # noqa: N802
        """Charge `[a, b]`, which can contain the same value repeatedly."""
        self.generic_visit(node)
        return self._call("weighed", node)

    visit_Dict = visit_List  # noqa: N815

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        """Charge `(a, b)`, unless it is an assignment target."""
        return self.visit_List(node) if node.ctx == "load" else self.generic_visit(node)

    def _charge_node(self, run: list[nodes.Node]) -> nodes.Call:
        """Return the call that charges one execution of a body: its nodes and its literal text."""
        inside = [descendant for node in run for descendant in (node, *node.find_all(nodes.Node))]
        written = sum(len(node.data) for node in inside if isinstance(node, nodes.TemplateData))
        return self._call("spent", nodes.Const(STEP_COST + _NODE_COST * len(inside) + written))

    def _call(self, name: str, argument: nodes.Expr) -> nodes.Call:
        call = nodes.Call(nodes.EnvironmentAttribute(name), [argument], [], None, None)
        call.set_environment(self._environment)
        return call
