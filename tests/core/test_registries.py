"""The plug-in registry refuses what would go wrong later."""

import pytest

from apps.core.registries import AlreadyRegistered, Registry, UnknownType


class Plugin:
    type = "plain"


class OtherPlugin(Plugin):
    pass


def test_an_unknown_type_names_those_that_are_known() -> None:
    registry = Registry("plug-in", Plugin)
    registry.register(Plugin())
    with pytest.raises(UnknownType) as caught:
        registry.get("fancy")
    assert caught.value.remedy == "Use one of: plain."
    assert registry.find("fancy") is None


def test_two_plugins_cannot_share_a_type() -> None:
    registry = Registry("plug-in", Plugin)
    registry.register(Plugin())
    with pytest.raises(AlreadyRegistered):
        registry.register(OtherPlugin())


def test_registering_the_same_plugin_again_is_harmless() -> None:
    registry = Registry("plug-in", Plugin)
    registry.register(Plugin())
    registry.register(Plugin())
    assert [item.type for item in registry] == ["plain"]


def test_a_stranger_is_refused() -> None:
    with pytest.raises(TypeError):
        Registry("plug-in", Plugin).register(object())  # type: ignore[type-var]
