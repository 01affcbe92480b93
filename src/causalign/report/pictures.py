"""Admit a figure into a page: only the SVG that `causalign.figures` draws, its ids made unique.

Figures come back from run folders, which others may have touched. So the picture is parsed and
written anew from a closed list of elements and attributes; anything else is an error, and the
page then shows the error in the figure's place. Style declarations become plain attributes, so
that the page can forbid inline style.
"""

import re
import xml.etree.ElementTree as ElementTree
from html import escape

from causalign.errors import InputError

SVG = "{http://www.w3.org/2000/svg}"
XLINK = "{http://www.w3.org/1999/xlink}"
ELEMENTS = frozenset({"svg", "g", "defs", "clipPath", "path", "rect", "circle", "use", "text"})
GEOMETRY = frozenset(
    {"d", "x", "y", "width", "height", "cx", "cy", "r", "viewBox", "transform", "clip-path"}
)
PAINT = frozenset(
    {
        *("fill", "fill-opacity", "fill-rule", "opacity"),
        *("stroke", "stroke-opacity", "stroke-width", "stroke-linecap", "stroke-linejoin"),
        *("stroke-dasharray", "stroke-dashoffset", "stroke-miterlimit"),
        *("font-size", "font-weight", "font-style", "text-anchor"),
    }
)
DROPPED = frozenset({"version", "font-family", "id"})
VALUE = re.compile(r"[-\w\s.,#%()+]*")
REFERENCE = re.compile(r"url\(#([\w.-]+)\)")


def admit(svg: str, prefix: str, alt: str) -> str:
    """Return the SVG for use inside a page; raise `InputError` if it holds what we never draw.

    ``prefix`` begins every id; ``alt`` is read aloud in place of the picture.
    """
    if "<!" in svg or "<?" in svg:
        raise InputError("The figure holds a declaration or a comment, which ours never do.")
    try:
        root = ElementTree.fromstring(svg)
    except ElementTree.ParseError as error:
        raise InputError(f"The figure is not well-formed SVG: {error}.") from error
    if root.tag != f"{SVG}svg":
        raise InputError(f"The figure is not an SVG picture; it begins with {root.tag!r}.")
    names = {name: f"{prefix}-{place}" for place, name in enumerate(_find_references(root))}
    name = escape(alt, quote=True)
    opening = f'<svg role="img" aria-label="{name}" focusable="false"'
    return _write(root, names).replace("<svg", opening, 1)


def _find_references(root: ElementTree.Element) -> list[str]:
    names: dict[str, None] = {}
    for element in root.iter():
        for key, value in element.attrib.items():
            if key in ("href", f"{XLINK}href"):
                names[value.removeprefix("#")] = None
            names.update(dict.fromkeys(REFERENCE.findall(value)))
    present = {element.get("id") for element in root.iter()}
    return [name for name in names if name in present]


def _write(element: ElementTree.Element, names: dict[str, str]) -> str:
    tag = str(element.tag).removeprefix(SVG)
    if tag not in ELEMENTS:
        raise InputError(f"The figure holds the element {tag!r}, which our figures never do.")
    attributes = _attributes(element, names)
    opening = " ".join([tag, *(f'{key}="{escape(value)}"' for key, value in attributes.items())])
    inside = escape(element.text or "", quote=False) if tag == "text" else ""
    inside += "".join(_write(child, names) for child in element)
    return f"<{opening}>{inside}</{tag}>"


def _attributes(element: ElementTree.Element, names: dict[str, str]) -> dict[str, str]:
    attributes: dict[str, str] = {}
    for key, value in element.attrib.items():
        if key == "id" and value in names:
            attributes["id"] = names[value]
        elif key in ("href", f"{XLINK}href"):
            attributes["href"] = f"#{_resolve(value.removeprefix('#'), value, names)}"
        elif key == "style":
            for declaration in filter(str.strip, value.split(";")):
                name, _, setting = declaration.partition(":")
                attributes[name.strip()] = _check_value(name.strip(), setting.strip(), names, PAINT)
        elif key not in DROPPED:
            attributes[key] = _check_value(key, value, names, GEOMETRY | PAINT)
    return attributes


def _check_value(key: str, value: str, names: dict[str, str], allowed: frozenset[str]) -> str:
    if key not in allowed or not VALUE.fullmatch(value):
        raise InputError(f"The figure holds {key}={value[:60]!r}, which our figures never do.")
    if "url" not in value.lower():
        return value
    reference = REFERENCE.fullmatch(value)
    return f"url(#{_resolve(reference[1] if reference else '', value, names)})"


def _resolve(name: str, value: str, names: dict[str, str]) -> str:
    if name not in names or value not in (f"#{name}", f"url(#{name})"):
        raise InputError(f"The figure refers to {value[:60]!r}, which lies outside it.")
    return names[name]
