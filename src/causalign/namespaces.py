"""Namespaces whose parts are imported when they are asked for."""

from collections.abc import Callable

import lazy_loader

from causalign.errors import needs_extra


def attach_stub(
    package: str, file: str
) -> tuple[Callable[[str], object], Callable[[], list[str]], list[str]]:
    """Return ``__getattr__``, ``__dir__`` and ``__all__`` of a package, as its stub declares them.

    What needs a library that is not installed raises ``ExtraNotInstalled`` when it is asked for.
    """
    get, list_names, names = lazy_loader.attach_stub(package, file)

    def get_or_explain(name: str) -> object:
        with needs_extra(f"{package}.{name}"):
            value: object = get(name)
        return value

    return get_or_explain, list_names, names
