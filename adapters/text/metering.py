"""Puts charges into a template before it is compiled: at each pass of a loop, each text, each new list."""

from typing import TypeVar

from jinja2 import Environment, nodes
from jinja2.exceptions import SecurityError
from jinja2.visitor import NodeTransformer

from litgpt.adapters.text.budget import STEP

_NODE = 10  # what it costs to run one node of the tree
_Running = TypeVar("_Running", nodes.For, nodes.Macro, nodes.CallBlock)

# jinja's visitor finds a method by the name of a node, hence the capitals.


class Meter(NodeTransformer):
    """Rewrites the tree of a template so that what it does is charged.

    The environment has to have the functions that are put in: `spent` charges a number and is true, `weighed`
    charges a value for all that is in it and returns it, `searched` does so for the right side of `in`, and
    `sized` for a value that is copied.
    """

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        """Charge each pass of a loop, and each item that its condition looks at."""
        if node.test is not None:
            node.test = nodes.And(self._spent([node.test]), node.test)
        return self.visit_Macro(node)

    def visit_Macro(self, node: _Running) -> nodes.Node:  # noqa: N802
        """Charge each run of what is inside: a macro may call itself."""
        node.body.insert(0, nodes.ExprStmt(self._spent(node.body)))
        return self.generic_visit(node)

    visit_CallBlock = visit_Macro  # noqa: N815

    def visit_Block(self, node: nodes.Block) -> nodes.Node:  # noqa: N802
        """Refuse blocks: they are for templates that extend each other, and can call themselves."""
        raise SecurityError(f"it may not have a block {node.name!r}.")

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        """Charge the parts of `a ~ b`."""
        self.generic_visit(node)
        node.nodes = [self._call("weighed", one) for one in node.nodes]
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        """Charge what `a in b` and `a == b` go through."""
        self.generic_visit(node)
        node.expr = self._call("weighed", node.expr)
        for operand in node.ops:
            operand.expr = self._call(
                "searched" if operand.op in ("in", "notin") else "weighed", operand.expr
            )
        return node

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802
        """Charge what `a[1:]` copies."""
        self.generic_visit(node)
        if isinstance(node.arg, nodes.Slice):
            node.node = self._call("sized", node.node)
        return node

    def visit_List(self, node: nodes.Expr) -> nodes.Node:  # noqa: N802
        """Charge `[a, b]`, which may hold the same thing twice, and that again."""
        self.generic_visit(node)
        return self._call("weighed", node)

    visit_Dict = visit_List  # noqa: N815

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        """Charge `(a, b)`, unless it is what is assigned to."""
        return self.visit_List(node) if node.ctx == "load" else self.generic_visit(node)

    def _spent(self, run: list[nodes.Node]) -> nodes.Call:
        """Return the charge for running a part of a template once: for all that it does, and writes."""
        inside = [found for one in run for found in (one, *one.find_all(nodes.Node))]
        written = sum(len(found.data) for found in inside if isinstance(found, nodes.TemplateData))
        return self._call("spent", nodes.Const(STEP + _NODE * len(inside) + written))

    def _call(self, name: str, argument: nodes.Expr) -> nodes.Call:
        call = nodes.Call(nodes.EnvironmentAttribute(name), [argument], [], None, None)
        call.set_environment(self._environment)
        return call
