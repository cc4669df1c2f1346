"""What all sections of the configuration have in common."""

from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]*$", max_length=60)]


class ConfigError(Exception):
    """The configuration cannot be used; the message names the key and the file, never a value."""


class Section(BaseModel):
    """One section: an unknown key is a mistake, and no message shows a value."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


def unset_if_blank(value: Any) -> Any:
    """None for an empty text: a variable that is set to nothing is not set."""
    return None if value == "" else value
