"""Names are whatever a user wrote: how they are kept from breaking the format they stand in."""

import re

# What XML 1.0 allows, section 2.2: tab, newlines, and all planes but surrogates and FFFE/FFFF.
NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
MARKUP = re.compile(r"([\\`*_{}\[\]<>#|~$!@&])")  # GitHub's Markdown: HTML, links, mentions, maths
CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def one_line(text: str) -> str:
    """`text` on one line, without control characters: they could move a terminal's cursor."""
    return CONTROL.sub(" ", text).strip()


def markdown_cell(text: str) -> str:
    """`text` as it is in a cell of a Markdown table: no markup, no mention, no new column."""
    return MARKUP.sub(r"\\\1", one_line(text)).replace("\\@", "@\u200b").replace("\\&", "&amp;")


def log_line(text: str) -> str:
    """`text` as a line of a GitHub log that is no workflow command.

    The runner obeys '::name::' at the start of a line and '##[name]' anywhere in it. Source:
    TryParse and TryParseV2 in actions/runner, src/Runner.Common/ActionCommand.cs.
    """
    line = one_line(text).replace("##[", "##\u200b[")
    return f"\u200b{line}" if line.startswith("::") else line


def xml_text(text: str) -> str:
    """`text` without the characters that XML cannot hold; quoting is the XML writer's."""
    return NOT_XML.sub("\ufffd", text)


def command_data(text: str) -> str:
    """`text` as the message of a GitHub workflow command, such as `::error::`.

    Source: escapeData in actions/toolkit, packages/core/src/command.ts.
    """
    return text.replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def command_property(text: str) -> str:
    """`text` as a property of a workflow command, such as its title.

    Source: escapeProperty in actions/toolkit, packages/core/src/command.ts.
    """
    return command_data(text).replace(":", "%3A").replace(",", "%2C")
