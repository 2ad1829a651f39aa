"""The charset that a content type names, by which some servers decode a body before they parse it.

    {"x": "+ACIALAAi-model+ACIAOgAi-dear", "model": "cheap"}    in UTF-7, the dear one

In those that are let through a byte of ASCII that is no part of a letter stands for itself, so that nothing within a
text of UTF-8 is outside of one in theirs. UTF-16 and UTF-32 are no JSON to those who do not know them.
"""

import re
from typing import Final

_NAMED: Final = re.compile(rb"charset[^=;]{0,40}=\s{0,40}([^\s;,]*)", re.IGNORECASE)
_READ: Final = re.compile(
    rb"|utf[-_]?8(?:[-_]?sig)?|utf8mb4|unicode-1-1-utf-8|us[-_]ascii|ascii|ansi_x3\.4-19(?:68|86)"
    rb"|(?:iso[-_]?)?8859[-_]?[0-9]{1,2}|latin[-_]?[0-9]{1,2}|(?:windows[-_]?|cp)125[0-8]|koi8[-_][ru]|macintosh"
    rb"|(?:windows-|cp)(?:874|932|936|949|950)|windows-31j|tis-?620|ks_c_5601-1987"
    rb"|gbk|gb2312|gb18030|big5(?:[-_]?hkscs)?|euc[-_]?(?:jp|kr|tw)|s(?:hift)?[-_]?jis|utf[-_]?(?:16|32)(?:[-_]?[lb]e)?",
    re.IGNORECASE,
)
# Of a parameter that is quoted.
_QUOTES: Final = b"\"'"


def is_read_as_utf8(content_type: bytes) -> bool:
    """Whether nobody can take a body of this content type for another JSON value than one who reads it as UTF-8."""
    return all(_READ.fullmatch(name.strip(_QUOTES)) for name in _NAMED.findall(content_type))
