"""The user's own function, by import path."""

import importlib
import inspect
from collections.abc import Callable
from operator import attrgetter
from typing import Any

from treeroll.errors import InvalidInput
from treeroll.scorers.base import ScoreItem
from treeroll.scorers.guard import describe


class CallScorer:
    """Calls `function(prompt, completion, answer, extra)`, named `package.module:function`.

    It returns a number, a mapping with one as `score`, a tuple that begins with one, or None to abstain.

    A function may carry an integer attribute `version` (default 1); raise it when its scores change meaning.
    """

    def __init__(self, path: str) -> None:
        """Import it. InvalidInput names what is wrong: form, module, attribute or signature."""
        self.name = f"python:{path}"
        self._function = _load(path)
        self.version = _version(self._function, path)

    def score(self, item: ScoreItem) -> float | None:
        """Whatever the function returns; `guard` looks at it."""
        result: float | None = self._function(item.prompt, item.completion, item.answer, item.extra)
        return result


def parts_of(path: str) -> tuple[str, str]:
    """Module and what in it. InvalidInput for a path that does not name both."""
    module_name, separator, attribute = path.partition(":")
    if not (module_name and separator and attribute):
        raise InvalidInput(f"scorer 'python:{path}' must be of the form python:package.module:function")
    return module_name, attribute


def _load(path: str) -> Callable[..., Any]:
    module_name, attribute = parts_of(path)
    try:
        function = attrgetter(attribute)(_import(module_name, path))
    except AttributeError:
        raise InvalidInput(f"scorer 'python:{path}': module {module_name} has no {attribute!r}") from None
    _check_callable(function, path)
    return function  # type: ignore[no-any-return]  # _check_callable has seen that it is one


def _version(function: Callable[..., Any], path: str) -> int:
    version = getattr(function, "version", 1)
    if not isinstance(version, int) or version < 1:
        raise InvalidInput(f"scorer 'python:{path}': its attribute 'version' must be a positive integer")
    return version


def _import(module_name: str, path: str) -> Any:
    try:
        return importlib.import_module(module_name)
    except (Exception, SystemExit) as error:  # foreign code: its import may raise anything
        reason = describe(error)
        raise InvalidInput(f"scorer 'python:{path}': module {module_name} cannot be imported: {reason}") from None


def _check_callable(function: Any, path: str) -> None:
    if not callable(function):
        raise InvalidInput(f"scorer 'python:{path}' is a {type(function).__name__}, not a function")
    if inspect.iscoroutinefunction(function):
        raise InvalidInput(f"scorer 'python:{path}' is asynchronous; it must be a plain function")
    try:
        inspect.signature(function).bind("prompt", "completion", "answer", {})
    except TypeError:
        raise InvalidInput(f"scorer 'python:{path}' must accept (prompt, completion, answer, extra)") from None
    except ValueError:  # a builtin that does not tell its signature
        return
