"""Method parameters as a recipe gives them: checked once, then resolved for each tensor.

A setting is a value; a *gradient*, a list of values spread evenly from the first layer to the
last (numbers are interpolated, anything else is chosen by floor); or *conditionals*, a list of
``{filter, value}`` whose first entry with ``filter`` in the tensor's name holds (``*`` or none
holds always). This is mergekit's language and means what it means there.

A tensor outside the layers counts as being at the first; a model of one layer is all at the last.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from isogloss.errors import ConfigError, did_you_mean
from isogloss.merge.methods import Method, Parameter
from isogloss.merge.slack import MODES, UNITS

Place = Literal["recipe", "slice", "input"]

_LAYER = re.compile(r"(?:^|\.)(?:layers|layer|h|blocks|block)\.(\d+)\.")
_TRUE, _FALSE = ("true", "yes", "on"), ("false", "no", "off")
_SLACK_KEYS = ("mode", "value", "favoured", "unit")
_VALUE = Parameter("slack.value", "number", "ξ", low=0.0)
_SHARE = Parameter("slack.value", "number", "ξ of mode protect", low=0.0, high=1.0)


def check(method: Method, given: Mapping[str, Any], where: str, *, place: Place) -> dict[str, Any]:
    """``given`` in canonical form: numbers as floats, flags as booleans, presets by name.

    Args:
        where: what a person would call the place ("parameters of models[0]").
        place: to what they belong; shared parameters can't be set for one input, nor those
            that are one for the whole merge for a slice.

    Raises:
        ConfigError: an unknown parameter, a wrong type, a value out of range.
    """
    checked = {}
    for name, value in given.items():
        parameter = method.parameter(str(name))
        if parameter is None:
            known = [p.name for p in method.parameters if _may_stand(p, place)]
            raise ConfigError(
                f"{where} has an unknown key {name!r}: {method.name} has no such parameter",
                hint=did_you_mean(str(name), known),
            )
        if not _may_stand(parameter, place):
            raise ConfigError(
                f"{where} sets {name!r}, which {method.name} has once for the whole merge",
                hint="move it to the recipe's parameters",
            )
        checked[parameter.name] = _canonical(parameter, value, f"{name} in {where}")
    return checked


def _may_stand(parameter: Parameter, place: Place) -> bool:
    if place == "input":
        return parameter.per_input
    return place == "recipe" or not (parameter.plain or parameter.kind == "slack")


def _canonical(parameter: Parameter, value: Any, where: str) -> Any:
    if parameter.kind == "slack":
        return _slack(value, where)
    if parameter.plain or not isinstance(value, list | dict):
        return _scalar(parameter, value, where)
    return _setting(parameter, value, where)


def _setting(parameter: Parameter, value: Any, where: str) -> Any:
    if isinstance(value, dict):
        value = [value]
    if not isinstance(value, list):
        return _scalar(parameter, value, where)
    if not value:
        raise ConfigError(f"{where} is an empty list", expected="values or {filter, value}")
    if not any(isinstance(part, dict) for part in value):
        return [_scalar(parameter, part, where) for part in value]
    return [_conditional(parameter, part, where) for part in value]


def _conditional(parameter: Parameter, part: Any, where: str) -> dict[str, Any]:
    if not isinstance(part, dict):
        raise ConfigError(f"{where} mixes {part!r} with conditionals", expected="{filter, value}")
    for key in part:
        if key not in ("filter", "value"):
            raise ConfigError(
                f"{where} has an unknown key {key!r}",
                hint=did_you_mean(str(key), ["filter", "value"]),
            )
    if "value" not in part:
        raise ConfigError(f"{where} has a conditional without a value", expected="{filter, value}")
    name, inner = part.get("filter"), part["value"]
    if name is not None and not isinstance(name, str):
        raise ConfigError(f"{where} filters on {name!r}", expected="a part of a tensor's name")
    if isinstance(inner, dict) or (isinstance(inner, list) and any(map(_is_dict, inner))):
        raise ConfigError(f"{where} nests conditionals", expected="a value or a gradient")
    return {"filter": name, "value": _setting(parameter, inner, where)}


def _is_dict(value: Any) -> bool:
    return isinstance(value, dict)


def _scalar(parameter: Parameter, value: Any, where: str) -> Any:
    if parameter.kind == "number":
        return _number(parameter, value, where)
    if parameter.kind == "flag":
        return _flag(value, where)
    if parameter.kind == "normalize" and not (
        isinstance(value, str) and value in parameter.choices
    ):
        known = isinstance(value, bool) or str(value).lower() in (*_TRUE, *_FALSE)
        if not known:
            raise ConfigError(
                f"{where} is {value!r}", expected="true, false, " + ", ".join(parameter.choices)
            )
        return "weights" if _flag(value, where) else "none"
    if not isinstance(value, str) or value not in parameter.choices:
        hint = did_you_mean(value, parameter.choices) if isinstance(value, str) else ""
        raise ConfigError(
            f"{where} is {value!r}", expected="one of " + ", ".join(parameter.choices), hint=hint
        )
    return value


def _number(parameter: Parameter, value: Any, where: str) -> float:
    number = None
    # YAML reads 1e-3 as text, and mergekit takes it for the number it looks like.
    if isinstance(value, int | float | str) and not isinstance(value, bool):
        try:
            number = float(value)
        except ValueError:
            number = None
    if number is None or not abs(number) < float("inf"):
        raise ConfigError(f"{where} is {value!r}", expected="a finite number")
    low, high = parameter.low, parameter.high
    if (low is not None and number < low) or (high is not None and number > high):
        bounds = f"a number of at least {low:g}" if high is None else f"from {low:g} to {high:g}"
        raise ConfigError(f"{where} is {number:g}", expected=bounds)
    return number


def _flag(value: Any, where: str) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word in (*_TRUE, "1"):
        return True
    if word in (*_FALSE, "0"):
        return False
    raise ConfigError(f"{where} is {value!r}", expected="true or false")


def _slack(value: Any, where: str) -> dict[str, Any] | None:
    if value is None:
        return None
    if not isinstance(value, dict):
        value = {"value": value}
    for key in value:
        if key not in _SLACK_KEYS:
            # {filter, value} alone would be mergekit's way to say it; slack has more to say.
            raise ConfigError(
                f"{where} has an unknown key {key!r}", hint=did_you_mean(str(key), _SLACK_KEYS)
            )
    if "value" not in value:
        raise ConfigError(f"{where} has no value", expected="{mode, value, favoured, unit}")
    mode, unit = value.get("mode", "relative"), value.get("unit")
    if mode not in MODES:
        hint = did_you_mean(str(mode), MODES)
        raise ConfigError(f"{where}: mode is {mode!r}", expected=", ".join(MODES), hint=hint)
    banded = mode in ("margin", "margin_both")
    if unit is not None and not banded:
        raise ConfigError(f"{where}: unit has no meaning in mode {mode}", hint="leave it out")
    unit = unit or "rms"
    if unit not in UNITS:
        raise ConfigError(f"{where}: unit is {unit!r}", expected=", ".join(UNITS))
    favoured = value.get("favoured")
    if favoured is not None and not isinstance(favoured, str):
        raise ConfigError(f"{where}: favoured is {favoured!r}", expected="a model of the recipe")
    parameter = _SHARE if mode == "protect" else _VALUE
    number = _setting(parameter, value["value"], f"value of {where}")
    whole = {"mode": mode, "value": number, "favoured": favoured}
    return whole | ({"unit": unit} if banded else {})


def depth(name: str, layers: int | None) -> float:
    """How deep a tensor lies, 0 at the first layer and outside the layers, 1 at the last.

    >>> depth("model.layers.1.mlp.up_proj.weight", 3), depth("lm_head.weight", 3)
    (0.5, 0.0)
    """
    found = _LAYER.search(name)
    if not found or not layers:
        return 0.0
    return int(found[1]) / (layers - 1) if layers > 1 else 1.0


def at(setting: Any, name: str, t: float) -> Any:
    """A canonical ``setting`` for one tensor; None where no filter holds.

    Args:
        t: :func:`depth` of the tensor.

    >>> at([0.0, 1.0, 0.0], "w", 0.25), at([{"filter": "mlp", "value": 2.0}], "attn", 0)
    (0.5, None)
    """
    if not isinstance(setting, list):
        return setting
    if isinstance(setting[0], dict):
        for part in setting:
            if part["filter"] in (None, "*") or part["filter"] in name:
                return at(part["value"], name, t)
        return None
    if not isinstance(setting[0], float):
        return setting[int(t * (len(setting) - 1))]
    place = t * (len(setting) - 1)
    low = int(place)
    high = min(len(setting) - 1, low + 1)
    share = place - low
    return (1 - share) * setting[low] + share * setting[high]


def first(scopes: Sequence[Mapping[str, Any]], parameter: str, name: str, t: float) -> Any:
    """The value in the first of ``scopes`` that has one for this tensor; None where none has."""
    for scope in scopes:
        if parameter in scope and (value := at(scope[parameter], name, t)) is not None:
            return value
    return None


def has_gradient(setting: Any) -> bool:
    """Whether a setting varies with the layer."""
    if isinstance(setting, dict):
        return has_gradient(setting.get("value"))
    if not isinstance(setting, list):
        return False
    if isinstance(setting[0], dict):
        return any(has_gradient(part["value"]) for part in setting)
    return len(setting) > 1
