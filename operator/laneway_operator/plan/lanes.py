"""Which of the lanes that refer to a queue count: of two with one name, the older."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

from laneway.model.manifests import PriorityLane


@dataclass(frozen=True, slots=True)
class SeenLane:
    """A lane as the API server holds it. ``created`` is its creationTimestamp, ``held`` whether it is to be left as
    it is (an annotation says so)."""

    manifest: PriorityLane
    created: str
    held: bool = False

    @property
    def name(self) -> str:
        """The object's name."""
        return self.manifest.metadata.name


@dataclass(frozen=True, slots=True)
class Lanes:
    """``owners`` by lane name; ``beaten`` says, by object name, which older object owns its lane."""

    owners: Mapping[str, SeenLane]
    beaten: Mapping[str, str]

    @property
    def manifests(self) -> tuple[PriorityLane, ...]:
        """The lanes that count."""
        return tuple(lane.manifest for lane in self.owners.values())

    @property
    def held(self) -> frozenset[str]:
        """Names of lanes that shall stay as they are in the live configuration."""
        return frozenset(name for name, lane in self.owners.items() if lane.held)


def settle_owners(lanes: Collection[SeenLane]) -> Lanes:
    """The older object owns a lane; among equally old ones, the first by name."""
    owners: dict[str, SeenLane] = {}
    beaten: dict[str, str] = {}
    for lane in sorted(lanes, key=lambda lane: (lane.created, lane.name)):
        owner = owners.setdefault(lane.manifest.lane, lane)
        if owner is not lane:
            beaten[lane.name] = owner.name
    return Lanes(owners, beaten)
