"""What the fields of configured classes mean, out of their source."""

from __future__ import annotations

from typing import ClassVar

from pydantic import BaseModel, Field, create_model

from asyncv2d.field_docs import field_docs


class Base(BaseModel):
    """A class with fields."""

    speed: float = Field(default=1.0, gt=0)
    """How fast."""
    length: int = 0
    """How long."""
    hidden: int = 0


class Derived(Base):
    """A class with more of them, and its own words for one."""

    length: int = 5
    """How long in here."""
    speed: float = 2.0
    name: str = ""
    """What it is called."""


class OfBoth(Derived, BaseModel):
    """A class without fields of its own."""


class Other(BaseModel):
    """A class that another one may have as a second base."""

    width: int = 0
    """How wide."""


class Mixed(Other, Base):
    """A class with two bases that have fields."""


class Outer:
    """A class around others."""

    class Base(BaseModel):
        """Called like one outside."""

        depth: int = 0
        """How deep: not at the margin.

        - a list
          that goes on
        """


class Odd(BaseModel):
    """A class with strings that are below no field, and fields with something else below."""

    """Below its own docstring."""

    first: int = 0
    # A comment in between.

    """About the first."""
    """And no more."""
    SHARED: ClassVar[int] = 0
    """No field."""
    second: int = 0
    SECOND: ClassVar[str] = "no text below a field"
    third: int = 0
    fourth: int = 0
    """In two """ """pieces."""

    def fifth(self) -> int:
        """No field."""
        return self.first


def test_fields_of_a_class_and_its_bases() -> None:
    """A field has the nearest words about it; a field without any is left out."""
    assert field_docs(Base) == {"speed": "How fast.", "length": "How long."}
    assert field_docs(Derived) == {
        "speed": "How fast.",
        "length": "How long in here.",
        "name": "What it is called.",
    }
    assert field_docs(OfBoth) == field_docs(Derived)


def test_two_bases() -> None:
    """The fields of both are told, in the order in which the class has them."""
    assert list(field_docs(Mixed)) == ["speed", "length", "width"]


def test_a_class_within_another() -> None:
    """It is not taken for one of its name elsewhere, and its texts lose what indents all lines."""
    assert field_docs(Outer.Base) == {
        "depth": "How deep: not at the margin.\n\n- a list\n  that goes on"
    }


def test_a_class_within_a_function() -> None:
    """It has its own texts too."""

    class Base(BaseModel):
        height: int = 0
        """How high."""

    assert field_docs(Base) == {"height": "How high."}


def test_what_is_no_text_of_a_field() -> None:
    """Only a string right below a field is one."""
    assert field_docs(Odd) == {"first": "About the first.", "fourth": "In two pieces."}


def test_a_class_without_fields() -> None:
    """It has nothing to tell, and its docstring is none of a field's."""

    class Empty(BaseModel):
        """Nothing here."""

    assert field_docs(Empty) == {}


def test_classes_without_source() -> None:
    """Have no texts: a program made them, or a notebook."""
    made = create_model("made", __base__=Base, extra=(int, 1))
    names: dict[str, type[BaseModel]] = {}
    exec("class Typed(Base):\n    more: int = 1\n    'Its text.'", {"Base": Base}, names)
    for kind in (made, names["Typed"]):
        assert field_docs(kind) == {"speed": "How fast.", "length": "How long."}
