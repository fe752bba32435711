import msgspec

from elector.core import effects, events
from elector.core.protocol import Requirements


def test_nothing_is_needed_unless_it_is_said() -> None:
    needs = Requirements()
    assert not any(msgspec.structs.asdict(needs).values())


def structs_of(module: object) -> list[type[msgspec.Struct]]:
    kinds = [kind for kind in vars(module).values() if isinstance(kind, type)]
    return [kind for kind in kinds if issubclass(kind, msgspec.Struct)]


def test_events_and_effects_are_frozen() -> None:
    kinds = structs_of(events) + structs_of(effects)
    assert kinds
    assert all(kind.__struct_config__.frozen for kind in kinds)


def test_every_event_carries_the_clock() -> None:
    assert all(kind.__struct_fields__[0] == "at" for kind in structs_of(events))
