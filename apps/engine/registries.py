"""Plug-in points of the engine: kinds of step, and programs that plan runs."""

from apps.core.registries import Registry
from apps.engine.contracts import Program, StepType

step_types: Registry[StepType] = Registry("step type", StepType)  # type: ignore[type-abstract]
programs: Registry[Program] = Registry("run program", Program)  # type: ignore[type-abstract]
