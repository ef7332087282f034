"""Decorators of the estimators' methods. They keep the signature, for type checkers and for `inspect`."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import wraps
from typing import Any, TypeVar, cast

from sklearn.base import _fit_context
from sklearn.callback import with_callbacks

from skrelu._other_names import hint_for_parameter

Method = TypeVar("Method", bound=Callable[..., Any])


def public(method: Method) -> Method:
    """A method that, called with wrong arguments, names the estimator's own class and the right argument.

    Python names the class that defines the method, a base class that no user has heard of.
    """

    @wraps(method)
    def call(self: Any, *args: Any, **kwargs: Any) -> Any:
        try:
            return method(self, *args, **kwargs)
        except TypeError as error:
            if error.__traceback__ is None or error.__traceback__.tb_next is not None:
                raise  # from within the method: the arguments were taken
            message = str(error)
            if method.__name__ != "__init__":  # whose class is the one called, or that of a `super().__init__`
                message = message.replace(method.__qualname__, f"{type(self).__name__}.{method.__name__}", 1)
            unknown = re.search(r"unexpected keyword argument '(\w+)'", message)
            if unknown:
                message = message.removesuffix(".") + "."
                message += hint_for_parameter(unknown[1], type(self)._get_param_names())
            raise TypeError(message) from None

    return cast(Method, call)


def fitting(method: Method) -> Method:
    """A public method that fits: scikit-learn validates the parameters first, and manages the callbacks."""
    return _fit_context(prefer_skip_nested_validation=True)(public(method))


def calling_back(method: Method) -> Method:
    """A method that opens tasks for callbacks: scikit-learn closes them, however the method ends."""
    return with_callbacks(method)
