"""YAML text to plain values that remember the line each came from, without surprises.

Safe scalars, mappings with text keys, lists; a key given twice, an unknown tag and a document
that refers to itself are errors. Every error is one line and says where.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any

import yaml

from landmark.errors import InputError

#: A place in a document: mapping keys and list positions from the root.
Path = tuple[str | int, ...]

# Bounds a hostile file: aliases let a few lines stand for billions of values.
_MAX_VALUES = 100_000
_MAX_DEPTH = 50


@dataclass(frozen=True)
class Document:
    """A parsed document.

    Attributes:
        value: Plain values: dict, list, str, int, float, bool, None, date, datetime.
        lines: Place -> line, from 1; for the value of a mapping, the line of its key.
    """

    value: Any
    lines: dict[Path, int]

    def line(self, path: Path) -> int:
        """Return the line of a place, or of the nearest place around it that exists."""
        for length in range(len(path), 0, -1):
            if path[:length] in self.lines:
                return self.lines[path[:length]]
        return self.lines.get((), 1)


def parse(text: str, origin: str) -> Document:
    """Parse one YAML document.

    Args:
        text: The document.
        origin: How errors call the file.

    Raises:
        InputError: The text is not YAML, holds more than one document, a duplicate key, a key that
            is not text, an unknown tag, or refers to itself.
    """
    try:
        node = yaml.compose(text, Loader=yaml.SafeLoader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        where = f":{mark.line + 1}" if mark else ""
        reason = error.problem or error.context or "cannot be parsed"
        raise InputError(f"{origin}{where}: not valid YAML: {_one_line(reason)}") from None
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        raise InputError(
            f"{origin}:{line}: not valid YAML: holds a character YAML does not allow "
            f"(U+{ord(text[error.position]):04X})"
        ) from None
    except (yaml.YAMLError, ValueError) as error:
        raise InputError(f"{origin}: not valid YAML: {_one_line(str(error))}") from None
    except RecursionError:
        raise InputError(f"{origin}: not valid YAML: nested too deeply") from None
    if node is None:
        return Document(None, {})
    builder = _Builder(origin)
    value = builder.build(node, (), node.start_mark.line + 1, ())
    return Document(value, builder.lines)


class _Builder:
    """Turns a node graph into values, one call per place."""

    def __init__(self, origin: str) -> None:
        self.origin = origin
        self.lines: dict[Path, int] = {}
        self._scalars = yaml.constructor.SafeConstructor()

    def build(self, node: yaml.Node, path: Path, line: int, above: tuple[int, ...]) -> Any:
        self.lines[path] = line
        if id(node) in above:
            raise self._error(line, path, "refers to itself")
        if len(above) >= _MAX_DEPTH:
            raise self._error(line, path, "nested too deeply")
        if len(self.lines) > _MAX_VALUES:
            raise self._error(line, path, f"holds more than {_MAX_VALUES} values")
        above = (*above, id(node))
        if isinstance(node, yaml.MappingNode) and node.tag == "tag:yaml.org,2002:map":
            return self._mapping(node, path, above)
        if isinstance(node, yaml.SequenceNode) and node.tag == "tag:yaml.org,2002:seq":
            return [
                self.build(item, (*path, i), item.start_mark.line + 1, above)
                for i, item in enumerate(node.value)
            ]
        if not isinstance(node, yaml.ScalarNode):
            raise self._error(line, path, f"unknown tag {node.tag!r}: remove it")
        return self._scalar(node, path, line)

    def _mapping(
        self, node: yaml.MappingNode, path: Path, above: tuple[int, ...]
    ) -> dict[str, Any]:
        result: dict[str, Any] = {}
        for key_node, value_node in node.value:
            line = key_node.start_mark.line + 1
            if not isinstance(key_node, yaml.ScalarNode) or key_node.tag != "tag:yaml.org,2002:str":
                shown = getattr(key_node, "value", "")
                shown = shown if isinstance(shown, str) else "a list or mapping"
                raise self._error(line, path, f"key {shown!r} is not text: put it in quotes")
            key = key_node.value
            if key in result:
                first = self.lines[(*path, key)]
                raise self._error(
                    line, (*path, key), f"given twice (first in line {first}): keep one"
                )
            result[key] = self.build(value_node, (*path, key), line, above)
        return result

    def _scalar(self, node: yaml.ScalarNode, path: Path, line: int) -> Hashable:
        try:
            value = self._scalars.construct_object(node)
        except yaml.MarkedYAMLError as error:
            reason = error.problem or "cannot be read"
            raise self._error(line, path, _one_line(reason)) from None
        except (ValueError, OverflowError) as error:
            raise self._error(
                line, path, f"{node.value!r} cannot be read: {_one_line(str(error))}"
            ) from None
        if isinstance(value, bytes | dict | list | set):
            raise self._error(line, path, f"unknown tag {node.tag!r}: remove it")
        return value

    def _error(self, line: int, path: Path, what: str) -> InputError:
        field = f"{path_text(path)}: " if path else ""
        return InputError(f"{self.origin}:{line}: {field}{what}")


def path_text(path: Path) -> str:
    """Return a place as people write it: `labels[0].kind`."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += f".{_one_line(part)}" if text else _one_line(part)
    return text


def _one_line(text: str) -> str:
    return " ".join(text.split())
