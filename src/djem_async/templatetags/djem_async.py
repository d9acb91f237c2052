"""Template tags: ``{% ifperm %}`` and ``{% ifnotperm %}``."""

from collections.abc import Iterable
from typing import Any

from django.core.exceptions import SynchronousOnlyOperation
from django.template import Library, Node, NodeList, TemplateSyntaxError, VariableDoesNotExist
from django.template.base import FilterExpression, Parser, Token
from django.template.context import Context
from django.utils.safestring import SafeString

from djem_async._asking import ask_user
from djem_async._driving import run
from djem_async._lazy import unwrapped
from djem_async.exceptions import AsyncMethodError

register: Library = Library()


class PermissionNode(Node):
    """Renders one of two blocks, depending on a permission."""

    child_nodelists: Iterable[str] = ("granted", "denied")

    def __init__(
        self, arguments: list[FilterExpression], granted: NodeList, denied: NodeList
    ) -> None:
        self.arguments = arguments
        self.granted = granted
        self.denied = denied

    def render(self, context: Context) -> SafeString:
        """Render the block that the check selects."""
        return (self.granted if self._is_granted(context) else self.denied).render(context)

    def _is_granted(self, context: Context) -> bool:
        try:
            user, perm, obj = (_resolve(argument, context) for argument in self.arguments)
        except VariableDoesNotExist:
            return False
        if unwrapped(user) is None or perm is None or unwrapped(obj) is None:
            return False
        try:
            return run(ask_user(user, perm, obj))
        except AsyncMethodError:
            raise  # says what to do
        except SynchronousOnlyOperation as error:
            arguments = " ".join(map(str, self.arguments))
            raise SynchronousOnlyOperation(
                f"The template tag with the arguments `{arguments}` needs a query, and this thread"
                f" runs an event loop. Await `user.ahas_perm({perm!r}, obj)` before you render the"
                " template, or render it in a thread."
            ) from error


def _resolve(expression: FilterExpression, context: Context) -> Any:
    """Resolve an argument, raising `VariableDoesNotExist` where Django would put in a default.

    None is an object that is not given. A mistake must not turn a check of an object into one of
    the model level.
    """
    if not expression.is_var:
        return expression.resolve(context)
    value = expression.var.resolve(context)
    template = context.template
    if isinstance(value, str) and template and value == template.engine.string_if_invalid:
        raise VariableDoesNotExist("%s has no value", (expression.var,))
    return expression.resolve(context) if expression.filters else value


def _parse(parser: Parser, token: Token) -> tuple[list[FilterExpression], NodeList, NodeList]:
    tag, *arguments = token.split_contents()
    if len(arguments) != 3:
        raise TemplateSyntaxError(
            f"{tag!r} takes three arguments: a user, the name of a permission, and an object."
        )
    then = parser.parse(("else", f"end{tag}"))
    otherwise = NodeList()
    if parser.next_token().contents == "else":
        otherwise = parser.parse((f"end{tag}",))
        parser.delete_first_token()
    return [parser.compile_filter(argument) for argument in arguments], then, otherwise


@register.tag
def ifperm(parser: Parser, token: Token) -> PermissionNode:
    """Render a block if a user has a permission on an object.

    Example::

        {% load djem_async %}
        {% ifperm user 'inventory.delete_product' product %}…{% else %}…{% endifperm %}
    """
    arguments, then, otherwise = _parse(parser, token)
    return PermissionNode(arguments, then, otherwise)


@register.tag
def ifnotperm(parser: Parser, token: Token) -> PermissionNode:
    """Render a block if a user does not have a permission on an object, see `ifperm`."""
    arguments, then, otherwise = _parse(parser, token)
    return PermissionNode(arguments, otherwise, then)
