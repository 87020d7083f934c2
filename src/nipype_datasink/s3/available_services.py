"""Let botocore look for the models of S3 only, instead of those of all services.

Whenever botocore loads a model, it first lists the services that it has models of, to see whether
the wanted one is among them. That takes a thousand listings of directories, each of which waits for
the server where Python is installed on a network disk.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from functools import partial
from typing import Any

from botocore.exceptions import DataNotFoundError


class AvailableServices(Collection[str]):
    """Names of the services that a loader of botocore has models of.

    Parameters
    ----------
    loader
        Loader of botocore.
    list_all
        Returns the names of all services.
    type_name
        Kind of the models, such as ``service-2``.
    """

    def __init__(
        self, loader: Any, list_all: Callable[[str], Collection[str]], type_name: str
    ) -> None:
        self._loader = loader
        self._list_all = list_all
        self._type_name = type_name

    def __contains__(self, name: object) -> bool:
        try:
            return bool(self._loader.list_api_versions(name, self._type_name))
        except DataNotFoundError:
            return False

    def __iter__(self) -> Iterator[str]:
        return iter(self._list_all(self._type_name))

    def __len__(self) -> int:
        return len(self._list_all(self._type_name))


def list_services_lazily(loader: Any) -> None:
    """Let a loader list all services only if their names are needed."""
    loader.list_available_services = partial(
        AvailableServices, loader, loader.list_available_services
    )
