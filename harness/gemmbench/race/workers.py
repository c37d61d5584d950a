"""The processes of one heat: one for each backend, environment and lane, or for each device."""

from typing import Any

from gemmbench.backend import locate_backend
from gemmbench.link import RequestError, location_data
from gemmbench.machine import machine_to_data
from gemmbench.race.entrant import Entrant
from gemmbench.race.race import Race
from gemmbench.race.spec import Talks
from gemmbench.trial import Environment

LinkKey = tuple[str, Environment, str]


class Workers:
    """Who is asked about which entrant. Workers start when they are first needed."""

    def __init__(self, race: Race) -> None:
        self.race = race
        self.links: dict[LinkKey, Talks] = {}
        self.descriptions: dict[LinkKey, dict[str, Any]] = {}
        self.devices: dict[LinkKey, Talks] = {}  # who drives a device, instead of a backend

    def open(self, entrant: Entrant) -> None:
        """Start the worker of an entrant where it is missing; it gets ready on its own."""
        key = link_key(entrant)
        if key not in self.links:
            self.links[key] = self.race.link(entrant.contender)

    def ask(self, entrant: Entrant, method: str, **params: Any) -> dict[str, Any]:
        """The reply of the worker that holds `entrant`."""
        timeout = self.race.limits.timeout  # which a search changes as it goes
        return self.links[link_key(entrant)].ask(method, timeout=timeout, **params)

    def describe(self, entrant: Entrant) -> dict[str, Any]:
        """What the worker says of its backend, asked once a process.

        Backends of one device share the process that came first.
        """
        key = link_key(entrant)
        self.open(entrant)
        if key not in self.descriptions:
            try:
                self.descriptions[key] = self._descriptions(key, entrant)
            except RequestError:
                self._unlink(key)
                raise
        return self.descriptions[key]

    def discard(self, culprit: Entrant) -> set[LinkKey]:
        """Forget the worker that `culprit` lost; whose it was too."""
        key = link_key(culprit)
        if key not in self.links:
            return set()
        lost = self.links[key]
        lost.close()
        shared = {other for other, link in self.links.items() if link is lost}
        self.links = {other: link for other, link in self.links.items() if link is not lost}
        self.devices = {at: link for at, link in self.devices.items() if link is not lost}
        for other in shared:
            self.descriptions.pop(other, None)
        return shared

    def close(self) -> None:
        """End all workers."""
        for link in (*self.links.values(), *self.devices.values()):
            link.close()

    def _descriptions(self, key: LinkKey, entrant: Entrant) -> dict[str, Any]:
        """The reply of its own worker, or of the one that drives its device, which it joins."""
        own = self.links[key]
        description = self._description(own, entrant)
        device = str(description.get("device") or "")
        driver = self.devices.setdefault((device, *key[1:]), own) if device else own
        if driver is own:
            return description
        self.links[key] = driver
        own.close()
        return self._description(driver, entrant)

    def _description(self, link: Talks, entrant: Entrant) -> dict[str, Any]:
        """The reply of the worker behind `link` about the entrant's backend."""
        return link.ask(
            "describe",
            location=location_data(locate_backend(entrant.contender.backend)),
            machine=machine_to_data(self.race.spec.machine),
            threads=self.race.spec.protocol.threads,
            offers=False,
        )

    def _unlink(self, key: LinkKey) -> None:
        """Take the worker from a backend, and end it unless others use it."""
        link = self.links.pop(key)
        if not any(other is link for other in (*self.links.values(), *self.devices.values())):
            link.close()


def link_key(entrant: Entrant) -> LinkKey:
    """Equal for entrants that share a process."""
    return entrant.contender.backend, entrant.contender.environment, entrant.lane
