"""Puts charges into a template before it is compiled: at each pass of a loop, each text, each new list."""

from jinja2 import Environment, nodes
from jinja2.exceptions import SecurityError
from jinja2.visitor import NodeTransformer

from litgpt.adapters.text.budget import STEP

# jinja's visitor finds a method by the name of a node, hence the capitals.


class Meter(NodeTransformer):
    """Rewrites the tree of a template so that what it does is charged.

    The environment has to have the functions that are put in: `spend` charges a number, `charged` a value
    that becomes text, `counted` a value that was just made, `sized` one that is gone through. All but the
    first return the value.
    """

    def __init__(self, environment: Environment) -> None:
        self._environment = environment

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802
        """Charge each pass of a loop, and each item that its condition looks at."""
        self._charge_each_run(node.body)
        if node.test is not None:
            node.test = nodes.And(self._call("spend", nodes.Const(STEP)), node.test)
        return self.generic_visit(node)

    def visit_Macro(self, node: nodes.Macro | nodes.CallBlock) -> nodes.Node:  # noqa: N802
        """Charge each call of a macro, for it may call itself."""
        self._charge_each_run(node.body)
        return self.generic_visit(node)

    visit_CallBlock = visit_Macro  # noqa: N815

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802
        """Charge the parts of `a ~ b`."""
        self.generic_visit(node)
        node.nodes = [self._call("charged", one) for one in node.nodes]
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802
        """Charge what `a in b` and `a == b` go through."""
        self.generic_visit(node)
        node.expr = self._call("sized", node.expr)
        for operand in node.ops:
            operand.expr = self._call("sized", operand.expr)
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
        return self._call("counted", node)

    visit_Dict = visit_List  # noqa: N815

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802
        """Charge `(a, b)`, unless it is what is assigned to."""
        return self.visit_List(node) if node.ctx == "load" else self.generic_visit(node)

    def visit_NSRef(self, node: nodes.NSRef) -> nodes.Node:  # noqa: N802
        """Refuse to set what Python gives a meaning."""
        if node.attr.startswith("_"):
            raise SecurityError(f"it may not set {node.attr!r}.")
        return node

    def _charge_each_run(self, body: list[nodes.Node]) -> None:
        written = sum(len(data.data) for data in nodes.Scope(body).find_all(nodes.TemplateData))
        body.insert(0, nodes.ExprStmt(self._call("spend", nodes.Const(STEP + written))))

    def _call(self, name: str, argument: nodes.Expr) -> nodes.Call:
        call = nodes.Call(nodes.EnvironmentAttribute(name), [argument], [], None, None)
        call.set_environment(self._environment)
        return call
